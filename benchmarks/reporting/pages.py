"""Blocks of pages that are filled with the newest results.

A page marks where tables go: `<!-- benchmark: models -->` begins a block and `<!-- end -->` ends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring.result_files import RESULTS, newest_results
from reporting.summary import summary
from reporting.tables import accuracy_tables, models_tables, operations_tables, quantized_tables
from reporting.workload_tables import workloads_tables

PAGES = (Path(__file__).parents[2] / "README.md", Path(__file__).parents[1] / "RESULTS.md")

TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "models": models_tables,
    "operations": operations_tables,
    "accuracy": accuracy_tables,
    "quantized": quantized_tables,
    "workloads": workloads_tables,
}
"""What is shown of one benchmark, by its name. A new benchmark adds itself here."""


def _of_each_machine(table: Callable[[dict[str, Any]], str]) -> Callable[[list[dict[str, Any]]], str]:
    return lambda found: "\n\n".join(map(table, found))


BLOCKS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "summary": (summary, ("models", "quantized", "accuracy")),
    **{name: (_of_each_machine(table), (name,)) for name, table in TABLES.items()},
}
"""What stands in a block, by its name, and the benchmarks whose results it is made of."""

_BLOCK = re.compile(r"(<!-- benchmark: (\w+) -->\n)(.*?)(<!-- end -->)", flags=re.DOTALL)


class ReportError(Exception):
    """A page or a file of results is not what it should be."""


def fill_blocks(text: str, folder: Path = RESULTS, page: str = "README.md") -> str:
    """A page with the newest results in its blocks.

    Parameters
    ----------
    text : str
        The page as it is.
    folder : Path
        Of results.
    page : str
        Its name, for errors.

    Raises
    ------
    ReportError
        If there is no block, or one has no table or no results.
    """
    if not _BLOCK.search(text):
        raise ReportError(f"{page} has no block <!-- benchmark: ... --> ... <!-- end -->")

    def fill(match: re.Match[str]) -> str:
        name = match[2]
        if name not in BLOCKS:
            raise ReportError(f"{page} has a block for {name}; there are those of {', '.join(BLOCKS)}")
        show, benchmarks = BLOCKS[name]
        return f"{match[1]}{show(*(_newest(benchmark, folder) for benchmark in benchmarks))}\n{match[4]}"

    return _BLOCK.sub(fill, text)


def _newest(benchmark: str, folder: Path) -> list[dict[str, Any]]:
    results = newest_results(benchmark, folder)
    if not results:
        raise ReportError(f"no complete results of {benchmark}; run python benchmarks/{benchmark}.py")
    return results
