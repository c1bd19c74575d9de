"""Images in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import CheckpointError, ImageError
from .hub import locate_model
from .image_processing import SiglipImageProcessor
from .kernels.backend import DEFAULT_BACKEND
from .progress import with_progress
from .vision import SiglipVisionModel

DEFAULT_BATCH_SIZE = 8

Item = TypeVar("Item")


class Embedder:
    """A vision tower together with its preprocessing.

    Make one with `from_pretrained`.

    Parameters
    ----------
    model : SiglipVisionModel
    processor : SiglipImageProcessor

    Raises
    ------
    CheckpointError
        If the tower has no pooling head, and so gives no image embedding.

    Examples
    --------
    >>> from numpy_siglip import Embedder
    >>> embedder = Embedder.from_pretrained(model_folder)
    >>> embeddings = embedder.embed_images([photo, photo])
    >>> embeddings.shape == (2, embedder.embedding_size)
    True
    >>> float((embeddings[0] @ embeddings[1]).round(5))
    1.0
    """

    def __init__(self, model: SiglipVisionModel, processor: SiglipImageProcessor) -> None:
        if not model.config.vision_use_head:
            raise CheckpointError(
                "this tower has no pooling head (vision_use_head is false), so it gives tokens and no "
                "embedding; use SiglipVisionModel and its last_hidden_state"
            )
        self.model = model
        self.processor = processor

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        backend: str = DEFAULT_BACKEND,
        threads: int | None = None,
        revision: str | None = None,
    ) -> Embedder:
        """Load a checkpoint and its preprocessing; see `SiglipVisionModel.from_pretrained`."""
        location = locate_model(model, revision)
        processor = SiglipImageProcessor.from_pretrained(location)
        tower = SiglipVisionModel.from_pretrained(location, backend=backend, threads=threads)
        return cls(tower, processor)

    @property
    def embedding_size(self) -> int:
        """Length of one embedding."""
        return self.model.config.hidden_size

    def embed_images(
        self,
        images: Iterable[Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        normalize: bool = True,
        progress: bool = False,
        apply_exif_orientation: bool = False,
    ) -> np.ndarray:
        """Embed images, a batch at a time.

        Parameters
        ----------
        images : iterable of images
            Anything `SiglipImageProcessor` takes, paths included. It may be a generator: no more than
            one batch is held in memory. A single path or Pillow image is one image.
        batch_size : int
        normalize : bool
            Scale each embedding to length 1, as comparing by dot product asks for. The model's own
            ``pooler_output`` is not normalised.
        progress : bool
            Show a progress bar on standard error (needs tqdm, extra ``progress``).
        apply_exif_orientation : bool
            See `SiglipImageProcessor`.

        Returns
        -------
        ndarray of float32, shape (images, embedding_size)

        Raises
        ------
        ImageError
            If an image cannot be read.
        """
        if batch_size < 1:
            raise ImageError(f"batch_size is {batch_size}; it must be at least 1")
        embedded = []
        for batch in in_batches(with_progress(_as_iterable(images), progress), batch_size):
            inputs = self.processor(batch, apply_exif_orientation=apply_exif_orientation)
            embedded.append(self.embed_pixel_values(inputs["pixel_values"], normalize=normalize))
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)

    def embed_pixel_values(self, pixel_values: np.ndarray, *, normalize: bool = True) -> np.ndarray:
        """Embed preprocessed images: (batch, 3, height, width) -> (batch, embedding_size)."""
        embeddings = self.model(pixel_values).pooler_output
        assert embeddings is not None  # the constructor saw a pooling head
        return normalize_rows(embeddings) if normalize else embeddings


def normalize_rows(embeddings: np.ndarray) -> np.ndarray:
    """Scale each row to Euclidean length 1; a row of zeros stays as it is.

    Examples
    --------
    >>> normalize_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.where(lengths == 0, 1, lengths)


def _as_iterable(images: Any) -> Iterable[Any]:
    """One image as a list of one. An array of four axes is a batch already."""
    if isinstance(images, (str, Path)) or hasattr(images, "convert") or getattr(images, "ndim", 4) < 4:
        return [images]
    return images


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut a stream into lists of ``size`` items; the last may be shorter.

    Examples
    --------
    >>> list(in_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
