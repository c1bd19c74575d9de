"""Attention pooling: one learned query, the probe, gathers all tokens of an image into a vector.

    query      = probe Wq^T + bq                        (1, width), the same for every image
    key, value = hidden Wkv^T + bkv, cut in half        (tokens, width) each
    pooled     = attention(query, key, value) Wo^T + bo

The probe takes part as the query and nowhere else: it is not added to what it gathered. (The
pooling head that follows adds a residual MLP to ``pooled``; that is the model's business.)

Operands
    hidden     (batch, tokens, width), any float dtype
    weights    `AttentionPoolingWeights`, its linear parts made by ``prepare_linear``
    num_heads  divides width
Result
    pooled (batch, width) and, if asked for, the attention maps (batch, num_heads, 1, tokens);
    the dtype of ``hidden``, C order. Nobody pads.
Cost
    The flops of its parts: the query of one row, key and value of batch * tokens rows, attention
    of one query an image, and the output of batch rows. Hidden state and weights are read once,
    the pooled vectors (and the maps that are asked for) written once; what lies between is free.
NaN
    A NaN token spoils the pooled vector of its image.
Source
    ``MAPHead`` in big_vision's ``models/vit.py``, after Zhai et al., 2022,
    https://arxiv.org/abs/2106.04560; ``SiglipMultiheadAttentionPoolingHead`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .attention import attention_cost, attention_reference
from .cost import Cost, float32_traffic
from .linear import linear_cost, linear_reference


class AttentionPoolingWeights(NamedTuple):
    """A probe and three prepared linear maps."""

    probe: np.ndarray
    """(width,)"""
    query: Any
    """Prepared from (width, width)."""
    key_value: Any
    """Prepared from (2 * width, width): keys above, values below."""
    output: Any
    """Prepared from (width, width)."""


def attention_pooling_reference(
    hidden: np.ndarray,
    weights: AttentionPoolingWeights,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pool the tokens of each image with the probe's attention.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    weights : AttentionPoolingWeights
    num_heads : int
    return_attention : bool

    Returns
    -------
    pooled : ndarray of shape (batch, width)
    attention : ndarray of shape (batch, num_heads, 1, tokens), or None

    Examples
    --------
    With a probe of zeros and identity maps, pooling is the mean of the tokens:

    >>> import numpy as np
    >>> from numpy_siglip.kernels.linear import prepare_linear_reference as prepare
    >>> identity = prepare(np.eye(2))
    >>> weights = AttentionPoolingWeights(
    ...     np.zeros(2), identity, prepare(np.vstack([np.eye(2), np.eye(2)])), identity
    ... )
    >>> attention_pooling_reference(np.array([[[1.0, 10.0], [3.0, 30.0]]]), weights, 1)[0]
    array([[ 2., 20.]])
    """
    batch, _, width = hidden.shape
    query = linear_reference(weights.probe.reshape(1, 1, width), weights.query)
    query = np.broadcast_to(query, (batch, 1, width))
    key_value = linear_reference(hidden, weights.key_value)  # (B, T, 2 D)
    key, value = key_value[..., :width], key_value[..., width:]
    gathered, attention = attention_reference(query, key, value, num_heads, return_attention)
    return linear_reference(gathered, weights.output)[:, 0], attention


def attention_pooling_cost(
    *, batch: int, tokens: int, width: int, num_heads: int, return_attention: bool = False
) -> Cost:
    """Cost of one call."""
    parts = (
        linear_cost(rows=1, in_features=width, out_features=width),
        linear_cost(rows=batch * tokens, in_features=width, out_features=2 * width),
        attention_cost(batch=batch, queries=1, keys=tokens, width=width, num_heads=num_heads),
        linear_cost(rows=batch, in_features=width, out_features=width),
    )
    maps = batch * num_heads * tokens if return_attention else 0
    return Cost(
        flops=sum(part.flops for part in parts),
        bytes=float32_traffic(
            batch * tokens * width, width, 4 * (width * width + width), batch * width, maps
        ),
    )
