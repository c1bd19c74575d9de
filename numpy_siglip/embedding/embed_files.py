"""Running many image files through a model, some of which may be bad."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError

Batches = Callable[..., Iterator[tuple[list[Any], np.ndarray]]]
"""`Embedder.embed_batches` or `ImageClassifier.classify_batches`, of which the images are still open."""


@dataclass
class EmbeddedFiles:
    """Results in the order of their files: embeddings, or probabilities of a classifier.

    Examples
    --------
    >>> EmbeddedFiles(width=8).array().shape
    (0, 8)
    """

    width: int
    batches: list[tuple[list[Path], np.ndarray]] = field(default_factory=list)
    """Paths of each batch with their rows, (paths, width)."""
    num_files: int = 0
    """How many there were"""
    num_failed: int = 0
    num_turned: int = 0
    """How many ask to be turned by their EXIF tag, and were not"""
    interruption: KeyboardInterrupt | None = None
    """What came before the last file, if something did"""

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [path for paths, _ in self.batches for path in paths]

    def array(self) -> np.ndarray:
        """All rows: float32 (files, width)."""
        return np.concatenate([np.zeros((0, self.width), np.float32), *(rows for _, rows in self.batches)])


def embed_files(
    batches: Batches,
    width: int,
    files: Iterable[Path],
    *,
    report: Callable[[str], object],
    on_batch: Callable[[list[Path], np.ndarray], object] | None = None,
) -> EmbeddedFiles:
    """Run image files through a model one batch at a time, leaving out those that cannot be read.

    Parameters
    ----------
    batches : callable
        From files to batches of results; see `Batches`.
    width : int
        Of a row.
    files : iterable of Path
    report : callable
        Called with one line for each file that is left out.
    on_batch : callable, optional
        Called with the paths and rows of each batch.

    Returns
    -------
    EmbeddedFiles
        After an interruption, the batches that were finished.
    """
    result = EmbeddedFiles(width)

    def leave_out(file: Path, error: ImageError) -> None:
        report(str(error))
        result.num_failed += 1

    def count_turned(_: Path) -> None:
        result.num_turned += 1

    def on_one_line_each() -> Iterator[Path]:
        for file in files:
            if str(file).splitlines() == [str(file)]:
                yield file
            else:
                problem = "a line break in its name does not fit a list of paths"
                leave_out(file, ImageError(f"{str(file)!r}: {problem}"))

    try:
        for paths, rows in batches(on_one_line_each(), on_error=leave_out, on_turned=count_turned):
            result.batches.append((paths, rows))
            if on_batch is not None:
                on_batch(paths, rows)
    except KeyboardInterrupt as interruption:
        result.interruption = interruption
    return result
