"""Configurations, with the field names and the defaults of transformers.

Published ``config.json`` files are sparse: they hold only what differs from transformers'
defaults. The defaults below are therefore part of the file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .checks import LARGEST_SIDE, check_integer, check_mapping, is_finite, shown
from .errors import ConfigError
from .json_file import read_first_json
from .kernels.activations import ACTIVATIONS

CONFIG_FILE = "config.json"
VISION_MODEL_TYPE = "siglip_vision_model"
FULL_MODEL_TYPE = "siglip"

# Far beyond any published tower. What is larger is a damaged file, and even the names of its tensors
# might not fit in memory.
_LARGEST = {
    "hidden_size": 2**20,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**20,
    "num_channels": 1000,
    "image_size": LARGEST_SIDE,
    "patch_size": LARGEST_SIDE,
}


@dataclass(frozen=True)
class SiglipVisionConfig:
    """Shape of a SigLIP vision tower.

    Parameters
    ----------
    hidden_size : int
        Width of a token.
    intermediate_size : int
        Width inside the MLP of a layer.
    num_hidden_layers : int
    num_attention_heads : int
        Divides ``hidden_size``.
    num_channels : int
        Colour channels of an image.
    image_size : int
        Side of the square input image in pixels. A pair of equal numbers is accepted.
    patch_size : int
        Side of a patch in pixels. A remainder at the right and bottom edge is not looked at.
    hidden_act : str
        Activation inside the MLP, a name from `numpy_siglip.kernels.activations`.
    layer_norm_eps : float
    attention_dropout : float
        Kept for round trips; inference drops nothing.
    vision_use_head : bool
        Whether the tower ends in an attention pooling head.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> config = SiglipVisionConfig(image_size=384, patch_size=14)
    >>> config.hidden_size, config.num_patches
    (768, 729)
    >>> SiglipVisionConfig(num_attention_heads=7)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: num_attention_heads is 7, which does not divide hidden_size 768
    """

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    vision_use_head: bool = True

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size"):
            object.__setattr__(self, name, _square_side(name, getattr(self, name)))
        for name, largest in _LARGEST.items():
            object.__setattr__(self, name, check_integer(name, getattr(self, name), largest=largest))
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"num_attention_heads is {self.num_attention_heads}, "
                f"which does not divide hidden_size {self.hidden_size}"
            )
        if self.image_size < self.patch_size:
            raise ConfigError(
                f"image_size is {self.image_size}, smaller than one patch (patch_size {self.patch_size})"
            )
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise ConfigError(
                f"hidden_act is {shown(self.hidden_act)}; supported are {', '.join(ACTIVATIONS)}"
            )
        if not is_finite(self.layer_norm_eps) or self.layer_norm_eps <= 0:
            raise ConfigError(
                f"layer_norm_eps is {shown(self.layer_norm_eps)}; it must be a positive number of float32"
            )
        if not is_finite(self.attention_dropout) or not 0 <= self.attention_dropout <= 1:
            raise ConfigError(
                f"attention_dropout is {shown(self.attention_dropout)}; it must lie between 0 and 1"
            )
        if not isinstance(self.vision_use_head, bool):
            raise ConfigError(f"vision_use_head is {shown(self.vision_use_head)}; it must be true or false")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def patches_per_side(self) -> int:
        """Whole patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Tokens of one image, which is also the number of learned positions."""
        return self.patches_per_side**2

    def takes(self, height: int, width: int) -> bool:
        """Whether an image of this size has the grid of patches that positions were learned on.

        Examples
        --------
        >>> SiglipVisionConfig(image_size=384, patch_size=14).takes(380, 384)
        True
        """
        side = self.patches_per_side
        return (height // self.patch_size, width // self.patch_size) == (side, side)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiglipVisionConfig:
        """Read a vision configuration, or the vision part of a larger one.

        Accepts what transformers writes for ``SiglipVisionModel``, for ``SiglipModel``, and for
        any model that keeps a SigLIP tower under ``vision_config``. Fields that do not shape the
        computation are ignored.

        Raises
        ------
        ConfigError
            If it describes another kind of model, or a value is impossible.

        Examples
        --------
        >>> values = {"model_type": "siglip", "vision_config": {"image_size": 512}}
        >>> SiglipVisionConfig.from_dict(values).num_patches
        1024
        """
        vision = _vision_part(values)
        known = {f.name for f in fields(cls)}
        # A null is what transformers writes for "not set": the default holds.
        return cls(**{name: value for name, value in vision.items() if name in known and value is not None})

    @classmethod
    def from_pretrained(cls, model: str | Path, *, revision: str | None = None) -> SiglipVisionConfig:
        """Read ``config.json`` from a folder, from beside a checkpoint file, or from the hub.

        Parameters
        ----------
        model : str or Path
            A folder, a file in it, or a hub id such as ``google/siglip-base-patch16-224``.
        revision : str, optional
            Branch, tag or commit on the hub.

        Raises
        ------
        ConfigError
            If there is no such file, it is not JSON, or a value is impossible.
        CheckpointError
            If the model is not found.

        Examples
        --------
        >>> SiglipVisionConfig.from_pretrained(model_folder).image_size
        44
        """
        return cls.from_dict(_read_config(model, revision))

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the model type that transformers gives them."""
        return {"model_type": VISION_MODEL_TYPE, **asdict(self)}


