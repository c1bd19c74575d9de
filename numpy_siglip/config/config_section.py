"""What the configurations of all towers have in common: how they are read, and the fields of an encoder.

Published ``config.json`` files are sparse: they hold only what differs from transformers'
defaults. The defaults of the configurations are therefore part of the file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..common.checks import check_integer, check_mapping, is_finite, shown
from ..common.keywords import check_keywords
from ..common.reading import unexpected_as
from ..errors import ConfigError
from ..kernels.rows.activations import ACTIVATIONS

if TYPE_CHECKING:
    from ..checkpoints.description.model_files import ModelFiles

FULL_MODEL_TYPE = "siglip"
NAFLEX_MODEL_TYPE = "siglip2"

# Far beyond any published tower. What is larger is a damaged file, and even the names of its tensors
# might not fit in memory.
_LARGEST = {
    "hidden_size": 2**20,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**20,
}

Section = TypeVar("Section", bound="ConfigSection")
Readable = TypeVar("Readable", bound="ReadableConfig")


class ReadableConfig:
    """A configuration that is read from ``config.json``."""

    @classmethod
    def from_dict(cls: type[Readable], values: Mapping[str, Any]) -> Readable:
        """Read a configuration from the values of a ``config.json``."""
        raise NotImplementedError  # every kind of configuration reads its own

    @classmethod
    def classes(cls) -> tuple[type[ReadableConfig], ...]:
        """Of which classes the configurations are that this one reads: its own."""
        return (cls,)

    @classmethod
    def from_pretrained(
        cls: type[Readable], model: str | Path | ModelFiles, *, revision: str | None = None, **others: Any
    ) -> Readable:
        """Read ``config.json`` from a folder, from beside a checkpoint file, or from the hub.

        Parameters
        ----------
        model : str, Path or ModelFiles
            A folder, a file in it, a hub id such as ``google/siglip-base-patch16-224``, or a model that is
            open already.
        revision : str, optional
            Branch, tag or commit on the hub.
        **others
            ``cache_dir``, ``force_download``, ``local_files_only`` and ``token``, for the hub, and what
            transformers' programs pass and has one right value here, such as ``trust_remote_code=False``.

        Raises
        ------
        ConfigError
            If there is no such file, it is not JSON, or a value is impossible; if an option asks for what
            there is not.
        CheckpointError
            If the model is not found.

        Examples
        --------
        >>> from numpy_siglip import SiglipVisionConfig
        >>> SiglipVisionConfig.from_pretrained(model_folder).image_size
        44
        """
        from ..checkpoints.description.model_files import open_model
        from ..checkpoints.loading_keywords import FILE_KEYWORDS, download_options

        check_keywords(cls.from_pretrained, others, FILE_KEYWORDS)
        said = open_model(model, revision, **download_options(others)).config
        try:
            with unexpected_as(ConfigError, "the configuration", "fetch the file again"):
                return cls.from_dict(said.values)
        except ConfigError as error:
            raise ConfigError(f"{said.file}: {error}") from error.__cause__


class WritableConfig(ReadableConfig):
    """A configuration that is written too; the other kind only chooses what reads."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the model type that transformers gives them."""
        raise NotImplementedError  # every kind of configuration has fields of its own

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> tuple[Path, ...]:
        """Write ``config.json`` to a folder, as transformers does.

        Parameters
        ----------
        save_directory : str or Path
            Made if it is missing; a file of the same name is replaced.
        **others
            What transformers' programs pass and has one right value here, such as ``push_to_hub=False``.

        Returns
        -------
        tuple of Path
            The file.

        Raises
        ------
        ConfigError
            If an option asks for what there is not.
        OSError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_siglip import SiglipVisionConfig
        >>> folder = Path(tempfile.mkdtemp()) / "saved"
        >>> _ = SiglipVisionConfig(image_size=512).save_pretrained(folder)
        >>> SiglipVisionConfig.from_pretrained(folder).image_size
        512
        """
        from ..checkpoints.file_names import CONFIG_FILE
        from ..checkpoints.saving import json_writer, save_files

        return save_files(
            self.save_pretrained, save_directory, {CONFIG_FILE: json_writer(self.to_dict())}, others
        )


