"""The configuration of a checkpoint that comes without one: shapes decide, and what they leave open is told.

What cannot be seen from shapes is taken from the settings that stand beside the weights, and else from
what was published; each such value comes with a line that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any

from ...common.checks import shown
from ...errors import CheckpointError, ConfigError
from ..checkpoint import TensorEntry

# Width to heads of every size of SigLIP: decode_variant in big_vision's models/vit.py, and g-opt.
_PUBLISHED_HEADS = {768: 12, 1024: 16, 1152: 16, 1536: 16}
# (patch, patches per side) of images that are no whole number of patches wide: So400m/14 at 384.
_PUBLISHED_SIZES = {(14, 27): 384}
_ACTIVATION = "gelu_pytorch_tanh"
_EPSILON = 1e-6
_MARK = "embeddings.patch_embedding.weight"

Values = dict[str, Any]
Tensors = Mapping[str, TensorEntry]


def infer_config(
    tensors: Tensors,
    given: Mapping[str, Mapping[str, Any]],
    num_heads: Mapping[str, int],
) -> tuple[Values, list[str], list[str]]:
    """Values of a ``config.json`` as transformers would write it.

    Beside them stand what of them is not from shapes alone, and what is given and not as SigLIP was
    published, one line each.

    Parameters
    ----------
    tensors : mapping of str to TensorEntry
        Under the names of transformers.
    given : mapping
        Fields of ``"vision"`` and of ``"text"`` that are known from elsewhere.
    num_heads : mapping of str to int
        Of ``"vision"`` and ``"text"``, where shapes tell them.

    Raises
    ------
    CheckpointError
        If positions are those of no square grid of patches.
    ConfigError
        If the number of attention heads is neither given nor published for this width.
    """
    notes: list[str] = []
    contradictions = [
        line for tower in ("vision", "text") for line in _contradictions(tower, given.get(tower, {}))
    ]
    prefix = next(name for name in tensors if name.endswith(_MARK)).removesuffix(_MARK)
    vision = _vision(tensors, prefix, dict(given.get("vision", {})), num_heads.get("vision"), notes)
    family = "siglip2" if vision["model_type"].startswith("siglip2") else "siglip"
    if "text_model.embeddings.token_embedding.weight" not in tensors:
        return vision, notes, contradictions
    text = _text(tensors, dict(given.get("text", {})), num_heads.get("text"), notes)
    text["model_type"] = f"{family}_text_model"
    return {"model_type": family, "text_config": text, "vision_config": vision}, notes, contradictions


def _contradictions(tower: str, given: Mapping[str, Any]) -> Iterator[str]:
    """What is given of a tower, and is not as every SigLIP was trained."""
    for name, published in (("hidden_act", _ACTIVATION), ("layer_norm_eps", _EPSILON)):
        if name in given and given[name] != published:
            yield f"{tower} {name} {shown(given[name])}, and every SigLIP was trained with {published}"


def _vision(tensors: Tensors, prefix: str, given: Values, heads: int | None, notes: list[str]) -> Values:
    filters = _entry(tensors, f"{prefix}embeddings.patch_embedding.weight").shape
    positions = _entry(tensors, f"{prefix}embeddings.position_embedding.weight")
    count, width = positions.shape[0], filters[0]
    side = isqrt(count)
    if side**2 != count:
        raise CheckpointError(
            f"{positions.file}: tensor {positions.name} has {count} positions, which are no square grid"
        )
    values = _encoder(tensors, prefix, width, "vision", given, heads, notes)
    if len(filters) == 4:
        patch = filters[2]
        size = _PUBLISHED_SIZES.get((patch, side), side * patch)
        if "image_size" not in given:
            notes.append(f"image_size {size}, from {side} x {side} positions of patches of {patch}")
        values |= {"num_channels": filters[1], "patch_size": patch, "image_size": size}
        values = {"model_type": "siglip_vision_model", **values}
    else:  # a linear map of patches, which lie in the order row, column, channel: NaFlex
        patch = isqrt(filters[1] // 3)
        values |= {"num_channels": 3, "patch_size": patch, "num_patches": count}
        values = {"model_type": "siglip2_vision_model", **values}
    return {**values, "vision_use_head": f"{prefix}head.probe" in tensors, **given}


def _text(tensors: Tensors, given: Values, heads: int | None, notes: list[str]) -> Values:
    vocabulary, width = tensors["text_model.embeddings.token_embedding.weight"].shape
    values = _encoder(tensors, "text_model.", width, "text", given, heads, notes)
    values["vocab_size"] = vocabulary
    values["max_position_embeddings"] = tensors["text_model.embeddings.position_embedding.weight"].shape[0]
    values["projection_size"] = tensors["text_model.head.weight"].shape[0]
    return {**values, **given}


def _encoder(
    tensors: Tensors, prefix: str, width: int, tower: str, given: Values, heads: int | None, notes: list[str]
) -> Values:
    layer = f"{prefix}encoder.layers."
    depth = 1 + max(
        (int(name[len(layer) :].partition(".")[0]) for name in tensors if name.startswith(layer)), default=-1
    )
    intermediate_size = _entry(tensors, f"{layer}0.mlp.fc1.weight").shape[0]
    if heads is None:
        heads = given.get("num_attention_heads") or _published_heads(tower, width, notes)
    if "hidden_act" not in given:
        notes.append(f"{tower} hidden_act {_ACTIVATION}, with which every SigLIP was trained")
    return {
        "hidden_size": width,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "hidden_act": _ACTIVATION,
        "layer_norm_eps": _EPSILON,
    }


def _entry(tensors: Tensors, name: str) -> TensorEntry:
    if name not in tensors:
        file = next(iter(tensors.values())).file
        raise CheckpointError(f"{file}: no tensor {name}, from whose shape the configuration is inferred")
    return tensors[name]


def _published_heads(tower: str, width: int, notes: list[str]) -> int:
    if width not in _PUBLISHED_HEADS:
        raise ConfigError(
            f"num_attention_heads of the {tower} tower cannot be told from the weights, and no published "
            f"tower is {width} wide; put "
            f'{{"{tower}_config": {{"num_attention_heads": N}}}} into a config.json beside the weights'
        )
    heads = _PUBLISHED_HEADS[width]
    notes.append(f"{tower} num_attention_heads {heads}, as every published tower of width {width} has")
    return heads