@dataclass(frozen=True)
class SiglipConfig:
    """Shape of a whole SigLIP model, of which this version knows the vision tower.

    Parameters
    ----------
    vision_config : SiglipVisionConfig, mapping or None
        A mapping is read as by `SiglipVisionConfig.from_dict`; None means all defaults.

    Raises
    ------
    ConfigError
        If it is something else, or a value is impossible.

    Examples
    --------
    >>> SiglipConfig.from_dict({"vision_config": {"hidden_size": 1152, "num_attention_heads": 16}})
    ... # doctest: +ELLIPSIS
    SiglipConfig(vision_config=SiglipVisionConfig(hidden_size=1152, ...))
    """

    vision_config: SiglipVisionConfig = field(default_factory=SiglipVisionConfig)

    def __post_init__(self) -> None:
        vision = self.vision_config
        if not isinstance(vision, SiglipVisionConfig):
            values = {} if vision is None else check_mapping("vision_config", vision)
            object.__setattr__(self, "vision_config", SiglipVisionConfig.from_dict(values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiglipConfig:
        """Read what transformers writes for ``SiglipModel``; see `SiglipVisionConfig.from_dict`."""
        return cls(vision_config=SiglipVisionConfig.from_dict(values))

    @classmethod
    def from_pretrained(cls, model: str | Path, *, revision: str | None = None) -> SiglipConfig:
        """Read ``config.json``; see `SiglipVisionConfig.from_pretrained`.

        Examples
        --------
        >>> SiglipConfig.from_pretrained(model_folder).vision_config.patch_size
        11
        """
        return cls.from_dict(_read_config(model, revision))

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the model type that transformers gives them."""
        return {"model_type": FULL_MODEL_TYPE, "vision_config": self.vision_config.to_dict()}


def _read_config(model: str | Path, revision: str | None) -> Mapping[str, Any]:
    from .hub import locate_model

    path, values = read_first_json(
        locate_model(model, revision),
        [CONFIG_FILE],
        ConfigError,
        missing=f"put the model's {CONFIG_FILE} beside its weights",
    )
    try:
        SiglipVisionConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return values


def _vision_part(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping that describes the vision tower, checked to be a SigLIP tower."""
    values = check_mapping("the configuration", values)
    model_type = values.get("model_type")
    if model_type == "siglip2":
        raise ConfigError("model_type is 'siglip2' (NaFlex), which this version does not support")
    if "vision_config" not in values:
        # A full model that leaves its vision part out means all defaults; nothing else may.
        if model_type in (None, FULL_MODEL_TYPE, VISION_MODEL_TYPE):
            return {} if model_type == FULL_MODEL_TYPE else values
        raise ConfigError(
            f"model_type is {shown(model_type)} and there is no vision_config: not a SigLIP tower"
        )
    vision = values["vision_config"]
    if vision is None and model_type in (None, FULL_MODEL_TYPE):
        return {}
    vision = check_mapping("vision_config", vision)
    # Hub files of plain SigLIP leave the inner type out; other models must say that theirs is SigLIP.
    inner_default = VISION_MODEL_TYPE if model_type in (None, FULL_MODEL_TYPE, VISION_MODEL_TYPE) else None
    inner_type = vision.get("model_type", inner_default)
    if inner_type != VISION_MODEL_TYPE:
        raise ConfigError(f"vision_config.model_type is {shown(inner_type)}; expected {VISION_MODEL_TYPE!r}")
    return vision


def _square_side(name: str, value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) != 2 or value[0] != value[1]:
        raise ConfigError(f"{name} is {shown(list(value))}; only squares are supported")
    return value[0]
