"""Images and texts, prepared together."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..common.checks import shown
from ..errors import ConfigError
from ..outputs import BatchFeature
from .image_processing import SiglipImageProcessor
from .naflex_processing import Siglip2ImageProcessor
from .tokenizer import SiglipTokenizer

Processor = TypeVar("Processor", bound="SiglipProcessor")

_TEXT_OPTIONS = ("padding", "truncation", "max_length")


class SiglipProcessor:
    """An image processor together with a tokenizer.

    Parameters
    ----------
    image_processor : SiglipImageProcessor
    tokenizer : SiglipTokenizer

    Examples
    --------
    >>> from numpy_siglip import SiglipProcessor
    >>> processor = SiglipProcessor.from_pretrained(model_folder)
    >>> inputs = processor(images=photo, text=["a cat", "a dog"])
    >>> inputs.pixel_values.shape, inputs.input_ids.shape
    ((1, 3, 44, 44), (2, 16))
    """

    image_processor_class: ClassVar[Any] = SiglipImageProcessor

    def __init__(self, image_processor: Any, tokenizer: SiglipTokenizer) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls: type[Processor],
        model: str | Path | ModelFiles,
        *,
        revision: str | None = None,
        context_length: int | None = None,
    ) -> Processor:
        """Read the preprocessing of a checkpoint.

        Parameters
        ----------
        model : str, Path or ModelFiles
            A folder, a file in it, a hub id, or a model that is open already.
        revision : str, optional
            Branch, tag or commit on the hub.
        context_length : int, optional
            As for `SiglipTokenizer.from_pretrained`.

        Raises
        ------
        ConfigError, CheckpointError, SiglipError
            As `SiglipImageProcessor.from_pretrained` and `SiglipTokenizer.from_pretrained`.
        """
        files = open_model(model, revision)
        image_processor = cls.image_processor_class.read(files)[1]
        return cls(image_processor, SiglipTokenizer.from_pretrained(files, context_length=context_length))

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *,
        return_tensors: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Preprocess images, texts or both.

        Parameters
        ----------
        images : optional
            As for calling the image processor.
        text : optional
            As for calling `SiglipTokenizer`.
        return_tensors : {"np", None}
            The results are arrays of NumPy either way.
        **options
            ``padding``, ``truncation`` and ``max_length`` of the tokenizer, and any of the image processor.

        Returns
        -------
        BatchFeature
            A dictionary of ``input_ids``, of what the image processor returns, or of both, as the models take
            them.

        Raises
        ------
        ImageError, TextError
            If an image or a text cannot be read.
        ConfigError
            If there is neither, or an option asks for what there is not.
        """
        if images is None and text is None:
            raise ConfigError("neither images nor text are given; pass one of them, or both")
        known = {*_TEXT_OPTIONS, *signature(self.image_processor.__call__).parameters}
        for name in options:
            if name not in known:
                names = ", ".join(sorted(known - {"images"}))
                raise ConfigError(f"there is no option {shown(name)}; there are: {names}")
        text_options = {name: options.pop(name) for name in _TEXT_OPTIONS if name in options}
        features = BatchFeature()
        if text is not None:
            features.update(self.tokenizer(text, return_tensors=return_tensors, **text_options))
        if text is None:
            self.tokenizer("", **text_options)  # refuses what it does not know
        if images is not None:
            features.update(self.image_processor(images, return_tensors=return_tensors, **options))
        return features


class Siglip2Processor(SiglipProcessor):
    """A `Siglip2ImageProcessor` together with a tokenizer.

    An image has at most as many patches as the image processor's own settings say, or as the call says.
    transformers' class passes on 256 patches of 16 pixels if the call says nothing.

    Parameters
    ----------
    image_processor : Siglip2ImageProcessor
    tokenizer : SiglipTokenizer

    Examples
    --------
    >>> from numpy_siglip import Siglip2Processor
    >>> processor = Siglip2Processor.from_pretrained(naflex_folder)
    >>> list(processor(images=photo, text=["a cat", "a dog"], max_num_patches=16))
    ['input_ids', 'pixel_values', 'pixel_attention_mask', 'spatial_shapes']
    """

    image_processor_class: ClassVar[Any] = Siglip2ImageProcessor