class ConfigSection(WritableConfig):
    """Base of the configuration of one tower, a frozen dataclass.

    A tower's configuration is a file of its own, or a section of that of a larger model.
    """

    model_type: ClassVar[str]
    """What transformers calls such a tower"""
    section: ClassVar[str]
    """Name of the section in the file of a larger model"""
    full_model_types: ClassVar[tuple[str, ...]] = (FULL_MODEL_TYPE,)
    """Models whose section describes such a tower even if it does not say so itself"""

    @classmethod
    def from_dict(cls: type[Section], values: Mapping[str, Any]) -> Section:
        """Read the configuration of a tower, or the part of a larger one that describes it.

        Accepts what transformers writes for the tower alone, for the whole model, and for any model that
        keeps such a tower in a section of that name. Fields that do not shape the computation are ignored.

        Raises
        ------
        ConfigError
            If it describes another kind of model, or a value is impossible.

        Examples
        --------
        >>> from numpy_siglip import SiglipVisionConfig
        >>> values = {"model_type": "siglip", "vision_config": {"image_size": 512}}
        >>> SiglipVisionConfig.from_dict(values).num_patches
        1024
        """
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]  # every subclass is a dataclass
        # A null is what transformers writes for "not set": the default holds.
        return cls(
            **{
                name: value
                for name, value in cls._own_part(values).items()
                if name in known and value is not None
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the model type that transformers gives them."""
        values = asdict(self)  # type: ignore[call-overload]
        # lists, as JSON has them: transformers takes no tuple
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"model_type": self.model_type, **values}

    @classmethod
    def _own_part(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping that describes the tower, checked to be one of this kind."""
        values = check_mapping("the configuration", values)
        model_type = values.get("model_type")
        refuse_other_family(cls.__name__, "model_type", model_type)
        whole = model_type in cls.full_model_types
        if cls.section not in values:
            # A full model that leaves a section out means all defaults; nothing else may.
            if whole or model_type in (None, cls.model_type):
                return {} if whole else values
            raise ConfigError(
                f"model_type is {shown(model_type)}: not a SigLIP {cls.section.removesuffix('_config')} "
                f"tower, nor a model with one in its {cls.section}"
            )
        part = values[cls.section]
        if part is None and (whole or model_type is None):
            return {}
        part = check_mapping(cls.section, part)
        # Hub files of plain SigLIP leave the inner type out; other models must say that theirs is SigLIP.
        inner_default = cls.model_type if whole or model_type in (None, cls.model_type) else None
        inner_type = part.get("model_type", inner_default)
        refuse_other_family(cls.__name__, f"{cls.section}.model_type", inner_type)
        if inner_type != cls.model_type:
            raise ConfigError(f"{cls.section}.model_type is {shown(inner_type)}; expected {cls.model_type!r}")
        return part


def is_naflex_type(model_type: Any) -> bool:
    """Whether a type of model is that of NaFlex, or of one of its towers.

    Examples
    --------
    >>> is_naflex_type("siglip2_vision_model"), is_naflex_type("siglip")
    (True, False)
    """
    return isinstance(model_type, str) and model_type.partition("_")[0] == NAFLEX_MODEL_TYPE


def refuse_other_family(config_class: str, name: str, model_type: Any) -> None:
    """Name the right class if a configuration of NaFlex is read as one of fixed resolution, or the reverse.

    Parameters
    ----------
    config_class : str
        Name of the class that reads.
    name : str
        Of the field, for the message.
    model_type : object
        Its value.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> refuse_other_family("SiglipVisionConfig", "model_type", "siglip2")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: model_type is 'siglip2': a NaFlex model; use Siglip2VisionModel
    """
    part = config_class.removeprefix("Siglip2").removeprefix("Siglip").replace("Config", "Model")
    if is_naflex_type(model_type) and not config_class.startswith("Siglip2"):
        raise ConfigError(f"{name} is {model_type!r}: a NaFlex model; use Siglip2{part}")
    fixed = isinstance(model_type, str) and model_type.partition("_")[0] == FULL_MODEL_TYPE
    if fixed and config_class.startswith("Siglip2"):
        raise ConfigError(f"{name} is {model_type!r}: a model of fixed resolution; use Siglip{part}")


def check_integers(config: ConfigSection, largest: Mapping[str, int]) -> None:
    """Refuse fields that are no whole numbers from 1 to the largest of each, and make the rest Python's.

    Raises
    ------
    ConfigError
        The message names the field.
    """
    for name, limit in largest.items():
        object.__setattr__(config, name, check_integer(name, getattr(config, name), largest=limit))


def check_encoder(config: Any) -> None:
    """Refuse what no encoder can be built from.

    Parameters
    ----------
    config : ConfigSection
        With the fields ``hidden_size``, ``intermediate_size``, ``num_hidden_layers``,
        ``num_attention_heads``, ``hidden_act``, ``layer_norm_eps`` and ``attention_dropout``.

    Raises
    ------
    ConfigError
        The message names the field.
    """
    check_integers(config, _LARGEST)
    if config.hidden_size % config.num_attention_heads:
        raise ConfigError(
            f"num_attention_heads is {config.num_attention_heads}, "
            f"which does not divide hidden_size {config.hidden_size}"
        )
    if not isinstance(config.hidden_act, str) or config.hidden_act not in ACTIVATIONS:
        raise ConfigError(f"hidden_act is {shown(config.hidden_act)}; supported are {', '.join(ACTIVATIONS)}")
    if not is_finite(config.layer_norm_eps) or config.layer_norm_eps <= 0:
        raise ConfigError(
            f"layer_norm_eps is {shown(config.layer_norm_eps)}; it must be a positive number of float32"
        )
    if not is_finite(config.attention_dropout) or not 0 <= config.attention_dropout <= 1:
        raise ConfigError(
            f"attention_dropout is {shown(config.attention_dropout)}; it must lie between 0 and 1"
        )
