"""The weights of the vision tower: their names, their shapes, and how they become operands.

The trees below wire the model; their fields carry the names of the checkpoint wherever one tensor is
one field.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..config.naflex_configuration import Siglip2VisionConfig, VisionConfig
from ..kernels.backend import Backend
from ..kernels.layers.encoder_layer import LayerNormWeights
from .tower_reader import TowerReader
from .tower_weights import (
    Shapes,
    Tensors,
    TowerLayout,
    count_parameters,
    encoder_tensor_shapes,
    find_tensors,
    layer_norm_shapes,
    linear_shapes,
    mlp_shapes,
)

VISION_LAYOUT = TowerLayout(
    kind="vision",
    mark="embeddings.patch_embedding.weight",
    roots=("embeddings.", "encoder.", "post_layernorm.", "head."),
)


class PoolingHeadWeights(NamedTuple):
    """The attention pooling head and the residual MLP behind it."""

    attention: Any
    """The probe, the stacked projections and the output projection"""
    layernorm: LayerNormWeights
    fc1: Any
    """(hidden_size) -> (intermediate_size)"""
    fc2: Any
    """(intermediate_size) -> (hidden_size)"""


class VisionWeights(NamedTuple):
    """The whole vision tower."""

    patch_embedding: Any
    """(num_channels * patch_size ** 2) -> (hidden_size)"""
    position_embedding: np.ndarray
    """(num_patches, hidden_size)"""
    layers: Any
    """One `EncoderLayerWeights` for each layer, prepared."""
    post_layernorm: LayerNormWeights
    head: PoolingHeadWeights | None
    """None if the configuration has no head."""


def vision_tensor_shapes(config: VisionConfig) -> Shapes:
    """Name and shape of every tensor of the tower, in the layout of transformers.

    Examples
    --------
    >>> from numpy_siglip import Siglip2VisionConfig, SiglipVisionConfig
    >>> shapes = vision_tensor_shapes(SiglipVisionConfig())
    >>> shapes["embeddings.patch_embedding.weight"]
    (768, 3, 16, 16)
    >>> len(shapes)
    208
    >>> vision_tensor_shapes(Siglip2VisionConfig())["embeddings.patch_embedding.weight"]
    (768, 768)
    """
    d, f, p = config.hidden_size, config.intermediate_size, config.patch_size
    naflex = isinstance(config, Siglip2VisionConfig)
    features: tuple[int, ...] = (config.num_channels * p * p,) if naflex else (config.num_channels, p, p)
    shapes: Shapes = {
        "embeddings.patch_embedding.weight": (d, *features),
        "embeddings.patch_embedding.bias": (d,),
        "embeddings.position_embedding.weight": (config.num_patches, d),
    }
    shapes |= encoder_tensor_shapes(config) | layer_norm_shapes("post_layernorm", d)
    if config.vision_use_head:
        shapes["head.probe"] = (1, 1, d)
        shapes["head.attention.in_proj_weight"] = (3 * d, d)
        shapes["head.attention.in_proj_bias"] = (3 * d,)
        shapes |= linear_shapes("head.attention.out_proj", d, d)
        shapes |= layer_norm_shapes("head.layernorm", d) | mlp_shapes("head.mlp", d, f)
    return shapes


def count_vision_parameters(config: VisionConfig) -> int:
    """Numbers that were trained in a tower of this shape.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionConfig
    >>> count_vision_parameters(SiglipVisionConfig())
    92884224
    """
    return count_parameters(vision_tensor_shapes(config))


def find_vision_tensors(checkpoint: Tensors, config: VisionConfig) -> dict[str, str]:
    """Match the tower's tensor names with the names in a checkpoint, whatever their prefix.

    Parameters
    ----------
    checkpoint : Tensors
    config : SiglipVisionConfig or Siglip2VisionConfig

    Returns
    -------
    dict of str to str
        From the names of `vision_tensor_shapes` to those of the checkpoint.

    Raises
    ------
    CheckpointError
        If a tensor is missing, has another shape, or belongs to the tower and has no place in it.
    """
    return find_tensors(
        checkpoint,
        VISION_LAYOUT,
        vision_tensor_shapes(config),
        left_out=() if config.vision_use_head else ("head.",),  # the configuration chose to leave it alone
        advice={"head.": "for a tower without a pooling head set vision_use_head to false in config.json"},
    )


def load_vision_weights(checkpoint: Tensors, config: VisionConfig, ops: Backend) -> VisionWeights:
    """Read the tower from a checkpoint and prepare its linear maps for a backend.

    Parameters
    ----------
    checkpoint : Tensors
    config : SiglipVisionConfig or Siglip2VisionConfig
    ops : Backend
        Prepares the weights for itself.

    Raises
    ------
    CheckpointError
        See `find_vision_tensors`.
    """
    read = TowerReader(checkpoint, find_vision_tensors(checkpoint, config), ops)
    # embeddings.patch_embedding.weight (D, C, P, P): a filter in memory order is one row of features. That
    # of NaFlex is (D, P * P * C) already, in the order in which its image processor cuts patches.
    filters = read.tensor("embeddings.patch_embedding.weight").reshape(config.hidden_size, -1)
    patch_embedding = ops.prepare_linear(filters, read.tensor("embeddings.patch_embedding.bias"))
    return VisionWeights(
        patch_embedding=patch_embedding,
        position_embedding=read.tensor("embeddings.position_embedding.weight"),
        layers=read.encoder_layers(config.num_hidden_layers),
        post_layernorm=read.layer_norm("post_layernorm"),
        head=_pooling_head(read, config) if config.vision_use_head else None,
    )


def _pooling_head(read: TowerReader, config: VisionConfig) -> PoolingHeadWeights:
    # head.attention.in_proj_weight (3 D, D) holds q, k, v; head.probe (1, 1, D) is one vector.
    attention = read.ops.prepare_attention_pooling(
        read.tensor("head.probe").reshape(config.hidden_size),
        read.raw("head.attention.in_proj", separator="_"),
        read.raw("head.attention.out_proj"),
        config.num_attention_heads,
    )
    return PoolingHeadWeights(
        attention=attention,
        layernorm=read.layer_norm("head.layernorm"),
        fc1=read.linear("head.mlp.fc1"),
        fc2=read.linear("head.mlp.fc2"),
    )
