"""Images and texts, prepared together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import ConfigError
from .hub import locate_model
from .image_processing import SiglipImageProcessor
from .outputs import BatchFeature
from .tokenizer import SiglipTokenizer


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

    def __init__(self, image_processor: SiglipImageProcessor, tokenizer: SiglipTokenizer) -> None:
        self.image_processor = image_processor
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, revision: str | None = None, context_length: int | None = None
    ) -> SiglipProcessor:
        """Read the preprocessing of a checkpoint.

        Parameters
        ----------
        model : str or Path
            A folder, a file in it, or a hub id.
        revision : str, optional
            Branch, tag or commit on the hub.
        context_length : int, optional
            As for `SiglipTokenizer.from_pretrained`.

        Raises
        ------
        ConfigError, CheckpointError, SiglipError
            As `SiglipImageProcessor.from_pretrained` and `SiglipTokenizer.from_pretrained`.
        """
        location = locate_model(model, revision)
        tokenizer = SiglipTokenizer.from_pretrained(location, context_length=context_length)
        return cls(SiglipImageProcessor.read(location)[1], tokenizer)

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *,
        return_tensors: str | None = None,
        apply_exif_orientation: bool = False,
        **text_options: Any,
    ) -> BatchFeature:
        """Preprocess images, texts or both.

        Parameters
        ----------
        images : optional
            As for calling `SiglipImageProcessor`.
        text : optional
            As for calling `SiglipTokenizer`.
        return_tensors : {"np", None}
            The results are arrays of NumPy either way.
        apply_exif_orientation : bool
            See `SiglipImageProcessor`.
        **text_options
            ``padding``, ``truncation`` and ``max_length``; see `SiglipTokenizer`.

        Returns
        -------
        BatchFeature
            A dictionary of ``input_ids``, ``pixel_values`` or both, as the models take them.

        Raises
        ------
        ImageError, TextError
            If an image or a text cannot be read.
        ConfigError
            If there is neither, or an option asks for what there is not.
        """
        if images is None and text is None:
            raise ConfigError("neither images nor text are given; pass one of them, or both")
        features = BatchFeature()
        if text is not None:
            features.update(self.tokenizer(text, return_tensors=return_tensors, **text_options))
        if images is not None:
            features.update(
                self.image_processor(
                    images, return_tensors=return_tensors, apply_exif_orientation=apply_exif_orientation
                )
            )
        return features
