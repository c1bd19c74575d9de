"""Images in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .checks import check_integer
from .configuration import CONFIG_FILE, SiglipVisionConfig
from .embeddings import normalize_rows, require_finite
from .errors import CheckpointError, ConfigError
from .image_processing import SiglipImageProcessor
from .images import is_path
from .kernels.backend import DEFAULT_BACKEND
from .model_files import open_model
from .progress import with_progress
from .vision import SiglipVisionModel, choose_backend

DEFAULT_BATCH_SIZE = 8
_LARGEST_BATCH = 2**20

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
    ConfigError
        If the processor makes images of another size than the tower takes.

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
        _require_fit(model.config, processor)
        self.model = model
        self.processor = processor
        self._source = "the model"

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        backend: str = DEFAULT_BACKEND,
        threads: int | None = None,
        revision: str | None = None,
    ) -> Embedder:
        """Load a checkpoint and its preprocessing.

        Parameters
        ----------
        model : str or Path
            A folder with ``config.json``, ``preprocessor_config.json`` and safetensors weights, a
            ``.safetensors`` file or index beside the other two, or a hub id (needs the extra ``hub``).
        backend : str
            As for `SiglipVisionModel.from_pretrained`, and so is ``threads``.
        threads : int, optional
        revision : str, optional
            Branch, tag or commit on the hub.

        Raises
        ------
        ConfigError
            If the configuration or the preprocessing is missing, unreadable or impossible, if the two do
            not fit each other, or if there is no such backend or it cannot use that many threads.
        CheckpointError
            If weights are missing, damaged, or do not fit the configuration; if the tower has no pooling
            head, and so gives no image embedding.

        Examples
        --------
        >>> Embedder.from_pretrained(model_folder).embedding_size
        33
        """
        ops = choose_backend(backend, threads)
        location, checkpoint, config = open_model(model, revision)
        file, processor = SiglipImageProcessor.read(location)
        try:
            _require_fit(config, processor)  # before the weights are read, which takes longer
        except CheckpointError as error:
            raise CheckpointError(f"{location}: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{file} and {CONFIG_FILE} beside it do not fit each other: {error}") from None
        embedder = cls(SiglipVisionModel.from_checkpoint(checkpoint, config, ops), processor)
        embedder._source = str(location)
        return embedder

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
            If an image cannot be read, or is an array that holds NaN or infinite numbers.
        ConfigError
            If ``batch_size`` is no positive integer.
        CheckpointError
            If an embedding is not finite, because the checkpoint's weights are not or overflow.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> embedder.embed_images([photo], normalize=False).shape
        (1, 33)
        """
        batch_size = check_batch_size(batch_size)
        embedded = []
        for batch in in_batches(with_progress(_as_iterable(images), progress), batch_size):
            inputs = self.processor(batch, apply_exif_orientation=apply_exif_orientation)
            embedded.append(self.embed_pixel_values(inputs["pixel_values"], normalize=normalize))
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)

    def embed_pixel_values(self, pixel_values: np.ndarray, *, normalize: bool = True) -> np.ndarray:
        """Embed preprocessed images: (batch, 3, height, width) -> (batch, embedding_size).

        Raises
        ------
        ImageError
            If the pixels do not fit the model, or are not finite.
        CheckpointError
            If an embedding is not finite though the pixels are.
        """
        with np.errstate(all="ignore"):  # what overflows is told below, in one error
            embeddings = self.model(pixel_values).pooler_output
        assert embeddings is not None  # the constructor saw a pooling head
        require_finite(embeddings, pixel_values, self._source)
        return normalize_rows(embeddings) if normalize else embeddings


def check_batch_size(batch_size: Any) -> int:
    """The number of images at a time as Python's int.

    Raises
    ------
    ConfigError
        If it is no positive integer.

    Examples
    --------
    >>> check_batch_size(8)
    8
    """
    return check_integer("batch_size", batch_size, largest=_LARGEST_BATCH)


def _require_fit(config: SiglipVisionConfig, processor: SiglipImageProcessor) -> None:
    """Refuse a tower that gives no embedding, or that takes other images than the processor makes."""
    if not config.vision_use_head:
        raise CheckpointError(
            "this tower has no pooling head (vision_use_head is false), so it gives tokens and no "
            "embedding; use SiglipVisionModel and its last_hidden_state"
        )
    if config.num_channels != 3:
        raise ConfigError(
            f"images are preprocessed to 3 channels, but num_channels is {config.num_channels}; use "
            "SiglipVisionModel with pixel values of your own"
        )
    if processor.do_resize and "height" in processor.size:  # otherwise it depends on the image
        height, width = processor.size["height"], processor.size["width"]
        if not config.takes(height, width):
            raise ConfigError(
                f"images are preprocessed to a size of {height} x {width} pixels, but image_size is "
                f"{config.image_size}; take both files from the same model"
            )


def _as_iterable(images: Any) -> Iterable[Any]:
    """One image as a list of one. An array of four axes is a batch already."""
    if is_path(images) or hasattr(images, "convert") or getattr(images, "ndim", 4) < 4:
        return [images]
    try:
        return iter(images)
    except TypeError:  # no image either, which is for the processor to say
        return [images]


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
