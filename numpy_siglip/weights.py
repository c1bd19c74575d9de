"""The weights of the vision tower: their names, their shapes, and how they become operands.

This is the one place where tensors are cut, stacked or reshaped. The trees below wire the model;
their fields carry the names of the checkpoint wherever one tensor is one field.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .checkpoint import Checkpoint
from .configuration import SiglipVisionConfig
from .errors import CheckpointError
from .kernels.backend import Backend
from .kernels.encoder_layer import EncoderLayerWeights, LayerNormWeights
from .kernels.linear import LinearWeights

_MARK = "embeddings.patch_embedding.weight"
_ROOTS = ("embeddings.", "encoder.", "post_layernorm.", "head.")
# Written by old versions of transformers: 0, 1, 2, ... and nothing else.
_IGNORED = frozenset({"embeddings.position_ids"})


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
    layers: tuple[EncoderLayerWeights, ...]
    post_layernorm: LayerNormWeights
    head: PoolingHeadWeights | None
    """None if the configuration has no head."""


def vision_tensor_shapes(config: SiglipVisionConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the tower, in the layout of transformers.

    Examples
    --------
    >>> shapes = vision_tensor_shapes(SiglipVisionConfig())
    >>> shapes["embeddings.patch_embedding.weight"]
    (768, 3, 16, 16)
    >>> len(shapes)
    208
    """
    d, f, p = config.hidden_size, config.intermediate_size, config.patch_size
    norm = {"weight": (d,), "bias": (d,)}
    square = {"weight": (d, d), "bias": (d,)}
    mlp = {"fc1.weight": (f, d), "fc1.bias": (f,), "fc2.weight": (d, f), "fc2.bias": (d,)}
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, group: dict[str, Any]) -> None:
        shapes.update({f"{name}.{leaf}": shape for leaf, shape in group.items()})

    add("embeddings.patch_embedding", {"weight": (d, config.num_channels, p, p), "bias": (d,)})
    add("embeddings.position_embedding", {"weight": (config.num_patches, d)})
    for index in range(config.num_hidden_layers):
        layer = f"encoder.layers.{index}"
        add(f"{layer}.layer_norm1", norm)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"{layer}.self_attn.{projection}", square)
        add(f"{layer}.layer_norm2", norm)
        add(f"{layer}.mlp", mlp)
    add("post_layernorm", norm)
    if config.vision_use_head:
        add("head", {"probe": (1, 1, d)})
        add("head.attention", {"in_proj_weight": (3 * d, d), "in_proj_bias": (3 * d,)})
        add("head.attention.out_proj", square)
        add("head.layernorm", norm)
        add("head.mlp", mlp)
    return shapes


def count_vision_parameters(config: SiglipVisionConfig) -> int:
    """Numbers that were trained in a tower of this shape.

    Examples
    --------
    >>> count_vision_parameters(SiglipVisionConfig())
    92884224
    """
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in vision_tensor_shapes(config).values())


def find_vision_tensors(checkpoint: Checkpoint, config: SiglipVisionConfig) -> dict[str, str]:
    """Match the tower's tensor names with the names in a checkpoint, whatever their prefix.

    Parameters
    ----------
    checkpoint : Checkpoint
    config : SiglipVisionConfig

    Returns
    -------
    dict of str to str
        From the names of `vision_tensor_shapes` to those of the checkpoint.

    Raises
    ------
    CheckpointError
        If a tensor is missing, has another shape, or belongs to the tower and has no place in it.
    """
    prefix = _find_prefix(checkpoint)
    expected = vision_tensor_shapes(config)
    missing = [name for name in expected if prefix + name not in checkpoint]
    if missing:
        advice = "the file is incomplete, or config.json describes another model"
        if all(name.startswith("head.") for name in missing):
            advice = "for a tower without a pooling head set vision_use_head to false in config.json"
        raise CheckpointError(f"{checkpoint.source}: {_some(prefix, missing)} missing; {advice}")
    for name, shape in expected.items():
        found = checkpoint[prefix + name].shape
        if found != shape:
            raise CheckpointError(
                f"{checkpoint.source}: tensor {prefix + name} has shape {found}, but config.json asks for "
                f"{shape}; they describe different models"
            )
    unexpected = [name for name in _tower_names(checkpoint, prefix, config) if name not in expected]
    if unexpected:
        raise CheckpointError(
            f"{checkpoint.source}: {_some(prefix, unexpected)} unexpected in this tower; "
            "config.json describes another model, perhaps with another num_hidden_layers"
        )
    return {name: prefix + name for name in expected}


