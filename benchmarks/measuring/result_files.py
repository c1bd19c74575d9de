"""Files of results: written whole, free of paths, and found by what they hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from numpy_siglip.common.atomic_write import atomic_write

RESULTS = Path(__file__).parents[1] / "results"
_DIGITS = 6


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON, in place of what was there only once all is written."""
    text = json.dumps(_rounded(results), indent=1) + "\n"
    atomic_write({path: lambda stream: stream.write(text.encode())})


def newest_results(benchmark: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The latest complete results of a benchmark on each kind of processor, quick ones left aside.

    Parameters
    ----------
    benchmark : str
        What the results say they are of, such as ``"models"``.
    folder : Path

    Returns
    -------
    list of dict
        The latest of all first.
    """
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    fit = [
        results
        for results in found
        if results.get("benchmark") == benchmark and results.get("complete") and not results.get("quick")
    ]
    newest: dict[str, dict[str, Any]] = {}
    for results in sorted(fit, key=lambda results: results["date"]):
        newest[processor_of(results)] = results
    return sorted(newest.values(), key=lambda results: results["date"], reverse=True)


def processor_of(results: dict[str, Any]) -> str:
    """What the processor is called that results were measured on."""
    name: str = results["machine"]["processor"]
    return name


def anonymous(values: dict[str, Any]) -> dict[str, Any]:
    """The same with folders cut from the paths in its reasons for failures.

    Examples
    --------
    >>> anonymous({"failed": {"torch": "cannot read /home/me/model/config.json"}})
    {'failed': {'torch': 'cannot read config.json'}}
    """
    failed = {name: re.sub(r"(?:/[^\s/'\"]+)+/", "", reason) for name, reason in values["failed"].items()}
    return {**values, "failed": failed}


def counted(number: int, thing: str) -> str:
    """A number and what it counts.

    Examples
    --------
    >>> counted(1, "thread"), counted(8, "image")
    ('1 thread', '8 images')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _rounded(value: Any) -> Any:
    """The same with floats of a length that a reader bears."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
