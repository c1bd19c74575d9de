"""Embedding many image files, some of which may be bad."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..common.batches import DEFAULT_BATCH_SIZE, in_batches
from ..config.vision_configuration import SiglipVisionConfig
from ..errors import ImageError
from ..outputs import BatchFeature
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
    try:
        for batch in in_batches(files, batch_size):
            paths: list[Path] = []
            images: list[BatchFeature] = []
            for file in batch:
                try:
                    if str(file).splitlines() != [str(file)]:
                        raise ImageError(
                            f"{str(file)!r}: a line break in its name does not fit a list of paths"
                        )
                    inputs = _preprocess(embedder, file, apply_exif_orientation)
                except ImageError as error:
                    report(str(error))
                    result.num_failed += 1
                else:
                    paths.append(file)
                    images.append(inputs)
            if paths:
                rows = embedder.embed_inputs(_together(images), normalize=normalize)
                result.batches.append((paths, rows))
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def _preprocess(embedder: Embedder, file: Path, apply_exif_orientation: bool) -> BatchFeature:
    """One image as a batch of one, of a size that the model takes."""
    inputs = embedder.processor(file, apply_exif_orientation=apply_exif_orientation)
    config = embedder.model.config
    if isinstance(config, SiglipVisionConfig) and not config.takes(*inputs.pixel_values.shape[2:]):
        height, width = inputs.pixel_values.shape[2:]
        raise ImageError(
            f"{file}: becomes {height} x {width} pixels by this preprocessing, and the model takes images of "
            f"{config.image_size}; resize or crop it first, or change the preprocessing"
        )
    return inputs


def _together(images: list[BatchFeature]) -> BatchFeature:
    """Several batches of one as one batch."""
    return BatchFeature({name: np.concatenate([inputs[name] for inputs in images]) for name in images[0]})
