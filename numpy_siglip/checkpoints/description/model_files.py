"""A model that was opened: where it lies, its tensors, and what its files say of it, each read once.

Everything that needs a model takes what `open_model` returns: configurations, image processors, tokenizers,
towers, and the tools. What one of them made it read is there for the next.

    name -> location -> tensors -> layout
                     -> config.json -> configuration         or inferred from tensors and settings
                     -> preprocessor_config.json -> preprocessing      or that of the model's family
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ...common.json_file import read_json_if_there
from ...common.reading import unexpected_as
from ...errors import CheckpointError, ConfigError
from ..checkpoint import LOGIT_BIAS, LOGIT_SCALE, Checkpoint
from ..checkpoint_files import open_checkpoint
from ..file_names import CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE
from ..hub import locate_model
from ..int8_folder import without_int8_mark
from ..layouts.recognition import LAYOUTS, TRANSFORMERS, as_transformers, layout_of
from ..layouts.view import LayoutView
from .family_preprocessing import infer_preprocessing
from .inference import infer_config
from .larger_models import translate
from .settings import Settings, read_settings

_ANOTHER = "fetch the file again, or name that of a SigLIP"

Values = Mapping[str, Any]
# Fields by which the files of timm and of open_clip are known.
_FOREIGN = ("architecture", "pretrained_cfg", "open_clip_model_name")


class ConfigValues(NamedTuple):
    """What a file says, or what was inferred where no file says it."""

    file: Path
    """From which the values come; the weights or ``config.json`` if they were inferred"""
    values: Values
    """In the words of transformers"""
    inferred: tuple[str, ...] = ()
    """What in them stands in no file, one line each"""
    contradictions: tuple[str, ...] = ()
    """What in them is not as the model's family was published, one line each"""


class _NoConfigurationError(ConfigError):
    """There is no ``config.json``, and nothing to infer it from."""


