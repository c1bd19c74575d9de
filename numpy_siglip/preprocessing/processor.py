"""Images and texts, prepared together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import PREPROCESSOR_FILE, PROCESSOR_FILE
from ..checkpoints.loading_keywords import PREPROCESSING_KEYWORDS, download_options
from ..checkpoints.saving import json_writer, save_files
from ..common.checks import check_mapping, check_return_tensors
from ..common.keywords import check_keywords, parameters_of
from ..errors import ConfigError
from ..outputs import BatchFeature
from .call_keywords import IMAGE_KEYWORDS, PROCESSOR_KEYWORDS, TEXT_KEYWORDS
from .image_processing import SiglipImageProcessor
from .naflex_processing import Siglip2ImageProcessor
from .tokenizer import SiglipTokenizer

Processor = TypeVar("Processor", bound="SiglipProcessor")

_GROUPS = ("text_kwargs", "images_kwargs", "common_kwargs")


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
        **options: Any,
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
        **options
            As for `SiglipImageProcessor.from_pretrained` and `SiglipTokenizer.from_pretrained`.

        Raises
        ------
        ConfigError, CheckpointError, SiglipError
            As `SiglipImageProcessor.from_pretrained` and `SiglipTokenizer.from_pretrained`.
        """
        images = cls.image_processor_class
        settings = {name: options.pop(name) for name in images.settings() if name in options}
        longest = options.pop("model_max_length", None)
        also = [*images.settings(), "model_max_length"]
        check_keywords(cls.from_pretrained, options, PREPROCESSING_KEYWORDS, also)
        files = open_model(model, revision, **download_options(options))
        image_processor = images.read(files)[1].changed(settings)
        length = longest if context_length is None else context_length
        return cls(image_processor, SiglipTokenizer.from_pretrained(files, context_length=length))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.image_processor!r}, {self.tokenizer!r}>"

    @property
    def model_input_names(self) -> list[str]:
        """What a call with images and texts returns."""
        return [*self.tokenizer.model_input_names, *self.image_processor.model_input_names]

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **others: Any) -> Any:
        """The text of some tokens; see `SiglipTokenizer.decode`."""
        return self.tokenizer.decode(token_ids, skip_special_tokens, **others)

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **others: Any) -> list[str]:
        """The texts of several sequences of tokens; see `SiglipTokenizer.decode`."""
        return self.tokenizer.batch_decode(sequences, skip_special_tokens, **others)

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> tuple[Path, ...]:
        """Write image processor and tokenizer to a folder that transformers opens.

        Parameters
        ----------
        save_directory : str or Path
            Made if it is missing; files of the same names are replaced, all or none.
        **others
            What transformers' programs pass and has one right value here, such as ``push_to_hub=False``.

        Returns
        -------
        tuple of Path
            ``processor_config.json``, which transformers 5 reads, ``preprocessor_config.json``, which earlier
            releases read, and the files of the tokenizer.

        Raises
        ------
        ConfigError
            If the tokenizer was not read from files, or an option asks for what there is not.
        OSError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_siglip import SiglipProcessor
        >>> folder = Path(tempfile.mkdtemp()) / "saved"
        >>> files = SiglipProcessor.from_pretrained(model_folder).save_pretrained(folder)
        >>> sorted(file.name for file in files)[:2]
        ['preprocessor_config.json', 'processor_config.json']
        """
        kind = {"processor_class": type(self).__name__}
        images = self.image_processor.to_dict()
        writers = {
            PROCESSOR_FILE: json_writer({**kind, "image_processor": images}),
            PREPROCESSOR_FILE: json_writer({**kind, **images}),
            **self.tokenizer.writers(**kind),
        }
        return save_files(self.save_pretrained, save_directory, writers, others)

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
            Those of the tokenizer, such as ``max_length``, and those of the image processor. They may also
            stand in ``text_kwargs``, ``images_kwargs`` and ``common_kwargs``, as in transformers.

        Returns
        -------
        BatchFeature
            A dictionary of what the tokenizer returns, of what the image processor returns, or of both, as
            the models take them.

        Raises
        ------
        ImageError, TextError
            If an image or a text cannot be read.
        ConfigError
            If there is neither, or an option asks for what there is not.
        """
        if images is None and text is None:
            raise ConfigError("neither images nor text are given; pass one of them, or both")
        for_texts, for_images = self._divided(options)
        features = BatchFeature()
        # What is not given is not forgotten: either refuses what it does not know.
        tokens = self.tokenizer("" if text is None else text, return_tensors=return_tensors, **for_texts)
        if text is not None:
            features.update(tokens)
        if images is not None:
            features.update(self.image_processor(images, return_tensors=return_tensors, **for_images))
        else:
            self.image_processor.for_call(for_images)
        return features

    def _divided(self, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options of the tokenizer, and those of the image processor."""
        groups = {group: dict(check_mapping(group, options.pop(group, None) or {})) for group in _GROUPS}
        for group in groups.values():
            check_return_tensors(group.pop("return_tensors", None))
        options = {**options, **groups["common_kwargs"]}
        texts = {*parameters_of(self.tokenizer.__call__), *TEXT_KEYWORDS} - {"text", "return_tensors"}
        own = {*parameters_of(self.image_processor.__call__), *IMAGE_KEYWORDS} - {"images", "return_tensors"}
        images = own | set(self.image_processor.settings())
        others = {name: value for name, value in options.items() if name not in texts | images}
        check_keywords(self.__call__, others, PROCESSOR_KEYWORDS, also=texts | images | set(_GROUPS))
        for_texts = {name: value for name, value in options.items() if name in texts}
        for_images = {name: value for name, value in options.items() if name in images}
        return {**for_texts, **groups["text_kwargs"]}, {**for_images, **groups["images_kwargs"]}


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
