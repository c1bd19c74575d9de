"""Images and texts in, embeddings and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checkpoints.bundled import BUNDLED_MODEL
from ..checkpoints.description.model_files import ModelFiles
from ..checkpoints.file_names import CONFIG_FILE
from ..common.batches import check_batch_size, in_batches
from ..common.checks import check_flag
from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.progress import with_progress
from ..config.config_section import ReadableConfig
from ..config.kinds import AnyTextConfig, AnyVisionConfig
from ..errors import CheckpointError, ConfigError, ImageError
from ..kernels.backend import Backend
from ..kernels.choices import DEFAULT_BACKEND, DEFAULT_DTYPE
from ..model.comparison import Comparison, require_one_width
from ..model.pretrained import Pretrained
from ..preprocessing.prompts import DEFAULT_PROMPT, fill_prompt
from .finiteness import require_finite
from .image_inputs import as_iterable, preprocess_one, single_images, together
from .text_embedder import TextEmbedder
from .vision_kinds import ImageProcessor, VisionFiles, VisionModel, require_fit

if TYPE_CHECKING:
    from typing_extensions import Self


class Embedder(Pretrained):
    """A vision tower together with its preprocessing, and a text tower as soon as there is a text.

    Make one with `from_pretrained`. The text tower of its checkpoint is read when it is first used.

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

    config_class: ClassVar[type[ReadableConfig]] = AnyVisionConfig

    def __init__(self, model: VisionModel, processor: ImageProcessor) -> None:
        require_fit(model.config, processor)
        self.model = model
        self.processor = processor
        self.files: ModelFiles | None = None
        """The open model that it was loaded from; None if it was made of a tower and a processor."""

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | ModelFiles = BUNDLED_MODEL,
        *,
        backend: str = DEFAULT_BACKEND,
        threads: int | None = None,
        dtype: Any = DEFAULT_DTYPE,
        float32_layers: Sequence[str] = (),
        revision: str | None = None,
        config: Any = None,
        **others: Any,
    ) -> Self:
        """Load a checkpoint and its preprocessing, of fixed resolution or NaFlex.

        Parameters and errors are those of `SiglipVisionModel.from_pretrained`. If ``model`` is left out, it
        is the one that comes with the package: small, and trained on drawings of emoji alone; it knows no
        photographs. A model without ``preprocessor_config.json`` gets the preprocessing of its family.

        Raises
        ------
        ConfigError
            Also if the preprocessing is damaged, or it and the configuration do not fit each other.
        CheckpointError
            Also if the tower has no pooling head, and so gives no image embedding.

        Examples
        --------
        >>> Embedder.from_pretrained(model_folder).embedding_size
        33
        """
        return super().from_pretrained(
            model,
            backend=backend,
            threads=threads,
            dtype=dtype,
            float32_layers=float32_layers,
            revision=revision,
            config=config,
            **others,
        )

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        vision = VisionFiles(files, config)
        file, processor = vision.read_processor()
        try:
            require_fit(config, processor)  # before the weights are read, which takes longer
        except CheckpointError as error:
            raise CheckpointError(f"{files}: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{file} and {CONFIG_FILE} beside it do not fit each other: {error}") from None
        embedder = cls(vision.load_model(ops), processor)
        embedder.files = files
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
        batches = self.embed_batches(
            with_progress(as_iterable(images), progress),
            batch_size=batch_size,
            normalize=normalize,
            apply_exif_orientation=apply_exif_orientation,
        )
        embedded = [rows for _, rows in batches]
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)

    def embed_batches(
        self,
        images: Iterable[Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        normalize: bool = True,
        apply_exif_orientation: bool = False,
        on_error: Callable[[Any, ImageError], object] | None = None,
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """Embed a stream of images, and hand out each batch as soon as it is embedded.

        Every image that this package embeds goes through this loop: those of `embed_images` and `classify`,
        and the files of the command line.

        Parameters
        ----------
        images : iterable of images
            As for `embed_images`. What is nested, or a batch in an array, comes out as single images.
        batch_size, normalize, apply_exif_orientation
            As for `embed_images`.
        on_error : callable, optional
            Called with an image that cannot be embedded and with the error; the image is then left out.
            Without it, the error is raised.

        Yields
        ------
        images : list
            Those of one batch that were embedded.
        embeddings : ndarray of float32, shape (images, embedding_size)

        Raises
        ------
        ImageError, ConfigError, CheckpointError
            As `embed_images`.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> left_out = {}
        >>> batches = embedder.embed_batches(["no.jpg", photo], on_error=left_out.__setitem__)
        >>> [(images == [photo], rows.shape) for images, rows in batches], list(left_out)
        ([(True, (1, 33))], ['no.jpg'])
        """
        normalize = check_flag("normalize", normalize)
        check_flag("apply_exif_orientation", apply_exif_orientation)
        for batch in in_batches(single_images(images), check_batch_size(batch_size)):
            embedded, inputs = [], []
            for image in batch:
                try:
                    one = preprocess_one(self.processor, self.model.config, image, apply_exif_orientation)
                except ImageError as error:
                    if on_error is None:
                        raise
                    on_error(image, error)
                else:
                    embedded.append(image)
                    inputs.append(one)
            if embedded:
                yield embedded, self.embed_inputs(together(inputs), normalize=normalize)

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
        normalize = check_flag("normalize", normalize)
        with np.errstate(all="ignore"):  # what overflows is told below, in one error
            embeddings = self.model(**inputs).pooler_output
        assert embeddings is not None  # the constructor saw a pooling head
        source = "the model" if self.files is None else str(self.files)
        require_finite(embeddings, inputs["pixel_values"], source)
        return self.model.ops.l2_normalize(embeddings) if normalize else embeddings

    @cached_property
    def text_embedder(self) -> TextEmbedder:
        """The text tower of the same checkpoint, with its tokenizer; read when it is first asked for.

        Raises
        ------
        ConfigError, CheckpointError, SiglipError
            If the checkpoint has none, its tokenizer is missing, or the libraries that read it are.
        """
        files = self._pretrained()
        config: Any = AnyTextConfig.from_pretrained(files)
        require_one_width(self.embedding_size, config.projection_size, files)
        return TextEmbedder.from_files(files, config, self.model.ops)

    @cached_property
    def comparison(self) -> Comparison:
        """How the embeddings of the checkpoint's images and texts are compared.

        Raises
        ------
        CheckpointError
            If the checkpoint is that of a vision tower alone.
        """
        return Comparison.from_checkpoint(self._pretrained().tensors, self.model.ops)

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        normalize: bool = True,
        progress: bool = False,
    ) -> np.ndarray:
        """Embed texts, a batch at a time (extra ``text``).

        Parameters
        ----------
        texts : iterable of str
            A single string is one text.
        batch_size : int
        normalize : bool
            Scale each embedding to length 1.
        progress : bool
            Show a progress bar on standard error (needs tqdm, extra ``progress``).

        Returns
        -------
        ndarray of float32, shape (texts, embedding_size)

        Raises
        ------
        TextError
            If something is no text.
        ConfigError, CheckpointError, SiglipError
            If the checkpoint has no text tower, its tokenizer is missing, or the libraries that read it are.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> embedder.embed_texts(["a photo of a cat", "a photo of a dog"]).shape
        (2, 33)
        """
        return self.text_embedder.embed_texts(
            texts, batch_size=batch_size, normalize=normalize, progress=progress
        )

    def classify(
        self,
        images: Iterable[Any],
        labels: Iterable[str],
        *,
        prompt: str = DEFAULT_PROMPT,
        batch_size: int = DEFAULT_BATCH_SIZE,
        progress: bool = False,
        apply_exif_orientation: bool = False,
    ) -> np.ndarray:
        """Tell how likely each label is for each image, without having been trained on the labels.

        Parameters
        ----------
        images : iterable of images
            As for `embed_images`.
        labels : iterable of str
        prompt : str
            What the model reads for a label, with ``{}`` in its place.
        batch_size : int
        progress : bool
        apply_exif_orientation : bool
            As for `embed_images`.

        Returns
        -------
        ndarray of float32, shape (images, labels)
            Probabilities, each by itself: they do not sum to 1, and all may be small.

        Raises
        ------
        ImageError, TextError
            If an image or a label cannot be read.
        ConfigError, CheckpointError, SiglipError
            As for `embed_texts`, or if the prompt has no place for the label.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> embedder.classify([photo], ["a cat", "a dog", "a bicycle"]).shape
        (1, 3)
        """
        prompts = fill_prompt(prompt, labels)
        text_embeds = self.embed_texts(prompts, batch_size=batch_size)
        image_embeds = self.embed_images(
            images, batch_size=batch_size, progress=progress, apply_exif_orientation=apply_exif_orientation
        )
        return self.comparison.probabilities(self.comparison.logits(image_embeds, text_embeds))

    def _pretrained(self) -> ModelFiles:
        if self.files is None:
            raise ConfigError(
                "this embedder was made of a vision tower alone and knows no texts; make it with "
                "Embedder.from_pretrained"
            )
        return self.files
