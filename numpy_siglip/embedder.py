"""Images in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .backends import choose_backend
from .checks import check_integer
from .configuration import CONFIG_FILE
from .embeddings import normalize_rows, require_finite
from .errors import CheckpointError, ConfigError
from .images import is_path
from .kernels.backend import DEFAULT_BACKEND
from .naflex_configuration import Siglip2VisionConfig, VisionConfig
from .naflex_processing import Siglip2ImageProcessor
from .progress import with_progress
from .vision_kinds import ImageProcessor, VisionModel, open_vision_model

DEFAULT_BATCH_SIZE = 8
_LARGEST_BATCH = 2**20

Item = TypeVar("Item")


class Embedder:
    """A vision tower together with its preprocessing.

    Make one with `from_pretrained`.

    Parameters
    ----------
    model : SiglipVisionModel or Siglip2VisionModel
    processor : SiglipImageProcessor or Siglip2ImageProcessor
        Of the same kind.

    Raises
    ------
    CheckpointError
        If the tower has no pooling head, and so gives no image embedding.
    ConfigError
        If the processor makes something else than the tower takes.

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

    def __init__(self, model: VisionModel, processor: ImageProcessor) -> None:
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
        """Load a checkpoint and its preprocessing, of fixed resolution or NaFlex.

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
        files = open_vision_model(model, revision)
        file, processor = files.read_processor()
        try:
            _require_fit(files.config, processor)  # before the weights are read, which takes longer
        except CheckpointError as error:
            raise CheckpointError(f"{files.location}: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{file} and {CONFIG_FILE} beside it do not fit each other: {error}") from None
        embedder = cls(files.load_model(ops), processor)
        embedder._source = str(files.location)
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
            embedded.append(self.embed_inputs(inputs, normalize=normalize))
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)

    def embed_inputs(self, inputs: Mapping[str, Any], *, normalize: bool = True) -> np.ndarray:
        """Embed preprocessed images.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            As the processor returns it.
        normalize : bool
            Scale each embedding to length 1.

        Returns
        -------
        ndarray of float32, shape (images, embedding_size)

        Raises
        ------
        ImageError
            If they do not fit the model, or hold pixels that are not finite.
        CheckpointError
            If an embedding is not finite though the pixels are.
        """
        with np.errstate(all="ignore"):  # what overflows is told below, in one error
            embeddings = self.model(**inputs).pooler_output
        assert embeddings is not None  # the constructor saw a pooling head
        require_finite(embeddings, inputs["pixel_values"], self._source)
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


def _require_fit(config: VisionConfig, processor: ImageProcessor) -> None:
    """Refuse a tower that gives no embedding, or that takes other images than the processor makes."""
    naflex = isinstance(config, Siglip2VisionConfig)
    tower = "Siglip2VisionModel" if naflex else "SiglipVisionModel"
    if not config.vision_use_head:
        raise CheckpointError(
            "this tower has no pooling head (vision_use_head is false), so it gives tokens and no "
            f"embedding; use {tower} and its last_hidden_state"
        )
    if config.num_channels != 3:
        raise ConfigError(
            f"images are preprocessed to 3 channels, but num_channels is {config.num_channels}; use "
            f"{tower} with pixel values of your own"
        )
    advice = "take both files from the same model"
    if isinstance(config, Siglip2VisionConfig):
        if not isinstance(processor, Siglip2ImageProcessor):
            raise ConfigError(f"a NaFlex tower takes patches, which Siglip2ImageProcessor makes; {advice}")
        if processor.patch_size != config.patch_size:
            raise ConfigError(
                f"images are cut into patches of {processor.patch_size} pixels, but patch_size is "
                f"{config.patch_size}; {advice}"
            )
    elif isinstance(processor, Siglip2ImageProcessor):
        raise ConfigError(
            f"this tower takes whole images, which SiglipImageProcessor makes, and not patches; {advice}"
        )
    elif processor.do_resize and "height" in processor.size:  # otherwise it depends on the image
        height, width = processor.size["height"], processor.size["width"]
        if not config.takes(height, width):
            raise ConfigError(
                f"images are preprocessed to a size of {height} x {width} pixels, but image_size is "
                f"{config.image_size}; {advice}"
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
