"""Tables of results, in Markdown, and the pages that show them.

python benchmarks/report.py FILE       print the tables of one file of results
python benchmarks/report.py --write    put those of the newest files into README.md and benchmarks/RESULTS.md
python benchmarks/report.py --check    exit with status 1 if a page shows others
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from numpy_siglip.common.atomic_write import atomic_write
from reporting.pages import PAGES, TABLES, ReportError, fill_blocks


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("file", nargs="?", type=Path)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.file:
            results = json.loads(options.file.read_text())
            print(TABLES[results["benchmark"]](results))
            return 0
        old = {page: page.read_text(encoding="utf-8") for page in PAGES}
        new = {page: fill_blocks(text, page=page.name) for page, text in old.items()}
    except (ReportError, OSError, ValueError, KeyError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    changed = [page for page in PAGES if new[page] != old[page]]
    if options.check:
        for page in changed:
            print(f"{page.name} differs from the newest results: run python benchmarks/report.py --write")
        return int(bool(changed))
    for page in changed:
        _write(page, new[page])
    return 0


def _write(page: Path, text: str) -> None:
    atomic_write({page: lambda stream: stream.write(text.encode())})


if __name__ == "__main__":
    sys.exit(main())
