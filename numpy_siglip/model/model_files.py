"""The files of one model, found and read in the order in which a mistake is best told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.checkpoint_files import open_checkpoint
from ..checkpoints.hub import locate_model
from ..checkpoints.layouts.recognition import present
from ..checkpoints.layouts.view import LayoutView
from ..common.checks import shown
from ..config.config_section import ReadableConfig
from ..config.configuration import SiglipConfig, SiglipVisionConfig
from ..errors import ConfigError


class ModelFiles(NamedTuple):
    """Where a model lies, its tensors and its shape."""

    location: Path
    checkpoint: Checkpoint | LayoutView
    """Under the names of transformers"""
    config: Any
    """Of the kind that was asked for"""


def open_model(
    model: str | Path,
    revision: str | None = None,
    config: Any = None,
    kind: type[ReadableConfig] = SiglipVisionConfig,
) -> ModelFiles:
    """Open a checkpoint and read its configuration; no weights are read.

    The checkpoint comes first: if the wrong thing was named, that is the error to tell, and not
    that the wrong thing has no ``config.json`` beside it.

    Parameters
    ----------
    model : str or Path
        A folder, a ``.safetensors`` file or index, or a hub id.
    revision : str, optional
        Branch, tag or commit on the hub.
    config : configuration of that kind or of a whole model, optional
        Instead of the checkpoint's own ``config.json``.
    kind : type
        Of the configuration to read: that of a tower, or of a whole model.

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
    section = getattr(kind, "section", None)
    if section and isinstance(config, SiglipConfig):
        config = getattr(config, section)
    if config is not None and not isinstance(config, kind):
        raise ConfigError(
            f"config is {shown(config)}; it must be a {kind.__name__}, which "
            f"{kind.__name__}.from_dict makes of a dictionary"
        )
    location = locate_model(model, revision)
    checkpoint = present(open_checkpoint(location))
    return ModelFiles(location, checkpoint, config or kind.from_pretrained(location))
