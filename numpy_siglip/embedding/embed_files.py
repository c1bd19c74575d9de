"""Embedding many image files, some of which may be bad."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..common.defaults import DEFAULT_BATCH_SIZE
from ..errors import ImageError
from .embedder import Embedder


@dataclass
class EmbeddedFiles:
    """Embeddings in the order of their files.

    Examples
    --------
    >>> EmbeddedFiles(width=8).array().shape
    (0, 8)
    """

    width: int
    batches: list[tuple[list[Path], np.ndarray]] = field(default_factory=list)
    """Paths of each batch with their embeddings, (paths, width)."""
    num_files: int = 0
    """How many there were to embed"""
    num_failed: int = 0
    interrupted: bool = False

    @property
    def paths(self) -> list[Path]:
        """All files."""
        return [path for paths, _ in self.batches for path in paths]

    def array(self) -> np.ndarray:
        """All embeddings: float32 (files, width)."""
        return np.concatenate([np.zeros((0, self.width), np.float32), *(rows for _, rows in self.batches)])


def embed_files(
    embedder: Embedder,
    files: Iterable[Path],
    *,
    report: Callable[[str], object],
    batch_size: int = DEFAULT_BATCH_SIZE,
    normalize: bool = False,
    apply_exif_orientation: bool = False,
) -> EmbeddedFiles:
    """Embed image files one batch at a time, leaving out those that cannot be read.

    Parameters
    ----------
    embedder : Embedder
    files : iterable of Path
    report : callable
        Called with one line for each file that is left out.
    batch_size : int
    normalize : bool
        Scale each embedding to length 1.
    apply_exif_orientation : bool
        Turn images upright as their EXIF tag asks.

    Returns
    -------
    EmbeddedFiles
        After Ctrl-C, the batches that were finished.
    """
    result = EmbeddedFiles(embedder.embedding_size)

    def leave_out(file: Path, error: ImageError) -> None:
        report(str(error))
        result.num_failed += 1

    def on_one_line_each() -> Iterator[Path]:
        for file in files:
            if str(file).splitlines() == [str(file)]:
                yield file
            else:
                problem = "a line break in its name does not fit a list of paths"
                leave_out(file, ImageError(f"{str(file)!r}: {problem}"))

    batches = embedder.embed_batches(
        on_one_line_each(),
        batch_size=batch_size,
        normalize=normalize,
        apply_exif_orientation=apply_exif_orientation,
        on_error=leave_out,
    )
    try:
        for batch in batches:
            result.batches.append(batch)
    except KeyboardInterrupt:
        result.interrupted = True
    return result
