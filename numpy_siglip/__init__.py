"""SigLIP on the CPU, in NumPy that can be read.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .classification import SiglipForImageClassification
    from .configuration import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
    from .embedder import Embedder
    from .errors import CheckpointError, ConfigError, ImageError, SiglipError, TextError
    from .image_processing import SiglipImageProcessor
    from .images import load_image
    from .naflex import Siglip2VisionModel
    from .naflex_configuration import Siglip2Config, Siglip2TextConfig, Siglip2VisionConfig
    from .naflex_model import Siglip2Model, Siglip2Processor, Siglip2TextModel
    from .naflex_processing import Siglip2ImageProcessor
    from .outputs import BaseModelOutputWithPooling, SiglipOutput
    from .processor import SiglipProcessor
    from .published import PUBLISHED_CHECKPOINTS
    from .siglip import SiglipModel
    from .text import SiglipTextModel
    from .tokenizer import SiglipTokenizer
    from .vision import SiglipVisionModel

_HOMES = {
    "BaseModelOutputWithPooling": "outputs",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "Embedder": "embedder",
    "ImageError": "errors",
    "PUBLISHED_CHECKPOINTS": "published",
    "Siglip2Config": "naflex_configuration",
    "Siglip2ImageProcessor": "naflex_processing",
    "Siglip2Model": "naflex_model",
    "Siglip2Processor": "naflex_model",
    "Siglip2TextConfig": "naflex_configuration",
    "Siglip2TextModel": "naflex_model",
    "Siglip2VisionConfig": "naflex_configuration",
    "Siglip2VisionModel": "naflex",
    "SiglipConfig": "configuration",
    "SiglipError": "errors",
    "SiglipForImageClassification": "classification",
    "SiglipImageProcessor": "image_processing",
    "SiglipModel": "siglip",
    "SiglipOutput": "outputs",
    "SiglipProcessor": "processor",
    "SiglipTextConfig": "configuration",
    "SiglipTextModel": "text",
    "SiglipTokenizer": "tokenizer",
    "SiglipVisionConfig": "configuration",
    "SiglipVisionModel": "vision",
    "TextError": "errors",
    "load_image": "images",
}

__all__ = [
    "PUBLISHED_CHECKPOINTS",
    "BaseModelOutputWithPooling",
    "CheckpointError",
    "ConfigError",
    "Embedder",
    "ImageError",
    "Siglip2Config",
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
    "load_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
