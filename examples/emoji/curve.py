"""Draw how a run went: its loss, and the share of right names, over the pictures seen.

python curve.py --run run        writes run/curve.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
from sources import HERE

matplotlib.use("Agg")
from matplotlib import pyplot

LINES = {
    "validation top1": "known styles, new drawings, top-1",
    "held out top1": "unseen style, top-1",
    "held out top5": "unseen style, top-5",
}


def draw(run: Path) -> Path:
    """Write the picture beside the log; return its path."""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    seen = [entry["seen"] / 1e6 for entry in log]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(seen, [entry["loss"] for entry in log], color="tab:red")
    left.set(xlabel="million pictures seen", ylabel="sigmoid loss of augmented pictures", yscale="log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    for key, label in LINES.items():
        right.plot(seen, [100 * entry[key] for entry in log], label=label)
    right.set(xlabel="million pictures seen", ylabel="right names (%)", ylim=(0, 100))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    path = run / "curve.png"
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=HERE / "run")
    print(draw(parser.parse_args().run))
