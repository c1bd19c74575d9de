"""Images and texts in, embeddings and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checkpoints.bundled import BUNDLED_MODEL
from ..checkpoints.description.model_files import ModelFiles
from ..checkpoints.file_names import CONFIG_FILE
from ..common.checks import check_flag, shown
from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.progress import with_progress
from ..config.config_section import ReadableConfig
from ..config.kinds import AnyTextConfig, AnyVisionConfig
from ..errors import CheckpointError, ConfigError, ImageError, SiglipError
from ..kernels.backend import Backend
from ..kernels.choices import DEFAULT_BACKEND, DEFAULT_DTYPE
from ..model.classification import mean_of_tokens
from ..model.comparison import Comparison, require_one_width
from ..model.pretrained import Pretrained
from ..outputs import BaseModelOutputWithPooling
from ..preprocessing.prompts import DEFAULT_PROMPT, fill_prompt, list_labels, list_prompts
from .finiteness import require_finite
from .image_batches import ImageBatch, SkippedImages, collect, run_batches
from .image_inputs import as_iterable
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
    pooling: ClassVar[str] = "head"
    """How the tokens of an image become its embedding: by the tower's head, or as their ``"mean"``"""

    def __init__(self, model: VisionModel, processor: ImageProcessor) -> None:
        require_fit(model.config, processor, with_head=self.pooling == "head")
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
        pooling: str = "head",
        **others: Any,
    ) -> Self:
        """Load a checkpoint and its preprocessing, of fixed resolution or NaFlex.

        Parameters and errors are those of `SiglipVisionModel.from_pretrained`. If ``model`` is left out, it
        is the one that comes with the package: small, and trained on drawings of emoji alone; it knows no
        photographs. A model without ``preprocessor_config.json`` gets the preprocessing of its family.

        With ``pooling="mean"`` an image's embedding is the mean of its tokens, for towers without a pooling
        head. Texts are not compared with such embeddings.

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
        if pooling not in ("head", "mean"):
            raise ConfigError(f"pooling is {shown(pooling)}; it must be 'head' or 'mean'")
        build: Any = super().from_pretrained
        if pooling != cls.pooling:
            build = partial(_MeanPoolingEmbedder.from_pretrained, pooling=_MeanPoolingEmbedder.pooling)
        return build(
            model,
            backend=backend,
            threads=threads,
            dtype=dtype,
            float32_layers=float32_layers,
            revision=revision,
            config=config,
            **others,
        )

    def __repr__(self) -> str:
        source = "" if self.files is None else f" of {self.files}"
        return f"<{type(self).__name__.lstrip('_')}{source}: {self.model!r}>"

    def __getstate__(self) -> dict[str, Any]:
        """All that it computes with, so that a copy in another process, or on another machine, needs no file.

        The text tower of its checkpoint is read for that, if there is one. An embedder for images alone, as
        ``Embedder(embedder.model, embedder.processor)`` makes one, leaves it out.
        """
        for part in ("comparison", "text_embedder"):
            with suppress(SiglipError):  # a model of images alone, or texts that cannot be read here either
                getattr(self, part)
        return self.__dict__

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        vision = VisionFiles(files, config)
        file, processor = vision.read_processor()
        try:
            # before the weights are read, which takes longer
            require_fit(config, processor, with_head=cls.pooling == "head")
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
        decode: str = "exact",
        on_error: str = "raise",
    ) -> Any:
        """Embed images, a batch at a time.

        Parameters
        ----------
        images : iterable of images
            Anything `SiglipImageProcessor` takes, paths included. It may be a generator: no more than two
            batches are held in memory, one that is computed and one whose files are read meanwhile. A single
            path or Pillow image is one image; a folder, or a pattern such as ``"holiday/*.jpg"``, stands for
            the files that `find_images` finds.
        batch_size : int
        normalize : bool
            Scale each embedding to length 1, as comparing by dot product asks for. The model's own
            ``pooler_output`` is not normalised.
        progress : bool
            Show a progress bar on standard error (needs tqdm, extra ``progress``).
        apply_exif_orientation : bool
            See `SiglipImageProcessor`. Without it, the log says how many images ask to be turned.
        decode : {"exact", "fast"}
            With ``"fast"``, JPEG files are decoded at a half, a quarter or an eighth of their size, but no
            less than twice what the model takes. This is several times faster for photographs, and their
            embeddings are nearly the same: see ``docs/accuracy.md``.
        on_error : {"raise", "skip"}
            With ``"skip"``, images that cannot be read are left out.

        Returns
        -------
        ndarray of float32, shape (images, embedding_size)
            With ``on_error="skip"``, a `SkippedImages` of such ``rows``, their ``indices`` among the images,
            and the ``errors`` of the others.

        Raises
        ------
        ImageError
            If an image cannot be read, or is an array that holds NaN or infinite numbers. The message names
            its file, or its number in the stream.
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
        stream = with_progress(as_iterable(images), progress)
        batches = partial(
            self._batches,
            stream,
            batch_size,
            check_flag("normalize", normalize),
            apply_exif_orientation,
            decode,
        )
        return collect(batches, self.embedding_size, on_error)

    def embed_batches(
        self,
        images: Iterable[Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        normalize: bool = True,
        apply_exif_orientation: bool = False,
        decode: str = "exact",
        on_error: Callable[[Any, ImageError], object] | None = None,
        on_turned: Callable[[Any], object] | None = None,
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """Embed a stream of images, and hand out each batch as soon as it is embedded.

        Every image that this package embeds goes through this loop: those of `embed_images` and `classify`,
        and the files of the command line.

        Parameters
        ----------
        images : iterable of images
            As for `embed_images`. What is nested, or a batch in an array, comes out as single images.
        batch_size, normalize, apply_exif_orientation, decode
            As for `embed_images`.
        on_error : callable, optional
            Called with an image that cannot be embedded and with the error; the image is then left out.
            Without it, the error is raised.
        on_turned : callable, optional
            Called with each image that asks to be turned by its EXIF tag, and is not.

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
        leave_out = None if on_error is None else lambda _, image, error: on_error(image, error)
        for batch in self._batches(
            images,
            batch_size,
            normalize,
            apply_exif_orientation,
            decode,
            on_error=leave_out,
            on_turned=on_turned,
        ):
            yield batch.images, batch.rows

    def _batches(
        self,
        images: Iterable[Any],
        batch_size: int,
        normalize: bool,
        apply_exif_orientation: bool,
        decode: str,
        **listeners: Any,
    ) -> Iterator[ImageBatch]:
        return run_batches(
            images,
            self.processor,
            self.model.config,
            lambda inputs: self.embed_inputs(inputs, normalize=normalize),
            batch_size=batch_size,
            threads=self.model.ops.threads,
            apply_exif_orientation=apply_exif_orientation,
            decode=decode,
            **listeners,
        )

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
            embeddings = self._pooled(self.model(**inputs), inputs)
        source = "the model" if self.files is None else str(self.files)
        require_finite(embeddings, inputs["pixel_values"], source)
        return self.model.ops.l2_normalize(embeddings) if normalize else embeddings

    def _pooled(self, output: BaseModelOutputWithPooling, inputs: Mapping[str, Any]) -> np.ndarray:
        assert output.pooler_output is not None  # the constructor saw a pooling head
        return output.pooler_output

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

    def embed_labels(
        self,
        labels: str | Iterable[str],
        *,
        prompt: str | Sequence[str] = DEFAULT_PROMPT,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> np.ndarray:
        """Embed labels as `classify` compares images with them.

        Each prompt gives a label an embedding of length 1; their mean, brought to length 1 again, is that of
        the label (https://arxiv.org/abs/2103.00020, section 3.1.4).

        Parameters
        ----------
        labels : iterable of str
            A single string is several labels with commas between, as on the command line.
        prompt : str or sequence of str
            What the model reads for a label, with ``{}`` in its place, or the name of a set of prompts,
            ``"clip-7"`` or ``"clip-80"``.
        batch_size : int

        Returns
        -------
        ndarray of float32, shape (labels, embedding_size)

        Raises
        ------
        TextError
            If there is no label, or one is no text.
        ConfigError, CheckpointError, SiglipError
            As for `embed_texts`, or if a prompt has no place for the label.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> embedder.embed_labels("a cat, a dog", prompt="clip-7").shape
        (2, 33)
        """
        listed, prompts = list_labels(labels), list_prompts(prompt)
        texts = [text for label in listed for one in prompts for text in fill_prompt(one, [label])]
        embeddings = self.embed_texts(texts, batch_size=batch_size)
        if len(prompts) == 1:
            return embeddings
        of_each = embeddings.reshape(len(listed), len(prompts), -1)
        return self.model.ops.l2_normalize(of_each.mean(axis=1, dtype=np.float64).astype(np.float32))

    def classify(
        self,
        images: Iterable[Any],
        labels: str | Iterable[str],
        *,
        prompt: str | Sequence[str] = DEFAULT_PROMPT,
        softmax: bool = False,
        batch_size: int = DEFAULT_BATCH_SIZE,
        progress: bool = False,
        apply_exif_orientation: bool = False,
        decode: str = "exact",
        on_error: str = "raise",
    ) -> Any:
        """Tell how likely each label is for each image, without having been trained on the labels.

        Parameters
        ----------
        images : iterable of images
            As for `embed_images`.
        labels, prompt
            As for `embed_labels`.
        softmax : bool
            Of labels of which exactly one is right: how likely it is that one, and not another.
        batch_size : int
        progress : bool
        apply_exif_orientation : bool
        decode : {"exact", "fast"}
        on_error : {"raise", "skip"}
            As for `embed_images`.

        Returns
        -------
        ndarray of float32, shape (images, labels)
            Probabilities, each by itself: they do not sum to 1, and all may be small. With ``softmax`` they
            do. With ``on_error="skip"``, a `SkippedImages` of such rows.

        Raises
        ------
        ImageError, TextError
            If an image or a label cannot be read.
        ConfigError, CheckpointError, SiglipError
            As for `embed_labels`.

        Examples
        --------
        >>> embedder = Embedder.from_pretrained(model_folder)
        >>> embedder.classify([photo], ["a cat", "a dog", "a bicycle"]).shape
        (1, 3)
        """
        softmax = check_flag("softmax", softmax)
        text_embeds = self.embed_labels(labels, prompt=prompt, batch_size=batch_size)
        comparison = self.comparison
        stream = with_progress(as_iterable(images), progress)
        found = collect(
            partial(self._batches, stream, batch_size, True, apply_exif_orientation, decode),
            self.embedding_size,
            on_error,
        )
        rows = found.rows if isinstance(found, SkippedImages) else found
        probabilities = comparison.probabilities(comparison.logits(rows, text_embeds), softmax=softmax)
        return found._replace(rows=probabilities) if isinstance(found, SkippedImages) else probabilities

    def _pretrained(self) -> ModelFiles:
        if self.pooling != "head":
            raise ConfigError(
                'this embedder was made with pooling="mean", and texts are compared with what the pooling '
                "head gives; leave pooling out"
            )
        if self.files is None:
            raise ConfigError(
                "this embedder was made of a vision tower alone and knows no texts; make it with "
                "Embedder.from_pretrained"
            )
        return self.files


class _MeanPoolingEmbedder(Embedder):
    """An embedder of towers without a head; `Embedder.from_pretrained` makes one."""

    pooling: ClassVar[str] = "mean"

    def _pooled(self, output: BaseModelOutputWithPooling, inputs: Mapping[str, Any]) -> np.ndarray:
        return mean_of_tokens(self.model.ops, output.last_hidden_state, inputs.get("spatial_shapes"))
