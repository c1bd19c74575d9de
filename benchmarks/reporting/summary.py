"""What README shows of all results: one table of speed, and one sentence of accuracy."""

from __future__ import annotations

from typing import Any

from measuring.result_files import counted, processor_of
from reporting.contestants import OURS, TITLES
from reporting.tables import day_and_commit, speed_cell

MODEL = "base-patch16-224"
_INT8 = "-int8"
"""Ends the names of contestants that compute in integers."""


def summary(
    models: list[dict[str, Any]], quantized: list[dict[str, Any]], accuracy: list[dict[str, Any]]
) -> str:
    """Speed in float32 and in int8 on each machine, and how accurate the bundled model is.

    Parameters
    ----------
    models, quantized, accuracy : list of dict
        Results of the benchmarks of these names on each machine, the latest first.
    """
    caption = (
        f"Milliseconds for one image of {MODEL}, computed alone or eight at a time; in brackets the time of "
        "numpy_siglip divided by theirs: below 1, numpy_siglip is faster."
    )
    in_int8 = {processor_of(results): results for results in quantized}
    tables = [speed_summary(results, in_int8.get(processor_of(results))) for results in models]
    return "\n\n".join([caption, *tables, accuracy_sentence(accuracy[0])])


def speed_summary(models: dict[str, Any], quantized: dict[str, Any] | None) -> str:
    """One row for each number of images and kind of numbers, one column for each contestant."""
    fit = [case for case in models["speed"] if case["model"] == MODEL]
    cases = [("float32", case["batch"], case["contestants"]) for case in fit]
    if quantized is not None and quantized["model"] == MODEL:
        cases += [("int8", case["batch"], _in_int8(case["contestants"])) for case in quantized["speed"]]
    names = [name for name in TITLES if any(name in rows for _, _, rows in cases)]
    lines = [
        "| numbers | images | " + " | ".join(TITLES[name] for name in names) + " |",
        "|---|--:|" + "--:|" * len(names),
    ]
    for numbers, batch, rows in cases:
        cells = [speed_cell(rows[name]) if name in rows else "" for name in names]
        lines.append(f"| {numbers} | {batch} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _measured_on(models, quantized)])


def accuracy_sentence(results: dict[str, Any]) -> str:
    """How often the bundled model names a drawing rightly, here, in int8 and in torch."""
    rows = {row["name"]: row for row in results["contestants"]}
    ours = rows[OURS]
    others = [
        f"{words} {rows[name]['top1']:.1%}"
        for name, words in (("torch", "torch"), (OURS + _INT8, "in int8"))
        if name in rows
    ]
    compared = f" ({', '.join(others)})" if others else ""
    sentence = (
        f"Out of {results['labels']} names, the bundled model finds the right one for {ours['top1']:.1%} of "
        f"{counted(results['pictures'], 'drawing')} in a style that it was not trained on{compared}"
    )
    if ours["difference"] is None:
        return f"{sentence}."
    return f"{sentence}; its embeddings, of length 1, are within {ours['difference']:.0e} of those of torch."


def _in_int8(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those who compute in int8, by the names that they have in float32."""
    found = {}
    for name, row in rows.items():
        if name.endswith(_INT8):
            plain = name.removesuffix(_INT8)
            found[plain] = {**row, "correct": True, "ratio": row["ratio"] if plain != OURS else None}
    return found


def _measured_on(models: dict[str, Any], quantized: dict[str, Any] | None) -> str:
    """One sentence on machine, date and commit of both."""
    where, when = _machine(models), day_and_commit(models)
    later = when if quantized is None else day_and_commit(quantized)
    if when != later:
        return f"Measured on {where}: in float32 on {when}; in int8 on {later}."
    return f"Measured on {where}: {when}."


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    cores, threads = counted(machine["cores"], "core"), counted(results["threads"], "thread")
    return f"{machine['processor']}, {cores}, {threads} each"
