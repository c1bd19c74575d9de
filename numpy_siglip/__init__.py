"""SigLIP on the CPU, in NumPy that can be read.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .auto.auto_classes import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        AutoModelForZeroShotImageClassification,
        AutoProcessor,
        AutoTokenizer,
    )
    from .auto.pipeline import pipeline
    from .config.configuration import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
    from .config.naflex_configuration import Siglip2Config, Siglip2TextConfig, Siglip2VisionConfig
    from .embedding.embedder import Embedder
    from .errors import CheckpointError, ConfigError, ImageError, SiglipError, TextError
    from .model.classification import SiglipForImageClassification
    from .model.naflex import Siglip2VisionModel
    from .model.naflex_classification import Siglip2ForImageClassification
    from .model.naflex_model import Siglip2Model, Siglip2TextModel
    from .model.siglip import SiglipModel
    from .model.text import SiglipTextModel
    from .model.vision import SiglipVisionModel
    from .outputs import BaseModelOutputWithPooling, SiglipOutput
    from .preprocessing.image_processing import SiglipImageProcessor
    from .preprocessing.image_search import find_images
    from .preprocessing.images import load_image
    from .preprocessing.naflex_processing import Siglip2ImageProcessor
    from .preprocessing.processor import Siglip2Processor, SiglipProcessor
    from .preprocessing.tokenizer import SiglipTokenizer
    from .tools.conversion import convert_model
    from .tools.inspection import inspect_model
    from .tools.published import PUBLISHED_CHECKPOINTS
    from .tools.quantize.quantization import quantize_model
    from .tools.validate.validation import validate_model
    from .tools.visualize.visualization import visualize

_HOMES = {
    "AutoConfig": "auto.auto_classes",
    "AutoImageProcessor": "auto.auto_classes",
    "AutoModel": "auto.auto_classes",
    "AutoModelForImageClassification": "auto.auto_classes",
    "AutoModelForZeroShotImageClassification": "auto.auto_classes",
    "AutoProcessor": "auto.auto_classes",
    "AutoTokenizer": "auto.auto_classes",
    "BaseModelOutputWithPooling": "outputs",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "Embedder": "embedding.embedder",
    "ImageError": "errors",
    "PUBLISHED_CHECKPOINTS": "tools.published",
    "Siglip2Config": "config.naflex_configuration",
    "Siglip2ForImageClassification": "model.naflex_classification",
    "Siglip2ImageProcessor": "preprocessing.naflex_processing",
    "Siglip2Model": "model.naflex_model",
    "Siglip2Processor": "preprocessing.processor",
    "Siglip2TextConfig": "config.naflex_configuration",
    "Siglip2TextModel": "model.naflex_model",
    "Siglip2VisionConfig": "config.naflex_configuration",
    "Siglip2VisionModel": "model.naflex",
    "SiglipConfig": "config.configuration",
    "SiglipError": "errors",
    "SiglipForImageClassification": "model.classification",
    "SiglipImageProcessor": "preprocessing.image_processing",
    "SiglipModel": "model.siglip",
    "SiglipOutput": "outputs",
    "SiglipProcessor": "preprocessing.processor",
    "SiglipTextConfig": "config.configuration",
    "SiglipTextModel": "model.text",
    "SiglipTokenizer": "preprocessing.tokenizer",
    "SiglipVisionConfig": "config.configuration",
    "SiglipVisionModel": "model.vision",
    "TextError": "errors",
    "convert_model": "tools.conversion",
    "find_images": "preprocessing.image_search",
    "inspect_model": "tools.inspection",
    "load_image": "preprocessing.images",
    "pipeline": "auto.pipeline",
    "quantize_model": "tools.quantize.quantization",
    "validate_model": "tools.validate.validation",
    "visualize": "tools.visualize.visualization",
}

__all__ = [
    "PUBLISHED_CHECKPOINTS",
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "AutoModelForZeroShotImageClassification",
    "AutoProcessor",
    "AutoTokenizer",
    "BaseModelOutputWithPooling",
    "CheckpointError",
    "ConfigError",
    "Embedder",
    "ImageError",
    "Siglip2Config",
    "Siglip2ForImageClassification",
    "Siglip2ImageProcessor",
    "Siglip2Model",
    "Siglip2Processor",
    "Siglip2TextConfig",
    "Siglip2TextModel",
    "Siglip2VisionConfig",
    "Siglip2VisionModel",
    "SiglipConfig",
    "SiglipError",
    "SiglipForImageClassification",
    "SiglipImageProcessor",
    "SiglipModel",
    "SiglipOutput",
    "SiglipProcessor",
    "SiglipTextConfig",
    "SiglipTextModel",
    "SiglipTokenizer",
    "SiglipVisionConfig",
    "SiglipVisionModel",
    "TextError",
    "convert_model",
    "find_images",
    "inspect_model",
    "load_image",
    "pipeline",
    "quantize_model",
    "validate_model",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
