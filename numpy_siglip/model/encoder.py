"""The encoder of a tower: pre-norm transformer layers, one after the other.

    x = x + attention(layer_norm1(x))
    x = x + mlp(layer_norm2(x))

The layer is written here to be watched, step by step. Where nobody watches, `kernels.layers` computes it, or
all of them, in one call and with the same bits.

Xiong et al., 2020, https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..kernels.backend import Backend
from ..kernels.layers.encoder_layer import EncoderLayerWeights
from .attention_mask import AttentionMask, masked_attention
from .trace import LAYER_STAGES, Stage, layer_path


class EncoderConfig(Protocol):
    """What an encoder has to know of its tower's configuration."""

    @property
    def num_hidden_layers(self) -> int:  # noqa: D102
        ...

    @property
    def num_attention_heads(self) -> int:  # noqa: D102
        ...

    @property
    def hidden_act(self) -> str:  # noqa: D102
        ...

    @property
    def layer_norm_eps(self) -> float:  # noqa: D102
        ...


def encoder(
    hidden: np.ndarray,
    layers: Any,
    config: EncoderConfig,
    ops: Backend,
    stage: Stage,
    mask: AttentionMask | None = None,
) -> np.ndarray:
    """Run all layers: (batch, tokens, hidden_size) -> (batch, tokens, hidden_size).

    ``layers`` are as the backend prepared them. The result of each is a stage of its own,
    ``encoder/layers/00`` and so on, and so are the steps inside it (`LAYER_STAGES`). Where nobody wants any,
    and there is no mask, the backend runs all layers in one call, with the same result.
    """
    paths = [layer_path(index) for index in range(config.num_hidden_layers)]
    heard = paths if stage.is_heard else []
    if mask is None and not any(
        stage.wants(path) or stage.within(path).wants(*LAYER_STAGES) for path in heard
    ):
        return ops.encoder(
            hidden, layers, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
        )
    for path, layer in zip(paths, layers, strict=True):
        hidden = stage(path, encoder_layer(hidden, layer, config, ops, stage.within(path), mask))
    return hidden


def encoder_layer(
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    config: EncoderConfig,
    ops: Backend,
    stage: Stage,
    mask: AttentionMask | None = None,
) -> np.ndarray:
    """Run one layer: (batch, tokens, hidden_size) -> (batch, tokens, hidden_size).

    Where nobody wants a step of it, and there is no mask, the backend runs it in one call, with the same
    result.
    """
    num_heads, activation, eps = config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    if mask is None and not stage.wants(*LAYER_STAGES):
        return ops.encoder_layer(hidden, weights, num_heads, activation, eps)
    width = hidden.shape[-1]

    normed = stage("layer_norm1", ops.layer_norm(hidden, *weights.layer_norm1, eps))
    projected = ops.linear(normed, weights.query_key_value)  # (B, T, 3 D)
    query = stage("attention/query", projected[..., :width])
    key = stage("attention/key", projected[..., width : 2 * width])
    value = stage("attention/value", projected[..., 2 * width :])
    with_weights = stage.wants("attention/weights")
    if mask is None:
        heads, attention = ops.attention(query, key, value, num_heads, with_weights)
    else:
        heads, attention = masked_attention(ops, query, key, value, num_heads, mask, with_weights)
    if attention is not None:
        stage("attention/weights", attention)  # (B, H, T, T)
    stage("attention/heads", heads)
    hidden = stage("attention", ops.linear(heads, weights.out_proj, residual=hidden))

    normed = stage("layer_norm2", ops.layer_norm(hidden, *weights.layer_norm2, eps))
    activated = stage("mlp/activation", ops.linear(normed, weights.fc1, activation=activation))
    return ops.linear(activated, weights.fc2, residual=hidden)
