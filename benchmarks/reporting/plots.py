"""A picture of results: how fast, how soon, how large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from measuring.result_files import counted
from numpy_siglip.common.atomic_write import atomic_write
from reporting.contestants import TITLES

matplotlib.use("Agg")

_COLORS = {
    "numpy_siglip": "#c0392b",
    "numpy": "#e8b4ae",
    "torch": "#4c5a67",
    "onnxruntime": "#8093a5",
    "openvino": "#b9c6d2",
}
_BAR = 0.8
"""Share of a group's height that its bars take."""


def plot_models(results: dict[str, Any], path: Path) -> None:
    """Draw horizontal bars of speed, start-up and memory into a PNG file."""
    import matplotlib.pyplot as plt

    speed, start_up = results["speed"], results["start_up"]
    names = [name for name in TITLES if any(name in case["contestants"] for case in speed + start_up)]
    inches = 1.2 + 0.2 * len(names) * max(len(speed), 2 * len(start_up))
    figure = plt.figure(figsize=(12, max(4.0, inches)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots()
    labels = [f"{case['model']}\n{counted(case['batch'], 'image')}" for case in speed]
    _bars(
        axes,
        labels,
        names,
        [[_get(case, name, "gflops_per_second") for case in speed] for name in names],
        [[_milliseconds(_get(case, name, "median_seconds")) for case in speed] for name in names],
    )
    axes.set_title("speed in GFLOP/s, and time for one image: longer bars are faster", fontsize=10)
    upper, lower = right.subplots(2, 1)
    models = [case["model"] for case in start_up]
    starts = [[_get(case, name, "start_up_seconds") for case in start_up] for name in names]
    _bars(upper, models, names, starts, [[f"{value:.1f} s" for value in row] for row in starts])
    upper.set_title("seconds from process start to first embedding", fontsize=10)
    sizes = [[_get(case, name, "peak_memory") / 2**30 for case in start_up] for name in names]
    _bars(lower, models, names, sizes, [[f"{value:.2f} GB" for value in row] for row in sizes])
    lower.set_title("peak resident memory by then, in GB", fontsize=10)
    handles, titles = axes.get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    machine = results["machine"]
    figure.suptitle(
        f"SigLIP vision tower, float32, {counted(results['threads'], 'thread')}: {machine['processor']}, "
        f"{counted(machine['cores'], 'core')}, {results['date'][:10]}",
        fontsize=11,
    )
    atomic_write({path: lambda stream: figure.savefig(stream, format="png", dpi=110)})
    plt.close(figure)


def _bars(
    axes: Any, groups: list[str], names: list[str], lengths: list[list[float]], texts: list[list[str]]
) -> None:
    """One group of bars for each label, one bar in it for each contestant, with its text at its end."""
    height = _BAR / len(names)
    places = np.arange(len(groups))
    for number, name in enumerate(names):
        offset = (number - (len(names) - 1) / 2) * height
        bars = axes.barh(
            places + offset, lengths[number], height * 0.92, color=_COLORS[name], label=TITLES[name]
        )
        shown = [text if length else "" for text, length in zip(texts[number], lengths[number], strict=True)]
        axes.bar_label(bars, labels=shown, padding=3, fontsize=7.5)
    axes.set_yticks(places, groups, fontsize=9)
    axes.invert_yaxis()  # the first group on top
    axes.margins(x=0.18)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def _get(case: dict[str, Any], name: str, key: str) -> float:
    """A number of one contestant, or 0 if it has none or gave wrong results."""
    row = case["contestants"].get(name, {})
    return float(row.get(key, 0)) if row.get("correct", True) else 0.0


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.2f} ms"
