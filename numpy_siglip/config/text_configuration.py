"""The configuration of a text tower."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any, ClassVar

from ..common.checks import shown
from ..errors import ConfigError
from .config_section import ConfigSection, check_encoder, check_integers

# As for an encoder: far beyond any published tower.
_LARGEST = {"vocab_size": 2**27, "max_position_embeddings": 2**20, "projection_size": 2**20}


@dataclass(frozen=True)
class SiglipTextConfig(ConfigSection):
    """Shape of a SigLIP text tower.

    Parameters
    ----------
    vocab_size : int
        Rows of the token table: 32000 in English SigLIP, 250000 in multilingual, 256000 in SigLIP 2.
    hidden_size : int
        Width of a token.
    intermediate_size : int
        Width inside the MLP of a layer.
    num_hidden_layers : int
    num_attention_heads : int
        Divides ``hidden_size``.
    max_position_embeddings : int
        Tokens of every text, to which it is padded or cut.
    hidden_act : str
        Activation inside the MLP, a name from `numpy_siglip.kernels.rows.activations`.
    layer_norm_eps : float
    attention_dropout : float
        Kept for round trips; inference drops nothing.
    pad_token_id, bos_token_id, eos_token_id : int, sequence of int, or None
        Kept for round trips: what pads a text is for its tokenizer to say. The defaults of the latter two
        are those of another model's vocabulary, in transformers too.
    projection_size : int, optional
        Width of the embedding, by default ``hidden_size``.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> config = SiglipTextConfig(hidden_size=1152, num_attention_heads=16)
    >>> config.max_position_embeddings, config.projection_size
    (64, 1152)
    >>> SiglipTextConfig.from_dict({"model_type": "siglip", "text_config": {"vocab_size": 256000}}).vocab_size
    256000
    """

    model_type: ClassVar[str] = "siglip_text_model"
    section: ClassVar[str] = "text_config"

    vocab_size: int = 32000
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 64
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int | tuple[int, ...] | None = 49407
    projection_size: int = None  # type: ignore[assignment]  # a number as soon as the object exists

    def __post_init__(self) -> None:
        check_encoder(self)
        if self.projection_size is None:
            object.__setattr__(self, "projection_size", self.hidden_size)
        check_integers(self, _LARGEST)
        if isinstance(self.eos_token_id, list):  # a tuple, so that configurations have a hash
            object.__setattr__(self, "eos_token_id", tuple(self.eos_token_id))
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            ids = value if isinstance(value, tuple) and name == "eos_token_id" else (value,)
            if not all(_is_token_id(number) for number in ids):
                raise ConfigError(f"{name} is {shown(value)}; it must be a token's number, or null")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads


def _is_token_id(value: Any) -> bool:
    return value is None or (isinstance(value, numbers.Integral) and not isinstance(value, bool))
