"""The configurations of NaFlex, the SigLIP 2 models that take images of any aspect ratio.

A fixed-resolution SigLIP 2 is not among them: its files say that it is a ``siglip``, and it is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from ..common.checks import LARGEST_SIDE, check_flag
from ..errors import ConfigError
from .config_section import NAFLEX_MODEL_TYPE, ConfigSection, check_encoder, check_integers
from .configuration import SiglipConfig
from .text_configuration import SiglipTextConfig
from .vision_configuration import SiglipVisionConfig, square_side

_LARGEST = {"num_channels": 1000, "patch_size": LARGEST_SIDE, "num_patches": 2**20}


@dataclass(frozen=True)
class Siglip2VisionConfig(ConfigSection):
    """Shape of a NaFlex vision tower.

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
    patch_size : int
        Side of a patch in pixels. A pair of equal numbers is accepted.
    hidden_act : str
        Activation inside the MLP, a name from `numpy_siglip.kernels.rows.activations`.
    layer_norm_eps : float
    attention_dropout : float
        Kept for round trips; inference drops nothing.
    vision_use_head : bool
        Whether the tower ends in an attention pooling head.
    num_patches : int
        Learned positions: a square of them, which is resampled to the grid of each image. How many patches
        an image may have is for `Siglip2ImageProcessor` to say.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> config = Siglip2VisionConfig()
    >>> config.num_patches, config.patches_per_side, config.patch_features
    (256, 16, 768)
    >>> Siglip2VisionConfig(num_patches=200)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: num_patches is 200, which is no square number; positions form a square
    """

    model_type: ClassVar[str] = "siglip2_vision_model"
    section: ClassVar[str] = "vision_config"
    full_model_types: ClassVar[tuple[str, ...]] = (NAFLEX_MODEL_TYPE,)

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    vision_use_head: bool = True
    num_patches: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch_size", square_side("patch_size", self.patch_size))
        check_encoder(self)
        check_integers(self, _LARGEST)
        use_head = check_flag("vision_use_head", self.vision_use_head)
        object.__setattr__(self, "vision_use_head", use_head)
        if self.patches_per_side**2 != self.num_patches:
            raise ConfigError(
                f"num_patches is {self.num_patches}, which is no square number; positions form a square"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def patches_per_side(self) -> int:
        """Side of the square that positions were learned on."""
        return math.isqrt(self.num_patches)

    @property
    def patch_features(self) -> int:
        """Numbers in one patch."""
        return self.num_channels * self.patch_size**2


VisionConfig = SiglipVisionConfig | Siglip2VisionConfig
"""Shape of a vision tower of either kind."""


@dataclass(frozen=True)
class Siglip2TextConfig(SiglipTextConfig):
    """Shape of the text tower of a NaFlex model: in all but its name a `SiglipTextConfig`.

    Examples
    --------
    >>> Siglip2TextConfig(vocab_size=256000).to_dict()["model_type"]
    'siglip2_text_model'
    """

    model_type: ClassVar[str] = "siglip2_text_model"
    full_model_types: ClassVar[tuple[str, ...]] = (NAFLEX_MODEL_TYPE,)


@dataclass(frozen=True)
class Siglip2Config(SiglipConfig):
    """Shape of a whole NaFlex model.

    Parameters
    ----------
    text_config : Siglip2TextConfig, mapping or None
        A mapping is read as by `Siglip2TextConfig.from_dict`; None means all defaults.
    vision_config : Siglip2VisionConfig, mapping or None
        Likewise.

    Raises
    ------
    ConfigError
        If it is something else, or a value is impossible.

    Examples
    --------
    >>> Siglip2Config(vision_config={"num_patches": 64}).vision_config.patches_per_side
    8
    """

    model_type: ClassVar[str] = NAFLEX_MODEL_TYPE
    text_config: Siglip2TextConfig = field(default_factory=Siglip2TextConfig)
    vision_config: Siglip2VisionConfig = field(default_factory=Siglip2VisionConfig)  # type: ignore[assignment]

    @classmethod
    def _parts(cls) -> dict[str, type[ConfigSection]]:
        return {"text_config": Siglip2TextConfig, "vision_config": Siglip2VisionConfig}
