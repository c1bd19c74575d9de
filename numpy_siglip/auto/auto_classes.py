"""The classes that transformers' programs start from: each chooses by a model's files what to build.

config.json says model_type        -> AutoModel, AutoConfig
preprocessor_config.json, or what is inferred -> AutoImageProcessor, AutoProcessor
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import PREPROCESSOR_FILE, PROCESSOR_FILE
from ..checkpoints.loading_keywords import DOWNLOAD_KEYWORDS, download_options
from ..common.checks import shown
from ..config.configuration import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
from ..config.naflex_configuration import Siglip2Config, Siglip2TextConfig, Siglip2VisionConfig
from ..errors import ConfigError
from ..model.classification import SiglipForImageClassification
from ..model.naflex import Siglip2VisionModel
from ..model.naflex_model import Siglip2Model, Siglip2TextModel
from ..model.siglip import SiglipModel
from ..model.text import SiglipTextModel
from ..model.vision import SiglipVisionModel
from ..preprocessing.image_processing import SiglipImageProcessor
from ..preprocessing.image_settings import is_for_naflex
from ..preprocessing.naflex_processing import Siglip2ImageProcessor
from ..preprocessing.processor import Siglip2Processor, SiglipProcessor
from ..preprocessing.tokenizer import SiglipTokenizer
from ..preprocessing.tokenizer_files import has_tokenizer

ImageProcessor = SiglipImageProcessor | Siglip2ImageProcessor


def open_with(
    model: str | Path | ModelFiles, revision: str | None, options: dict[str, Any]
) -> tuple[ModelFiles, dict[str, Any]]:
    """Open a model by what of some options is for finding it, and return the rest of them.

    Examples
    --------
    >>> files, rest = open_with(model_folder, None, {"local_files_only": True, "do_resize": False})
    >>> files.layout, rest
    ('transformers', {'do_resize': False})
    """
    download = download_options(options)
    rest = {name: value for name, value in options.items() if name not in DOWNLOAD_KEYWORDS}
    return open_model(model, revision, **download), rest


class _Auto:
    """Base of classes of which there are no objects."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ConfigError(f"{type(self).__name__} is made by {type(self).__name__}.from_pretrained")


class _ByModelType(_Auto):
    """Base of those that go by the ``model_type`` of ``config.json``."""

    classes: ClassVar[dict[str, Any]]
    """What is built of each type"""
    advice: ClassVar[str] = "SiglipVisionModel loads the vision tower of a larger model"

    @classmethod
    def class_of(cls, files: ModelFiles) -> Any:
        """The class for an open model.

        Raises
        ------
        ConfigError
            If there is none, or no configuration to tell.
        CheckpointError
            If the weights have to tell, and are damaged.
        """
        said = files.config
        model_type = said.values.get("model_type")
        if not isinstance(model_type, str) or model_type not in cls.classes:
            raise ConfigError(
                f"{said.file}: model_type is {shown(model_type)}; {cls.__name__} has "
                f"{', '.join(cls.classes)}: {cls.advice}"
            )
        return cls.classes[model_type]

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, revision: str | None = None, **options: Any
    ) -> Any:
        """Load a model with the class that its files ask for.

        Parameters
        ----------
        model : str, Path or ModelFiles
            As for `SiglipModel.from_pretrained`.
        revision : str, optional
            Branch, tag or commit on the hub.
        **options
            As for the ``from_pretrained`` of that class.

        Raises
        ------
        ConfigError, CheckpointError
            As that of the class; and if there is no class for such a model.

        Examples
        --------
        >>> from numpy_siglip import AutoModel
        >>> model = AutoModel.from_pretrained(naflex_folder, device_map="auto", attn_implementation="sdpa")
        >>> type(model).__name__
        'Siglip2Model'
        """
        files, rest = open_with(model, revision, options)
        return cls.class_of(files).from_pretrained(files, **rest)


class AutoConfig(_ByModelType):
    """Reads the configuration of a model of any kind.

    Examples
    --------
    >>> from numpy_siglip import AutoConfig
    >>> type(AutoConfig.from_pretrained(model_folder)).__name__
    'SiglipConfig'
    """

    classes: ClassVar[dict[str, Any]] = {
        "siglip": SiglipConfig,
        "siglip_vision_model": SiglipVisionConfig,
        "siglip_text_model": SiglipTextConfig,
        "siglip2": Siglip2Config,
        "siglip2_vision_model": Siglip2VisionConfig,
        "siglip2_text_model": Siglip2TextConfig,
    }
    advice: ClassVar[str] = "SiglipVisionConfig reads that of the vision tower of a larger model"


