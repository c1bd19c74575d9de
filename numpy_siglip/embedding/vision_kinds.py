"""The two kinds of vision tower, of fixed resolution and NaFlex, and which of them a model has.

What works with either (`Embedder`, the tools) looks at the configuration of the model, and calls what belongs
to it: a tower takes what the image processor of its kind returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..config.kinds import AnyVisionConfig
from ..config.naflex_configuration import Siglip2VisionConfig, VisionConfig
from ..errors import CheckpointError, ConfigError
from ..kernels.backend import Backend
from ..model.naflex import Siglip2VisionModel
from ..model.pretrained import read_configuration
from ..model.vision import SiglipVisionModel
from ..preprocessing.image_processing import SiglipImageProcessor
from ..preprocessing.naflex_processing import Siglip2ImageProcessor
from ..weights.tower_weights import Tensors

VisionModel = SiglipVisionModel | Siglip2VisionModel
ImageProcessor = SiglipImageProcessor | Siglip2ImageProcessor


class VisionFiles(NamedTuple):
    """An open model, and the configuration of its vision tower."""

    files: ModelFiles
    config: VisionConfig

    @property
    def tensors(self) -> Tensors:
        """The tensors of the model under the names of transformers."""
        return self.files.tensors

    @property
    def is_naflex(self) -> bool:
        """Whether the tower takes images of any aspect ratio."""
        return isinstance(self.config, Siglip2VisionConfig)

    def load_model(self, ops: Backend) -> VisionModel:
        """Read the weights of the tower."""
        if isinstance(self.config, Siglip2VisionConfig):
            return Siglip2VisionModel.from_checkpoint(self.tensors, self.config, ops)
        return SiglipVisionModel.from_checkpoint(self.tensors, self.config, ops)

    def read_processor(self) -> tuple[Path, ImageProcessor]:
        """The image processor of the model, and the file that describes it."""
        return (Siglip2ImageProcessor if self.is_naflex else SiglipImageProcessor).read(self.files)


def open_vision_model(model: str | Path | ModelFiles, revision: str | None = None) -> VisionFiles:
    """Open a checkpoint and read the configuration of its vision tower, of whatever kind it is.

    Parameters
    ----------
    model : str, Path or ModelFiles
        As for `SiglipVisionModel.from_pretrained`.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    ConfigError, CheckpointError
        As `open_model` and `read_configuration`.

    Examples
    --------
    >>> open_vision_model(model_folder).is_naflex, open_vision_model(naflex_folder).is_naflex
    (False, True)
    """
    files = open_model(model, revision)
    return VisionFiles(files, read_configuration(AnyVisionConfig, files))


def require_fit(config: VisionConfig, processor: ImageProcessor, *, with_head: bool = True) -> None:
    """Refuse a tower that gives no embedding, or that takes other images than the processor makes.

    Raises
    ------
    CheckpointError
        If the tower has no pooling head.
    ConfigError
        If the processor makes something else than the tower takes.
    """
    naflex = isinstance(config, Siglip2VisionConfig)
    tower = "Siglip2VisionModel" if naflex else "SiglipVisionModel"
    if with_head and not config.vision_use_head:
        raise CheckpointError(
            "this tower has no pooling head (vision_use_head is false), so it gives tokens and no "
            f'embedding; use {tower} and its last_hidden_state, or pooling="mean" (--pooling mean)'
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
