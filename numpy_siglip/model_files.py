"""The files of one model, found and read in the order in which a mistake is best told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .checkpoint import Checkpoint
from .checkpoint_files import open_checkpoint
from .checks import shown
from .configuration import SiglipConfig, SiglipVisionConfig
from .errors import ConfigError
from .hub import locate_model
from .layouts.recognition import present
from .layouts.view import LayoutView


class ModelFiles(NamedTuple):
    """Where a model lies, its tensors and the shape of its vision tower."""

    location: Path
    checkpoint: Checkpoint | LayoutView
    """Under the names of transformers"""
    config: SiglipVisionConfig


def open_model(model: str | Path, revision: str | None = None, config: Any = None) -> ModelFiles:
    """Open a checkpoint and read its configuration; no weights are read.

    The checkpoint comes first: if the wrong thing was named, that is the error to tell, and not
    that the wrong thing has no ``config.json`` beside it.

    Parameters
    ----------
    model : str or Path
        A folder, a ``.safetensors`` file or index, or a hub id.
    revision : str, optional
        Branch, tag or commit on the hub.
    config : SiglipVisionConfig or SiglipConfig, optional
        Instead of the checkpoint's own ``config.json``.

    Raises
    ------
    CheckpointError
        If there is no checkpoint or it is damaged.
    ConfigError
        If the configuration is missing, unreadable, impossible or of another type.

    Examples
    --------
    >>> open_model(model_folder).config.hidden_size
    33
    """
    if isinstance(config, SiglipConfig):
        config = config.vision_config
    if config is not None and not isinstance(config, SiglipVisionConfig):
        raise ConfigError(
            f"config is {shown(config)}; it must be a SiglipVisionConfig, which "
            "SiglipVisionConfig.from_dict makes of a dictionary"
        )
    location = locate_model(model, revision)
    checkpoint = present(open_checkpoint(location))
    return ModelFiles(location, checkpoint, config or SiglipVisionConfig.from_pretrained(location))
