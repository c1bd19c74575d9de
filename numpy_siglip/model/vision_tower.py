"""What all vision towers have in common: from embedded patches to tokens, and to one embedding.

    patches with positions (B, T, D) -> L x encoder layer -> layer norm -> tokens (B, T, D)
    tokens (B, T, D) -> attention pooling by a learned probe -> residual MLP -> embedding (B, D)

`vision` and `naflex` say how images become embedded patches.
"""

from __future__ import annotations

import numpy as np

from ..config.naflex_configuration import VisionConfig
from ..kernels.backend import Backend
from ..weights.vision_weights import PoolingHeadWeights, VisionWeights
from .encoder import encoder
from .trace import Stage


def vision_tower(
    embeddings: np.ndarray,
    weights: VisionWeights,
    config: VisionConfig,
    ops: Backend,
    *,
    output_attentions: bool,
    stage: Stage,
    watch_layers: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Encode images of equal token counts.

    Parameters
    ----------
    embeddings : ndarray of shape (batch, tokens, hidden_size)
        Patches with their positions.
    weights : VisionWeights
    config : SiglipVisionConfig or Siglip2VisionConfig
    ops : Backend
    output_attentions : bool
        Whether attention weights are among the stages.
    stage : Stage
    watch_layers : bool
        Whether the steps inside layers are; see `encoder`.

    Returns
    -------
    tokens : ndarray of shape (batch, tokens, hidden_size)
    embedding : ndarray of shape (batch, hidden_size), or None
        None if the tower has no pooling head.
    """
    hidden = encoder(
        stage("embeddings", embeddings),
        weights.layers,
        config,
        ops,
        output_attentions=output_attentions,
        stage=stage,
        watch_layers=watch_layers,
    )
    tokens = stage("post_layernorm", ops.layer_norm(hidden, *weights.post_layernorm, config.layer_norm_eps))
    if weights.head is None:
        return tokens, None
    return tokens, _pooling_head(tokens, weights.head, config, ops, output_attentions, stage)


def _pooling_head(
    tokens: np.ndarray,
    head: PoolingHeadWeights,
    config: VisionConfig,
    ops: Backend,
    output_attentions: bool,
    stage: Stage,
) -> np.ndarray:
    """Pool by the probe's attention, then x + mlp(layernorm(x)): (B, T, D) -> (B, D)."""
    pooled, attention = ops.attention_pooling(
        tokens, head.attention, config.num_attention_heads, output_attentions
    )
    if attention is not None:
        stage("head/attention/weights", attention)  # (B, H, 1, T)
    stage("head/attention", pooled)
    normed = stage("head/layernorm", ops.layer_norm(pooled, *head.layernorm, config.layer_norm_eps))
    activated = ops.linear(normed, head.fc1, activation=config.hidden_act)
    return stage("head", ops.linear(activated, head.fc2, residual=pooled))
