"""The pre-norm transformer layer (Xiong et al., 2020, https://arxiv.org/abs/2002.04745).

x = x + attention(layer_norm1(x))
x = x + mlp(layer_norm2(x))
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..kernels.backend import Backend
from ..kernels.layers.encoder_layer import EncoderLayerWeights
from .trace import Stage, layer_path


class EncoderConfig(Protocol):
    """What an encoder has to know of its tower's configuration."""

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
    *,
    output_attentions: bool,
    stage: Stage,
    watch_layers: bool,
) -> np.ndarray:
    """Run all layers: (batch, tokens, hidden_size) -> (batch, tokens, hidden_size).

    ``layers`` are as the backend prepared them. The result of each is a stage of its own,
    ``encoder/layers/00`` and so on; with ``watch_layers``, so are the steps inside it. Where nobody listens,
    the backend runs all layers in one call, with the same result.
    """
    if not stage.is_heard:
        return ops.encoder(
            hidden, layers, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
        )
    for index, layer in enumerate(layers):
        path = layer_path(index)
        hidden = encoder_layer(
            hidden,
            layer,
            ops,
            num_attention_heads=config.num_attention_heads,
            hidden_act=config.hidden_act,
            layer_norm_eps=config.layer_norm_eps,
            output_attentions=output_attentions,
            stage=stage.within(path) if watch_layers else None,
        )
        stage(path, hidden)
    return hidden


def encoder_layer(
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    ops: Backend,
    *,
    num_attention_heads: int,
    hidden_act: str,
    layer_norm_eps: float,
    output_attentions: bool,
    stage: Stage | None,
) -> np.ndarray:
    """Run one layer: (batch, tokens, hidden_size) -> (batch, tokens, hidden_size).

    Where nobody watches (``stage`` is None), the backend runs it in one call, with the same result.

    Its stages are ``layer_norm1``, ``attention/query``, ``attention/key``, ``attention/value``,
    ``attention/weights`` (with ``output_attentions``), ``attention/heads`` (the heads' results
    side by side), ``attention`` (the residual stream after the first sum), ``layer_norm2`` and
    ``mlp/activation``.
    """
    if stage is None:
        return ops.encoder_layer(hidden, weights, num_attention_heads, hidden_act, layer_norm_eps)
    width = hidden.shape[-1]

    normed = stage("layer_norm1", ops.layer_norm(hidden, *weights.layer_norm1, layer_norm_eps))
    projected = ops.linear(normed, weights.query_key_value)  # (B, T, 3 D)
    query = stage("attention/query", projected[..., :width])
    key = stage("attention/key", projected[..., width : 2 * width])
    value = stage("attention/value", projected[..., 2 * width :])
    heads, attention = ops.attention(query, key, value, num_attention_heads, output_attentions)
    if attention is not None:
        stage("attention/weights", attention)  # (B, H, T, T)
    stage("attention/heads", heads)
    hidden = stage("attention", ops.linear(heads, weights.out_proj, residual=hidden))

    normed = stage("layer_norm2", ops.layer_norm(hidden, *weights.layer_norm2, layer_norm_eps))
    activated = stage("mlp/activation", ops.linear(normed, weights.fc1, activation=hidden_act))
    return ops.linear(activated, weights.fc2, residual=hidden)
