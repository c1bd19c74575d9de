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
    embeddings: np.ndarray, weights: VisionWeights, config: VisionConfig, ops: Backend, stage: Stage
) -> tuple[np.ndarray, np.ndarray | None]:
    """Encode images of equal token counts.

    Parameters
    ----------
    embeddings : ndarray of shape (batch, tokens, hidden_size)
        Patches with their positions.
    weights : VisionWeights
    config : SiglipVisionConfig or Siglip2VisionConfig
    ops : Backend
    stage : Stage

    Returns
    -------
    tokens : ndarray of shape (batch, tokens, hidden_size)
    embedding : ndarray of shape (batch, hidden_size), or None
        None if the tower has no pooling head.
    """
    hidden = encoder(stage("embeddings", embeddings), weights.layers, config, ops, stage)
    tokens = stage("post_layernorm", ops.layer_norm(hidden, *weights.post_layernorm, config.layer_norm_eps))
    if weights.head is None:
        return tokens, None
    return tokens, stage("head", pooling_head(tokens, weights.head, config, ops, stage.within("head")))


def pooling_head(
    tokens: np.ndarray, head: PoolingHeadWeights, config: VisionConfig, ops: Backend, stage: Stage
) -> np.ndarray:
    """Pool by the probe's attention, then x + mlp(layernorm(x)): (B, T, D) -> (B, D)."""
    pooled, attention = ops.attention_pooling(
        tokens, head.attention, config.num_attention_heads, stage.wants("attention/weights")
    )
    if attention is not None:
        stage("attention/weights", attention)  # (B, H, 1, T)
    stage("attention", pooled)
    normed = stage("layernorm", ops.layer_norm(pooled, *head.layernorm, config.layer_norm_eps))
    activated = ops.linear(normed, head.fc1, activation=config.hidden_act)
    return ops.linear(activated, head.fc2, residual=pooled)
