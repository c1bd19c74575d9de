"""The configuration of a vision tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..common.checks import LARGEST_SIDE, check_flag, shown
from ..errors import ConfigError
from .config_section import ConfigSection, check_encoder, check_integers

_LARGEST = {"num_channels": 1000, "image_size": LARGEST_SIDE, "patch_size": LARGEST_SIDE}


@dataclass(frozen=True)
class SiglipVisionConfig(ConfigSection):
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
        Activation inside the MLP, a name from `numpy_siglip.kernels.rows.activations`.
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

    model_type: ClassVar[str] = "siglip_vision_model"
    section: ClassVar[str] = "vision_config"

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
            object.__setattr__(self, name, square_side(name, getattr(self, name)))
        check_encoder(self)
        check_integers(self, _LARGEST)
        if self.image_size < self.patch_size:
            raise ConfigError(
                f"image_size is {self.image_size}, smaller than one patch (patch_size {self.patch_size})"
            )
        use_head = check_flag("vision_use_head", self.vision_use_head)
        object.__setattr__(self, "vision_use_head", use_head)

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


def square_side(name: str, value: Any) -> Any:
    """The side of a square that is given as one number or as a pair; the number is not checked.

    Raises
    ------
    ConfigError
        If it is a pair of different numbers.

    Examples
    --------
    >>> square_side("patch_size", [16, 16])
    16
    """
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) != 2 or value[0] != value[1]:
        raise ConfigError(f"{name} is {shown(list(value))}; only squares are supported")
    return value[0]
