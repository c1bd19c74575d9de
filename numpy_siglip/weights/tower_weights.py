"""The weights of a tower, vision or text: the names and shapes of its tensors, and finding them.

`tower_reader` turns an encoder's into operands; `vision_weights` and `text_weights` say what else each of
the two towers holds. In these four files, and nowhere else, tensors of transformers' layout are cut, stacked
or reshaped; `layouts` brings the others to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..checkpoints.checkpoint import LOGIT_BIAS, SCALE_SUFFIX, TensorEntry
from ..checkpoints.layouts.recognition import LAYOUTS
from ..checkpoints.other_quantization import refuse_quantized
from ..common.checks import shown
from ..errors import CheckpointError, ConfigError

Shapes = dict[str, tuple[int, ...]]
# Written by old versions of transformers: 0, 1, 2, ... and nothing else.
_IGNORED = frozenset({"embeddings.position_ids"})


_PROJECTION = re.compile(r"(\.self_attn\.)[qkv](_proj\.)")


class Tensors(Protocol):
    """What a model is built from: the tensors of a checkpoint under the names that transformers gives them.

    Besides what follows it is a mapping of names to `TensorEntry`; `Checkpoint` is one.
    """

    source: Any
    """What the user named, for messages"""

    def __getitem__(self, name: str) -> TensorEntry: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Any: ...
    def values(self) -> Any: ...  # noqa: D102

    def tensor(self, name: str) -> np.ndarray:
        """The numbers of a tensor in float32."""

    def stored(self, name: str) -> np.ndarray:
        """The numbers of a tensor as they are stored."""

    def scales(self, name: str) -> np.ndarray:
        """The scale of each row of a quantised tensor."""

    def rows(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Some rows of a tensor in float32: (...) -> (..., columns)."""

    def anew(self) -> Tensors:
        """The same tensors, of which nothing is held in memory."""


class TowerLayout(NamedTuple):
    """How a tower is told apart from what else a checkpoint holds."""

    kind: str
    """vision or text"""
    mark: str
    """A tensor that every such tower has and nothing else"""
    roots: tuple[str, ...]
    """What the names of its tensors begin with"""


def encoder_tensor_shapes(config: Any) -> Shapes:
    """Name and shape of every tensor of the encoder of a tower.

    Parameters
    ----------
    config : ConfigSection
        Of a tower.

    Examples
    --------
    >>> from numpy_siglip import SiglipTextConfig
    >>> shapes = encoder_tensor_shapes(SiglipTextConfig())
    >>> len(shapes), shapes["encoder.layers.11.mlp.fc1.weight"]
    (192, (3072, 768))
    """
    d, f = config.hidden_size, config.intermediate_size
    shapes: Shapes = {}
    for index in range(config.num_hidden_layers):
        layer = f"encoder.layers.{index}"
        shapes |= layer_norm_shapes(f"{layer}.layer_norm1", d)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear_shapes(f"{layer}.self_attn.{projection}", d, d)
        shapes |= layer_norm_shapes(f"{layer}.layer_norm2", d)
        shapes |= mlp_shapes(f"{layer}.mlp", d, f)
    return shapes


def layer_norm_shapes(name: str, width: int) -> Shapes:
    """Tensors of a layer norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name: str, out_features: int, in_features: int) -> Shapes:
    """Tensors of an affine map."""
    return {f"{name}.weight": (out_features, in_features), f"{name}.bias": (out_features,)}


def mlp_shapes(name: str, width: int, intermediate_size: int) -> Shapes:
    """Tensors of an MLP of two maps."""
    widen = linear_shapes(f"{name}.fc1", intermediate_size, width)
    return widen | linear_shapes(f"{name}.fc2", width, intermediate_size)


def count_parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers tensors of these shapes hold.

    Examples
    --------
    >>> count_parameters({"weight": (2, 3), "bias": (2,)})
    8
    """
    return sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())


