"""Draw a file of results of `models` again, as a picture beside it.

python benchmarks/plot.py FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from reporting.plots import plot_models


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(prog="plot.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="of benchmarks/results")
    file = parser.parse_args(arguments).file
    plot_models(json.loads(file.read_text()), file.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