class AutoModel(_ByModelType):
    """Loads a model of any kind: both towers, or the one that a checkpoint holds.

    Examples
    --------
    >>> from numpy_siglip import AutoModel
    >>> type(AutoModel.from_pretrained(model_folder)).__name__
    'SiglipModel'
    """

    classes: ClassVar[dict[str, Any]] = {
        "siglip": SiglipModel,
        "siglip_vision_model": SiglipVisionModel,
        "siglip_text_model": SiglipTextModel,
        "siglip2": Siglip2Model,
        "siglip2_vision_model": Siglip2VisionModel,
        "siglip2_text_model": Siglip2TextModel,
    }


class AutoModelForZeroShotImageClassification(_ByModelType):
    """Loads a model of both towers.

    Examples
    --------
    >>> from numpy_siglip import AutoModelForZeroShotImageClassification
    >>> type(AutoModelForZeroShotImageClassification.from_pretrained(model_folder)).__name__
    'SiglipModel'
    """

    classes: ClassVar[dict[str, Any]] = {"siglip": SiglipModel, "siglip2": Siglip2Model}
    advice: ClassVar[str] = "images are compared with texts by a model of both towers"


class AutoModelForImageClassification(_ByModelType):
    """Loads a classifier that was trained further on labels of its own.

    Examples
    --------
    >>> from numpy_siglip import AutoModelForImageClassification
    >>> type(AutoModelForImageClassification.from_pretrained(classifier_folder)).__name__
    'SiglipForImageClassification'
    """

    classes: ClassVar[dict[str, Any]] = {"siglip": SiglipForImageClassification}
    advice: ClassVar[str] = "a classifier is such a model that was trained further"


class AutoImageProcessor(_Auto):
    """Reads the image processor of a model, of fixed resolution or NaFlex.

    Examples
    --------
    >>> from numpy_siglip import AutoImageProcessor
    >>> type(AutoImageProcessor.from_pretrained(naflex_folder)).__name__
    'Siglip2ImageProcessor'
    """

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, revision: str | None = None, **options: Any
    ) -> ImageProcessor:
        """Read it; parameters and errors are those of `SiglipImageProcessor.from_pretrained`."""
        files, rest = open_with(model, revision, options)
        naflex = is_for_naflex(files.preprocessing.values)
        kind = Siglip2ImageProcessor if naflex else SiglipImageProcessor
        return kind.from_pretrained(files, **rest)


class AutoTokenizer(_Auto):
    """Reads the tokenizer of a model, of SigLIP or of SigLIP 2.

    Examples
    --------
    >>> from numpy_siglip import AutoTokenizer
    >>> AutoTokenizer.from_pretrained(model_folder)("a cat", padding="max_length").input_ids.shape
    (1, 16)
    """

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, revision: str | None = None, **options: Any
    ) -> SiglipTokenizer:
        """Read it; parameters and errors are those of `SiglipTokenizer.from_pretrained`."""
        return SiglipTokenizer.from_pretrained(model, revision=revision, **options)


class AutoProcessor(_Auto):
    """Reads all preprocessing of a model: of images and texts, or of one of them if that is all there is.

    Examples
    --------
    >>> from numpy_siglip import AutoProcessor
    >>> type(AutoProcessor.from_pretrained(model_folder)).__name__
    'SiglipProcessor'
    >>> type(AutoProcessor.from_pretrained(classifier_folder)).__name__
    'SiglipImageProcessor'
    """

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, revision: str | None = None, **options: Any
    ) -> SiglipProcessor | ImageProcessor | SiglipTokenizer:
        """Read it; parameters and errors are those of `SiglipProcessor.from_pretrained`."""
        files, rest = open_with(model, revision, options)
        with_texts = has_tokenizer(files)
        try:
            values = files.preprocessing.values
        except ConfigError:
            for name in (PROCESSOR_FILE, PREPROCESSOR_FILE):
                files.json_file(name)  # a damaged one is told, and only a missing one passed over
            if not with_texts:
                raise
            return SiglipTokenizer.from_pretrained(files, **rest)
        if not with_texts:
            return AutoImageProcessor.from_pretrained(files, **rest)
        return (Siglip2Processor if is_for_naflex(values) else SiglipProcessor).from_pretrained(files, **rest)