def find_tensors(
    checkpoint: Tensors,
    layout: TowerLayout,
    expected: Shapes,
    *,
    left_out: tuple[str, ...] = (),
    advice: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Match a tower's tensor names with the names in a checkpoint, whatever their prefix.

    Parameters
    ----------
    checkpoint : Tensors
    layout : TowerLayout
    expected : dict of str to tuple of int
        Name and shape of every tensor.
    left_out : tuple of str
        Begins of names that may stand in the checkpoint and are not asked for.
    advice : dict of str to str, optional
        What to do if all that is missing begins with such a name.

    Returns
    -------
    dict of str to str
        From the names in ``expected`` to those of the checkpoint.

    Raises
    ------
    CheckpointError
        If a tensor is missing, has another shape, or belongs to the tower and has no place in it.
    """
    prefix = _find_prefix(checkpoint, layout)
    inside = [name[len(prefix) :] for name in checkpoint if name.startswith(prefix)]
    if not prefix:  # nothing sets the tower apart from other parts but the names of its own parts
        inside = [name for name in inside if name.startswith(layout.roots)]
    refuse_quantized(checkpoint.source, {prefix + name: checkpoint[prefix + name] for name in inside})
    missing = [name for name in expected if prefix + name not in checkpoint]
    if missing:
        what_to_do = "the file is incomplete, or config.json describes another model"
        for begin, specific in (advice or {}).items():
            if all(name.startswith(begin) for name in missing):
                what_to_do = specific
        raise CheckpointError(f"{checkpoint.source}: {_some(prefix, missing)} missing; {what_to_do}")
    for name, shape in expected.items():
        found = checkpoint[prefix + name].shape
        if found != shape:
            raise CheckpointError(
                f"{checkpoint.source}: tensor {prefix + name} has shape {found}, but config.json asks for "
                f"{shape}; they describe different models"
            )
    scales = {name + SCALE_SUFFIX for name in expected if checkpoint[prefix + name].dtype == "I8"}
    known = _IGNORED | expected.keys() | scales
    unexpected = [name for name in inside if name not in known and not name.startswith(left_out or ("\0",))]
    if unexpected:
        raise CheckpointError(
            f"{checkpoint.source}: {_some(prefix, unexpected)} unexpected in this tower; "
            "config.json describes another model, perhaps with another num_hidden_layers"
        )
    return {name: prefix + name for name in expected}


def is_part_of_any(name: str, layers: Iterable[str]) -> bool:
    """Whether a tensor belongs to one of some layers or maps.

    Examples
    --------
    >>> is_part_of_any("vision_model.encoder.layers.11.mlp.fc1.weight", ["encoder.layers.1", "mlp.fc1"])
    True
    >>> is_part_of_any("vision_model.encoder.layers.11.mlp.fc1.weight", ["encoder.layers.1"])
    False
    """
    return any(f".{layer}." in f".{name}" for layer in layers)


def stays_float(name: str, float32_layers: Iterable[str]) -> bool:
    """Whether a tensor is not to be quantised; queries, keys and values are one map, and go together.

    Examples
    --------
    >>> stays_float("encoder.layers.1.self_attn.v_proj.weight", ["encoder.layers.1.self_attn.q_proj"])
    True
    >>> stays_float("encoder.layers.1.self_attn.out_proj.weight", ["encoder.layers.1.self_attn.q_proj"])
    False
    """
    layers = list(float32_layers)
    names = [_PROJECTION.sub(rf"\g<1>{which}\g<2>", name) for which in "qkv"]
    return any(is_part_of_any(one, layers) for one in names)


def require_layers(layers: Iterable[str], names: Iterable[str]) -> None:
    """Refuse to go on without a layer that was named.

    Raises
    ------
    ConfigError
        If a layer has none of the tensors of these names.
    """
    names = list(names)
    for layer in layers:
        if not any(is_part_of_any(name, [layer]) for name in names):
            raise ConfigError(
                f"float32_layers names {shown(layer)}, and there is no such layer; a name is for example "
                "encoder.layers.0.mlp.fc1"
            )


def find_beside_towers(checkpoint: Tensors, name: str) -> str | None:
    """The stored name of a tensor that belongs to no tower, whatever its prefix; None if there is none.

    Raises
    ------
    CheckpointError
        If there are several of that name.
    """
    found = [stored for stored in checkpoint if stored == name or stored.endswith("." + name)]
    if len(found) > 1:
        raise CheckpointError(f"{checkpoint.source}: more than one {name} ({', '.join(found)})")
    return str(found[0]) if found else None


def find_scalar(checkpoint: Tensors, name: str) -> str | None:
    """The stored name of one of the numbers that every whole model has, `LOGIT_SCALE` or `LOGIT_BIAS`.

    Returns
    -------
    str or None
        None for a bias that the checkpoint leaves out, as one does that was trained with the loss of CLIP: it
        is 0.

    Raises
    ------
    CheckpointError
        If the scale is missing, there are several of that name, or a tensor holds more than one number.
    """
    found = find_beside_towers(checkpoint, name)
    if found is None:
        if name == LOGIT_BIAS:
            return None
        raise CheckpointError(
            f"{checkpoint.source}: tensor {name} is missing; a checkpoint of SiglipModel has it, that of a "
            "tower alone has not"
        )
    shape = checkpoint[found].shape
    if shape not in ((), (1,)):
        raise CheckpointError(f"{checkpoint.source}: tensor {found} has shape {shape}; it must be one number")
    return found


def read_scalar(checkpoint: Tensors, name: str) -> float:
    """One of these numbers.

    Raises
    ------
    CheckpointError
        As `find_scalar`.
    """
    found = find_scalar(checkpoint, name)
    return 0.0 if found is None else float(checkpoint.tensor(found).reshape(()))


def _find_prefix(checkpoint: Tensors, layout: TowerLayout) -> str:
    """What stands before the tower's names: nothing, ``vision_model.``, ``vision_tower.vision_model.`` ..."""
    mark, kind = layout.mark, layout.kind
    marks = [name for name in checkpoint if name == mark or name.endswith("." + mark)]
    if not marks:
        refuse_quantized(checkpoint.source, {name: checkpoint[name] for name in checkpoint})
        raise CheckpointError(
            f"{checkpoint.source}: no tensor whose name ends in {mark}, so no SigLIP {kind} tower "
            f"in the layout of {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}"
        )
    if len(marks) > 1:
        raise CheckpointError(
            f"{checkpoint.source}: more than one {kind} tower ({', '.join(marks)}), and a file of tensors "
            "does not say which is meant; save the one that you want by itself"
        )
    return str(marks[0][: -len(mark)])


def _some(prefix: str, names: list[str]) -> str:
    shown = ", ".join(prefix + name for name in names[:3])
    more = f" and {len(names) - 3} more are" if len(names) > 3 else (" are" if len(names) > 1 else " is")
    return f"tensor{'s' if len(names) > 1 else ''} {shown}{more}"