class ModelFiles:
    """The files of one model. Each property reads what it needs when it is first asked for, and keeps it.

    Parameters
    ----------
    location : Path
        A folder, or a file in it.
    name : str
        What the user called the model, which may tell its family.

    Examples
    --------
    >>> files = ModelFiles(model_folder)
    >>> files.layout, files.config.values["vision_config"]["hidden_size"], files.inferred
    ('transformers', 33, ())
    >>> files.tensors is files.tensors
    True
    """

    def __init__(self, location: Path, name: str = "") -> None:
        self.location = location.absolute()  # what is read later is there wherever the program has gone
        self.name = name
        self._json: dict[str, dict[str, Any] | None] = {}

    def __str__(self) -> str:
        return str(self.location)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r})"

    @cached_property
    def folder(self) -> Path:
        """In which all files of the model lie."""
        return self.location if self.location.is_dir() else self.location.parent

    def json_file(self, name: str) -> dict[str, Any] | None:
        """The object in one of the JSON files of the folder; None if there is no such file.

        Raises
        ------
        ConfigError
            If it cannot be read, is not JSON, or holds something else than an object.
        """
        if name not in self._json:
            values = read_json_if_there(self.folder / name, ConfigError)
            if values is not None and name == CONFIG_FILE:
                values = without_int8_mark(values)
            self._json[name] = values
        return self._json[name]

    @cached_property
    def tensors(self) -> Checkpoint | LayoutView:
        """The tensors under the names of transformers; their headers are read, and no numbers.

        Raises
        ------
        CheckpointError
            If there is no checkpoint, it is damaged, or it is of no model that its layout has.
        """
        with unexpected_as(CheckpointError, self.location, _ANOTHER):
            return as_transformers(open_checkpoint(self.location))

    @property
    def layout(self) -> str:
        """What the layout of the tensors is called: transformers, timm, open_clip or big_vision."""
        return layout_of(self.tensors)

    @cached_property
    def config(self) -> ConfigValues:
        """What transformers has in ``config.json``.

        A ``config.json`` that is transformers' own is taken as it is, whatever lies beside it. Otherwise the
        weights tell what they can, together with the settings that other libraries put beside them.

        Raises
        ------
        ConfigError
            If there is no such file and the weights do not tell, or it is damaged.
        CheckpointError
            If the weights have to tell, and are damaged.
        """
        file = self.folder / CONFIG_FILE
        values = self.json_file(CONFIG_FILE)
        if values is not None and is_of_transformers(values):
            try:
                with unexpected_as(ConfigError, "the configuration", _ANOTHER):
                    return ConfigValues(file, translate(values))
            except ConfigError as error:
                raise ConfigError(f"{file}: {error}") from error.__cause__
        try:
            layout = self.layout
        except CheckpointError:  # without weights, a file of transformers is all that can be read
            if values is not None and _is_foreign(values):
                raise
            layout = ""
        if layout not in ("", TRANSFORMERS) or (layout and _is_llava(values)):
            return self._inferred_config()
        if values is None:
            advice = f"put the model's {CONFIG_FILE} beside its weights"
            if layout:
                others = ", ".join(LAYOUTS[1:])
                advice = f"nor have the tensors the names of {others}, which would tell; {advice}"
            raise _NoConfigurationError(f"{self.folder}: no {CONFIG_FILE}; {advice}")
        return ConfigValues(file, values)

    @cached_property
    def preprocessing(self) -> ConfigValues:
        """What transformers has for an image processor, in a file of its own or of a whole processor.

        Where no file says it, it is that of the model's family.

        Raises
        ------
        ConfigError
            If such a file is damaged; or if there is none, and no configuration to tell the family.
        """
        # Where both hold one, transformers 5 goes by the newer kind of file.
        for name in (PROCESSOR_FILE, PREPROCESSOR_FILE):
            values = self.json_file(name)
            if values is not None and name == PROCESSOR_FILE:
                values = values.get("image_processor")  # missing where there is a tokenizer alone
                if values is not None and (not isinstance(values, dict) or not values):
                    raise ConfigError(
                        f"{self.folder / name}: holds no image_processor; add {PREPROCESSOR_FILE}"
                    )
            if values is None:
                continue
            return ConfigValues(self.folder / name, values)
        try:
            config = self.config
            # Of a layout other than transformers', the file is often the only one with a name of its own.
            weights_file = "" if isinstance(self.tensors, Checkpoint) else file_of(self.tensors).name
        except (CheckpointError, _NoConfigurationError):
            raise self._no_preprocessing() from None
        if not _has_vision_tower(config.values):
            raise self._no_preprocessing()
        names = " ".join((self.name, self.location.name, weights_file, self._settings.names))
        settings = self._settings
        if settings.problem:
            raise ConfigError(settings.problem)
        with unexpected_as(ConfigError, config.file, _ANOTHER):
            return self._inferred_preprocessing(config, settings, names)

    def _inferred_preprocessing(self, config: ConfigValues, settings: Settings, names: str) -> ConfigValues:
        values, notes, contradictions = infer_preprocessing(config.values, settings.preprocessing, names)
        return ConfigValues(config.file, values, tuple(notes), (*contradictions, *settings.contradictions))

    @property
    def inferred(self) -> tuple[str, ...]:
        """What in configuration and preprocessing stands in no file, one line each."""
        return (*self.config.inferred, *self.inferred_of_tensors, *self.preprocessing.inferred)

    @property
    def inferred_of_tensors(self) -> tuple[str, ...]:
        """What none of the tensors says, one line each."""
        last_parts = {name.rpartition(".")[2] for name in self.tensors}
        if LOGIT_SCALE not in last_parts or LOGIT_BIAS in last_parts:
            return ()
        return (f"{LOGIT_BIAS} 0, as in a model that was trained with the loss of CLIP",)

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What the files of other libraries say and is not as the family was published, one line each."""
        return (*self.config.contradictions, *self.preprocessing.contradictions)

    @cached_property
    def _settings(self) -> Settings:
        with unexpected_as(ConfigError, self.folder / CONFIG_FILE, _ANOTHER):
            return read_settings(self.folder, self.json_file)

    def _inferred_config(self) -> ConfigValues:
        heads = self.tensors.num_heads if isinstance(self.tensors, LayoutView) else {}
        file, towers = file_of(self.tensors), self._settings.towers
        try:
            with unexpected_as(ConfigError, "the shapes of its tensors", _ANOTHER):
                values, notes, contradictions = infer_config(self.tensors, towers, heads)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
        return ConfigValues(file, values, tuple(notes), tuple(contradictions))

    def _no_preprocessing(self) -> ConfigError:
        problem = f"{self.folder}: no {PREPROCESSOR_FILE}"
        if self.json_file(PROCESSOR_FILE) is not None:
            problem = f"{self.folder / PROCESSOR_FILE}: holds no image_processor"
        return ConfigError(
            f"{problem}, and there is no vision tower of SigLIP beside it to infer it from; put the model's "
            f"{PREPROCESSOR_FILE} beside its weights, or construct an image processor"
        )


def open_model(model: str | Path | ModelFiles, revision: str | None = None, **download: Any) -> ModelFiles:
    """Open what a user calls a model. Nothing is read yet; an open model is returned as it is.

    Parameters
    ----------
    model : str, Path or ModelFiles
        A folder, a file in it, the name of the bundled model, or a hub id.
    revision : str, optional
        Branch, tag or commit on the hub.
    **download
        How it is found; see `DOWNLOAD_KEYWORDS`.

    Raises
    ------
    CheckpointError
        If nothing is there (see `locate_model`), or a revision or subfolder is asked of an open model.

    Examples
    --------
    >>> files = open_model(model_folder)
    >>> files.config.file.name, open_model(files) is files
    ('config.json', True)
    """
    if isinstance(model, ModelFiles):
        for given in (revision, download.get("subfolder")):
            if given is not None:
                raise CheckpointError(f"{model}: is open already; leave {given!r} out")
        return model
    return ModelFiles(locate_model(model, revision, **download), str(model))


def file_of(tensors: Checkpoint | LayoutView) -> Path:
    """The first file of some tensors."""
    return next(iter(tensors.values())).file


def _has_vision_tower(values: Values) -> bool:
    """Whether a configuration is that of a vision tower of SigLIP, or of a model that may hold one."""
    model_type = str(values.get("model_type", "siglip"))
    is_vision = model_type.startswith("siglip") and not model_type.endswith("_text_model")
    return "vision_config" in values or is_vision


def is_of_transformers(values: Values) -> bool:
    """Whether a ``config.json`` is whole, and transformers' own."""
    return "model_type" in values and not _is_foreign(values)


def _is_foreign(values: Values) -> bool:
    """Whether a ``config.json`` is that of timm, open_clip, LLaVA or, which names its tower, DeepSeek-VL2."""
    vision = values.get("vision_config")
    if isinstance(vision, Mapping):
        return "model_name" in vision
    return _is_llava(values) or any(name in values for name in _FOREIGN)


def _is_llava(values: Values | None) -> bool:
    """Whether a ``config.json`` is that of LLaVA's authors, who name the tower and do not describe it."""
    return values is not None and "mm_vision_tower" in values and "vision_config" not in values
