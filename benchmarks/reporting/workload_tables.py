"""Tables of `workloads`, in Markdown."""

from __future__ import annotations

from typing import Any

from reporting.contestants import OURS, TITLES
from reporting.tables import conditions


def workloads_tables(results: dict[str, Any]) -> str:
    """Everything that is shown of `workloads`."""
    parts = [
        conditions(results),
        folders_table(results["folders"]),
        contention_table(results["contention"]),
    ]
    if results["first_embedding"]:
        seconds = ", ".join(
            f"{value:.1f} s with {state}" for state, value in results["first_embedding"].items()
        )
        parts.append(
            f"From the start of a process to its first embedding of {results['model']}, "
            f"by what there is of compiled code: {seconds}."
        )
    return "\n\n".join(parts)


def folders_table(cases: list[dict[str, Any]]) -> str:
    """One row for each size of pictures and contestant."""
    lines = [
        "Folders of JPEG files, from file to row, eight images at a time. The time is divided by the sum of "
        "what exact decoding with resizing, and arithmetic, take alone, each on all cores: 1 is what one "
        "needs who does one after the other. The last column divides the time of numpy_siglip by theirs.",
        "",
        "| pictures | contestant | pictures a second | of the sum of the parts | ours / theirs |",
        "|---|---|--:|--:|--:|",
    ]
    for case in cases:
        width, height = case["size"]
        for row in case["contestants"].values():
            parts = row["ratio_to_parts"]
            cells = [
                f"{case['pictures']} of {width} x {height}",
                row["title"],
                f"{1 / row['median_seconds']:.1f}",
                "" if parts is None else f"{parts:.2f}",
                f"{row['ratio']:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def contention_table(cases: list[dict[str, Any]]) -> str:
    """One row for each number of processes and threads."""
    names = [name for name in TITLES if any(name in case["images_per_second"] for case in cases)]
    lines = [
        "Images a second of all processes together, which share the cores and embed one image at a time; in "
        "brackets how many times as fast numpy_siglip is.",
        "",
        "| processes | threads of each | " + " | ".join(TITLES[name] for name in names) + " |",
        "|--:|--:|" + "--:|" * len(names),
    ]
    for case in cases:
        rates = case["images_per_second"]
        cells = [
            f"{rates[name]:.1f}" + ("" if name == OURS else f" ({rates[OURS] / rates[name]:.2f})")
            for name in names
        ]
        lines.append(f"| {case['processes']} | {case['threads']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
