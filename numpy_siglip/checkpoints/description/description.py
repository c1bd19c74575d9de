"""What a model's folder says of the model, in the words of transformers, whatever layout it is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...common.json_file import read_first_json
from ...errors import CheckpointError, ConfigError
from ..checkpoint import Checkpoint
from ..checkpoint_files import open_checkpoint
from ..layouts.recognition import layout_of, present
from ..layouts.view import LayoutView
from .inference import infer_config
from .larger_models import translate
from .preprocessing import infer_preprocessing
from .settings import CONFIG_FILE, Settings, read_settings

Values = Mapping[str, Any]
# Fields by which the files of timm and of open_clip are known.
_FOREIGN = ("architecture", "pretrained_cfg", "open_clip_model_name")
_MISSING = f"put the model's {CONFIG_FILE} beside its weights"


class Description(NamedTuple):
    """A checkpoint and what it takes to load it."""

    tensors: Checkpoint | LayoutView
    """Under the names of transformers"""
    layout: str
    config_file: Path
    """What the configuration was read from; the weights themselves if it was inferred"""
    config: Values | None
    """What transformers has in ``config.json``; None where that is missing and cannot be inferred"""
    preprocessing: Values | None
    """What transformers has in ``preprocessor_config.json``; None where that file has to say it"""
    inferred: tuple[str, ...]
    """What in these two stands in no file, one line each"""


def describe(location: Path, checkpoint: Checkpoint | None = None) -> Description:
    """Open a checkpoint and find out all that is needed to load it; weights are not read.

    Parameters
    ----------
    location : Path
        A folder, or a file in it.
    checkpoint : Checkpoint, optional
        The open one, if it is.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, it is damaged, or it is of no model that its layout has.
    ConfigError
        If a file beside it is damaged, or leaves open what weights cannot tell.

    Examples
    --------
    >>> description = describe(model_folder)
    >>> description.layout, description.config["vision_config"]["hidden_size"], description.inferred
    ('transformers', 33, ())
    """
    tensors = present(checkpoint or open_checkpoint(location))
    layout = layout_of(tensors)
    folder = location if location.is_dir() else location.parent
    path = folder / CONFIG_FILE
    values = _read(folder) if path.exists() else None
    if values is None or not _is_transformers(values):
        if layout == "transformers" and not _is_llava(values):
            return Description(tensors, layout, path, values, None, ())
        return _inferred(tensors, layout, folder)
    config = _translated(values, path)
    if layout == "transformers":
        return Description(tensors, layout, path, config, None, ())
    return _with_preprocessing(tensors, layout, path, config, read_settings(folder), [])


def read_config(location: Path) -> tuple[Path, Values]:
    """Values of a model's ``config.json``, and the file that they come from.

    Raises
    ------
    ConfigError
        If there is none and the weights do not tell, or it is damaged.
    CheckpointError
        See `describe`; only where ``config.json`` is not transformers'.

    Examples
    --------
    >>> read_config(model_folder)[0].name
    'config.json'
    """
    folder = location if location.is_dir() else location.parent
    path = folder / CONFIG_FILE
    values = _read(folder) if path.exists() else None
    if values is not None and _is_transformers(values):
        return path, _translated(values, path)
    try:
        checkpoint = open_checkpoint(location)
    except CheckpointError:  # without weights, a file of transformers is all that can be read
        if values is not None and _is_foreign(values):
            raise
    else:
        description = describe(location, checkpoint)
        if description.config is not None:
            return description.config_file, description.config
    return read_first_json(folder, [CONFIG_FILE], ConfigError, missing=_MISSING)


def read_preprocessing(location: Path) -> tuple[Path, dict[str, Any]] | None:
    """Values of a ``preprocessor_config.json`` that is not there; None where nothing tells them.

    Examples
    --------
    >>> read_preprocessing(model_folder) is None
    True
    """
    try:
        description = describe(location)
    except CheckpointError:  # which is told by whoever loads the weights
        return None
    if description.preprocessing is None:
        return None
    return description.config_file, dict(description.preprocessing)


def _inferred(tensors: Checkpoint | LayoutView, layout: str, folder: Path) -> Description:
    settings = read_settings(folder)
    heads = tensors.num_heads if isinstance(tensors, LayoutView) else {}
    file = _file(tensors)
    try:
        config, notes = infer_config(tensors, settings.towers, heads)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return _with_preprocessing(tensors, layout, file, config, settings, notes)


def _with_preprocessing(
    tensors: Checkpoint | LayoutView,
    layout: str,
    path: Path,
    config: Values,
    settings: Settings,
    notes: list[str],
) -> Description:
    names = f"{settings.names} {_file(tensors).name}"
    preprocessing, more = infer_preprocessing(config, settings.preprocessing, names)
    return Description(tensors, layout, path, config, preprocessing, (*notes, *more))


def _read(folder: Path) -> Values:
    return read_first_json(folder, [CONFIG_FILE], ConfigError, missing=_MISSING)[1]


def _is_transformers(values: Values) -> bool:
    """Whether a ``config.json`` is whole, and is not that of timm, open_clip, DeepSeek-VL2 or LLaVA."""
    return "model_type" in values and not _is_foreign(values)


def _is_foreign(values: Values) -> bool:
    vision = values.get("vision_config")
    if isinstance(vision, Mapping):
        return "model_name" in vision
    return _is_llava(values) or any(name in values for name in _FOREIGN)


def _is_llava(values: Values | None) -> bool:
    """Whether a ``config.json`` is that of LLaVA's authors, who name the tower and do not describe it."""
    return values is not None and "mm_vision_tower" in values and "vision_config" not in values


def _translated(values: Values, path: Path) -> Values:
    try:
        return translate(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _file(tensors: Checkpoint | LayoutView) -> Path:
    return next(iter(tensors.values())).file