def load_vision_weights(checkpoint: Checkpoint, config: SiglipVisionConfig, ops: Backend) -> VisionWeights:
    """Read the tower from a checkpoint and prepare its linear maps for a backend.

    Parameters
    ----------
    checkpoint : Checkpoint
    config : SiglipVisionConfig
    ops : Backend
        Prepares the weights for itself.

    Raises
    ------
    CheckpointError
        See `find_vision_tensors`.
    """
    names = find_vision_tensors(checkpoint, config)

    def tensor(name: str) -> np.ndarray:
        return checkpoint.tensor(names[name])

    def raw(name: str, separator: str = ".") -> LinearWeights:
        return LinearWeights(tensor(f"{name}{separator}weight"), tensor(f"{name}{separator}bias"))

    def release(*weights: str) -> None:
        # A backend that made copies needs the file no more; both at once would be twice the memory.
        if not ops.keeps_weights:
            for name in weights:
                checkpoint.release(names[name])

    def linear(name: str) -> Any:
        prepared = ops.prepare_linear(*raw(name))
        release(f"{name}.weight")
        return prepared

    def layer_norm(name: str) -> LayerNormWeights:
        return LayerNormWeights(tensor(f"{name}.weight"), tensor(f"{name}.bias"))

    def stacked(name: str, projections: tuple[str, ...]) -> Any:
        # self_attn.{q,k,v}_proj, each (D, D), become one map with the rows of q, then k, then v.
        weight = np.concatenate([tensor(f"{name}.{p}.weight") for p in projections])
        release(*(f"{name}.{p}.weight" for p in projections))
        return ops.prepare_linear(weight, np.concatenate([tensor(f"{name}.{p}.bias") for p in projections]))

    def encoder_layer(index: int) -> EncoderLayerWeights:
        name = f"encoder.layers.{index}"
        return EncoderLayerWeights(
            layer_norm1=layer_norm(f"{name}.layer_norm1"),
            query_key_value=stacked(f"{name}.self_attn", ("q_proj", "k_proj", "v_proj")),
            out_proj=linear(f"{name}.self_attn.out_proj"),
            layer_norm2=layer_norm(f"{name}.layer_norm2"),
            fc1=linear(f"{name}.mlp.fc1"),
            fc2=linear(f"{name}.mlp.fc2"),
        )

    def pooling_head() -> PoolingHeadWeights:
        # head.attention.in_proj_weight (3 D, D) holds q, k, v; head.probe (1, 1, D) is one vector.
        attention = ops.prepare_attention_pooling(
            tensor("head.probe").reshape(config.hidden_size),
            raw("head.attention.in_proj", separator="_"),
            raw("head.attention.out_proj"),
            config.num_attention_heads,
        )
        release("head.attention.in_proj_weight", "head.attention.out_proj.weight")
        return PoolingHeadWeights(
            attention=attention,
            layernorm=layer_norm("head.layernorm"),
            fc1=linear("head.mlp.fc1"),
            fc2=linear("head.mlp.fc2"),
        )

    # embeddings.patch_embedding.weight (D, C, P, P): a filter in memory order is one row of features.
    filters = tensor("embeddings.patch_embedding.weight").reshape(config.hidden_size, -1)
    patch_embedding = ops.prepare_linear(filters, tensor("embeddings.patch_embedding.bias"))
    release("embeddings.patch_embedding.weight")
    return VisionWeights(
        patch_embedding=patch_embedding,
        position_embedding=tensor("embeddings.position_embedding.weight"),
        layers=tuple(encoder_layer(index) for index in range(config.num_hidden_layers)),
        post_layernorm=layer_norm("post_layernorm"),
        head=pooling_head() if config.vision_use_head else None,
    )


def _find_prefix(checkpoint: Checkpoint) -> str:
    """What stands before the tower's names: nothing, ``vision_model.``, ``vision_tower.vision_model.`` ..."""
    marks = [name for name in checkpoint if name == _MARK or name.endswith("." + _MARK)]
    if not marks:
        raise CheckpointError(
            f"{checkpoint.source}: no tensor whose name ends in {_MARK}, so no SigLIP vision tower "
            "in the layout of transformers; convert the checkpoint to that layout"
        )
    if len(marks) > 1:
        raise CheckpointError(f"{checkpoint.source}: more than one vision tower ({', '.join(marks)})")
    return marks[0][: -len(_MARK)]


def _tower_names(checkpoint: Checkpoint, prefix: str, config: SiglipVisionConfig) -> list[str]:
    """Names in the checkpoint that belong to the tower, without the prefix."""
    inside = [name[len(prefix) :] for name in checkpoint if name.startswith(prefix)]
    if not prefix:  # nothing sets the tower apart from other parts but the names of its own parts
        inside = [name for name in inside if name.startswith(_ROOTS)]
    if not config.vision_use_head:  # the configuration chose to leave a head alone
        inside = [name for name in inside if not name.startswith("head.")]
    return [name for name in inside if name not in _IGNORED]


def _some(prefix: str, names: list[str]) -> str:
    shown = ", ".join(prefix + name for name in names[:3])
    more = f" and {len(names) - 3} more are" if len(names) > 3 else (" are" if len(names) > 1 else " is")
    return f"tensor{'s' if len(names) > 1 else ''} {shown}{more}"
