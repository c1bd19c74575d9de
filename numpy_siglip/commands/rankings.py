"""Texts of each image from the best on: printed as they come, for reading, as JSON or as a table."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import on_one_line
from .output import print_result

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self


def add_form(command: argparse.ArgumentParser) -> None:
    """``--json`` and ``--csv``."""
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--csv", action="store_true", help="as a table: image, text and numbers on each line")


class Rankings:
    """Prints what is shown to it; as JSON, all of it is one list, which ends with the context.

    Parameters
    ----------
    options : Namespace
        ``json``, ``csv`` and ``top`` of the command line.
    kind : str
        What a text is called: ``"label"`` or ``"text"``.
    texts : list of str
    scores : list of str
        What the numbers are called; texts are sorted by the first.
    """

    def __init__(
        self, options: argparse.Namespace, kind: str, texts: Sequence[str], scores: Sequence[str]
    ) -> None:
        self._form = "json" if options.json else "csv" if options.csv else "text"
        self._top = options.top
        self._kind, self._texts, self._scores = kind, texts, scores
        self._shown = 0

    def __enter__(self) -> Self:
        if self._form == "csv":
            print_result(_row(["image", self._kind, *self._scores]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        if self._form == "json" and not isinstance(error, OSError) and (error is None or self._shown):
            print_result("\n]" if self._shown else "[]")

    def show(self, paths: Sequence[Path], numbers: Sequence[np.ndarray]) -> None:
        """Print the texts of some images.

        Parameters
        ----------
        paths : sequence of Path
        numbers : sequence of ndarray of shape (images, texts)
            One for each score.
        """
        for row, path in enumerate(paths):
            best = sorted(range(len(self._texts)), key=lambda i: -float(numbers[0][row, i]))[: self._top]
            ranked = [
                {
                    self._kind: self._texts[i],
                    **{name: float(each[row, i]) for name, each in zip(self._scores, numbers, strict=True)},
                }
                for i in best
            ]
            getattr(self, f"_show_{self._form}")(str(path), ranked)
            self._shown += 1

    def _show_text(self, image: str, ranked: list[dict[str, Any]]) -> None:
        lines = [image]
        for entry in ranked:
            numbers = "  ".join(f"{entry[name]:>10.4g}" for name in self._scores)
            lines.append(f"{numbers}  {entry[self._kind]}")
        for line in lines:
            print_result(line)

    def _show_json(self, image: str, ranked: list[dict[str, Any]]) -> None:
        values = {"image": image, f"{self._kind}s": ranked}
        entry = json.dumps(values, indent=2, ensure_ascii=False)
        if any(line != on_one_line(line) for line in entry.split("\n")):
            entry = json.dumps(values, indent=2)  # JSON has escapes of its own for what no line can show
        before = ",\n" if self._shown else "[\n"
        print_result(before + "\n".join(f"  {line}" for line in entry.split("\n")), end="")

    def _show_csv(self, image: str, ranked: list[dict[str, Any]]) -> None:
        for entry in ranked:
            cells = [image, entry[self._kind], *(repr(entry[name]) for name in self._scores)]
            print_result(_row(cells))


def _row(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
