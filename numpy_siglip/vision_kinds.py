"""The two kinds of vision tower, of fixed resolution and NaFlex, and which of them a model has.

What works with either (`Embedder`, the command line) opens a model by `open_vision_model`, which looks at
its ``config.json``, and calls what it finds there: a model takes what its image processor returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .checks import check_mapping
from .config_section import ReadableConfig, is_naflex_type
from .image_processing import SiglipImageProcessor
from .kernels.backend import Backend
from .model_files import open_model
from .naflex import Siglip2VisionModel
from .naflex_configuration import Siglip2VisionConfig, VisionConfig
from .naflex_processing import Siglip2ImageProcessor
from .tower_weights import Tensors
from .vision import SiglipVisionModel
from .vision_configuration import SiglipVisionConfig

VisionModel = SiglipVisionModel | Siglip2VisionModel
ImageProcessor = SiglipImageProcessor | Siglip2ImageProcessor


class AnyVisionConfig(ReadableConfig):
    """Reads the configuration of a vision tower of either kind."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """A `SiglipVisionConfig`, or a `Siglip2VisionConfig` if that is what the values say they are.

        Raises
        ------
        ConfigError
            If a value is impossible, or they describe no SigLIP vision tower.

        Examples
        --------
        >>> type(AnyVisionConfig.from_dict({"model_type": "siglip2"})).__name__
        'Siglip2VisionConfig'
        >>> type(AnyVisionConfig.from_dict({"model_type": "siglip"})).__name__
        'SiglipVisionConfig'
        """
        values = check_mapping("the configuration", values)
        section = values.get("vision_config")
        inner = section.get("model_type") if isinstance(section, Mapping) else None
        naflex = is_naflex_type(values.get("model_type")) or is_naflex_type(inner)
        return (Siglip2VisionConfig if naflex else SiglipVisionConfig).from_dict(values)


class VisionFiles(NamedTuple):
    """Where a model with a vision tower lies, its tensors and the tower's shape."""

    location: Path
    checkpoint: Tensors
    config: VisionConfig

    @property
    def is_naflex(self) -> bool:
        """Whether the tower takes images of any aspect ratio."""
        return isinstance(self.config, Siglip2VisionConfig)

    def load_model(self, ops: Backend) -> VisionModel:
        """Read the weights of the tower."""
        if isinstance(self.config, Siglip2VisionConfig):
            return Siglip2VisionModel.from_checkpoint(self.checkpoint, self.config, ops)
        return SiglipVisionModel.from_checkpoint(self.checkpoint, self.config, ops)

    def read_processor(self) -> tuple[Path, ImageProcessor]:
        """The image processor of the model, and the file that describes it."""
        return (Siglip2ImageProcessor if self.is_naflex else SiglipImageProcessor).read(self.location)


def open_vision_model(model: str | Path, revision: str | None = None) -> VisionFiles:
    """Open a checkpoint and read the configuration of its vision tower, of whatever kind it is.

    Parameters
    ----------
    model : str or Path
        A folder, a ``.safetensors`` file or index, or a hub id.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    ConfigError, CheckpointError
        As `open_model`.

    Examples
    --------
    >>> open_vision_model(model_folder).is_naflex, open_vision_model(naflex_folder).is_naflex
    (False, True)
    """
    return VisionFiles(*open_model(model, revision, kind=AnyVisionConfig))
