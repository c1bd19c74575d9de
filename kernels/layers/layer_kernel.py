"""The compiled layers of `encoder` and `encoder_layer`: every operation between two calls from Python.

There is one text for weights of float32 and for quantised ones. What differs stands in `layer_operations`
under names of its own, so each of the two is compiled from the same lines, and only when it is used.

The weights of all layers are known to the kernel as a table of addresses; see `addresses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..attention.attention_packing import HeadStrides, pack_keys_and_values
from ..attention.attention_product import attend
from ..machine import tuning
from ..machine.addresses import array_at
from ..machine.compilation import kernel, part, routine
from ..machine.runtime import Runtime, flat
from ..machine.threads import counters_of_a_kernel
from ..machine.vector import LANES
from ..rows.activations import IDENTITY, activation_code
from ..tiles.integer_packing import PackedIntegers
from ..tiles.packing import PackedLinear
from .layer_operations import linear_at, make_operand, multiply_operand, normalize_operand, result_layout
from .layer_plan import LayerPlan, cut_into_pieces, plan_layer

_KERNELS_OF_IMAGES = 1
"""So many kernels are called once for the images of a group: the packing of keys and values."""
_KERNELS_OF_PIECE = 9
"""So many are called for each piece of their rows. `Team.run` raises an error if the two numbers are not
those of the calls in `_encode_images`."""

_NORMS, _MAPS = 4, 4
"""A row of the table begins with the four arrays of the two norms. The arrays of the four linear maps follow,
equally many of each."""


class LayerTable(NamedTuple):
    """Layers as compiled code takes them."""

    addresses: np.ndarray
    """int64 (layers, arrays of one, 2), made by `addresses.table_of`"""
    quantized: bool
    arrays: Sequence[Sequence[np.ndarray]]
    """What the addresses are of, kept alive"""

    @property
    def width(self) -> int:
        """Numbers in one token."""
        return int(self.addresses[0, 0, 1])

    @property
    def intermediate_size(self) -> int:
        """Width inside the MLP: the bias of fc1, which is the last array of its map, is as long."""
        arrays = self.addresses.shape[1]
        return int(self.addresses[0, _NORMS + (arrays - _NORMS) // _MAPS * 3 - 1, 1])


class LayerOperands(NamedTuple):
    """The weights of one layer in compiled code."""

    norm1_weight: np.ndarray
    norm1_bias: np.ndarray
    norm2_weight: np.ndarray
    norm2_bias: np.ndarray
    query_key_value: PackedLinear | PackedIntegers
    out_proj: PackedLinear | PackedIntegers
    fc1: PackedLinear | PackedIntegers
    fc2: PackedLinear | PackedIntegers


def run_layers(
    runtime: Runtime, hidden: np.ndarray, layers: LayerTable, num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Cut a batch into groups of images and pieces of rows, and take it through some layers.

    Many images keep the kernel busy for long, and then layers are called one by one, which needs fewer
    counters.

    Parameters
    ----------
    runtime : Runtime
    hidden : ndarray of shape (batch, tokens, width)
    layers : LayerTable
        Made by ``encoder_layer.layer_table``.
    num_heads : int
    activation : str
    eps : float

    Raises
    ------
    ValueError
        If the layers are of another width, or heads do not divide it.

    Examples
    --------
    >>> from numpy_siglip.kernels.catalogue.layers import encoder_layer_operands
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler
    >>> from numpy_siglip.kernels.layers.encoder_layer import layer_table
    >>> runtime = Runtime(threads=1)
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> operands = encoder_layer_operands(Sampler(seed=0, runtime=runtime), **shape, activation="relu")
    >>> table = layer_table([operands["weights"]] * 2)
    >>> run_layers(runtime, operands["hidden"], table, 2, "relu", eps=0.1).shape
    (1, 2, 4)
    """
    batch, tokens, width = hidden.shape
    if width != layers.width or width % num_heads:
        raise ValueError(
            f"hidden has shape {hidden.shape}; the layers are {layers.width} wide and of {num_heads} heads"
        )
    out = runtime.empty(batch, tokens, width)
    if not out.size:
        return out
    images, rows = cut_into_pieces(tokens, layers.intermediate_size, runtime.threads)
    images = min(images, batch)
    groups, pieces = -(-batch // images), -(-tokens // rows)
    images_of_last = batch - (groups - 1) * images
    rows_of_last = images_of_last * (tokens - (pieces - 1) * rows)
    sizes = (width, layers.intermediate_size, num_heads, runtime.threads, layers.quantized)
    plan = plan_layer(images, tokens, images * rows, *sizes)
    last_plan = plan_layer(images_of_last, tokens, rows_of_last, *sizes)
    row_scales = runtime.empty(plan.rows) if layers.quantized else None
    memory = runtime.empty(plan.end)
    kernels = groups * (_KERNELS_OF_IMAGES + pieces * _KERNELS_OF_PIECE)
    at_once = max(1, tuning.KERNELS_OF_CALL // kernels)
    source = flat(hidden)
    for first in range(0, len(layers.addresses), at_once):
        table = layers.addresses[first : first + at_once]
        runtime.run(
            encode,
            row_scales,
            source,
            table,
            activation_code(activation),
            np.float32(eps),
            memory,
            out.reshape(-1),
            groups,
            pieces,
            plan,
            last_plan,
            kernels=len(table) * kernels,
            keeping=layers,
        )
        source = out.reshape(-1)
    return out


@kernel
def encode(
    row_scales: np.ndarray | None,
    hidden: np.ndarray,
    table: np.ndarray,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    groups: int,
    pieces: int,
    plan: LayerPlan,
    last_plan: LayerPlan,
    counters: np.ndarray,
    thread: int,
) -> int:
    """Take one group of images after the other through a layer, and then through the next.

    Every layer but the first reads ``out`` and writes it. The plan of the last piece is another one: of a
    group of fewer images, or of the last rows of an image.
    """
    taken = counters_of_a_kernel(counters[0])
    for layer in range(table.shape[0]):
        weights = _operands_at(row_scales, table[layer])
        size = plan.attention.batch * plan.attention.keys * weights.norm1_weight.size
        source = hidden if layer == 0 else out
        for group in range(groups):
            left = _encode_images(
                row_scales,
                source[group * size : (group + 1) * size],
                weights,
                activation,
                eps,
                memory,
                out[group * size : (group + 1) * size],
                pieces,
                plan,
                last_plan if pieces > 1 or group == groups - 1 else plan,
                counters,
                thread,
            )
            counters = counters[counters.size - left :]
    return counters.size // taken


@part
def _operands_at(row_scales: np.ndarray | None, row: np.ndarray) -> LayerOperands:
    """One row of the table. All maps but fc2 take what the norms give."""
    width, arrays = row[0, 1], (row.shape[0] - _NORMS) // _MAPS
    fc2 = _NORMS + 3 * arrays
    return LayerOperands(
        array_at(row[0, 0], width),
        array_at(row[1, 0], width),
        array_at(row[2, 0], width),
        array_at(row[3, 0], width),
        linear_at(row_scales, row, _NORMS, width),
        linear_at(row_scales, row, _NORMS + arrays, width),
        linear_at(row_scales, row, _NORMS + 2 * arrays, width),
        linear_at(row_scales, row, fc2, row[fc2 - 1, 1]),
    )


@routine
def _encode_images(
    row_scales: np.ndarray | None,
    hidden: np.ndarray,
    weights: LayerOperands,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    pieces: int,
    plan: LayerPlan,
    last_plan: LayerPlan,
    counters: np.ndarray,
    thread: int,
) -> int:
    """Call the kernels of the parts; each returns when all threads are done with it.

    First all queries, keys and values, a piece of rows at a time, then the rest of the layer likewise; a
    piece of ``out`` is written when the same piece of ``hidden`` is not needed any more. How many counters
    are left is returned.
    """
    width, inner = weights.norm1_weight.size, weights.fc1.out_features
    tokens = plan.attention.keys
    operand = memory[plan.operand : plan.heads]
    heads = memory[plan.heads : plan.middle]
    activated = memory[plan.activated : plan.projected]
    projected = memory[plan.projected : plan.keys]
    keys, values = memory[plan.keys : plan.values], memory[plan.values : plan.scratch]
    scratch = memory[plan.scratch : plan.end]
    nothing = hidden[:0]
    # Attention writes whole vectors of a head, which are vectors of a packed row if they divide a head.
    heads_size, heads_rows = result_layout(row_scales, width, plan.out_proj)
    if plan.attention.head_dim % LANES > 0:
        heads_size, heads_rows = width, 1
    activated_size, activated_rows = result_layout(row_scales, inner, plan.fc2)
    taken = counters_of_a_kernel(counters[0])
    # Not as literals, for each combination of which Numba would compile another product.
    identity, plain = np.int64(IDENTITY), np.int64(1)

    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first, rows = piece * plan.rows, here.rows
        normalize_operand(row_scales, hidden[first * width : (first + rows) * width],
                          weights.norm1_weight, weights.norm1_bias, eps,
                          operand, scratch, here.query_key_value, counters, thread)  # fmt: skip
        counters = counters[taken:]
        multiply_operand(row_scales, operand, rows, weights.query_key_value, identity, nothing,
                         projected[first * 3 * width :], 3 * width, plain,
                         scratch, here.query_key_value, counters, thread)  # fmt: skip
        counters = counters[taken:]

    pack_keys_and_values(
        projected, HeadStrides(width, 3 * width * tokens, 3 * width),
        projected, HeadStrides(2 * width, 3 * width * tokens, 3 * width),
        keys, values, last_plan.attention, counters, thread,
    )  # fmt: skip
    counters = counters[taken:]

    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first, rows = piece * plan.rows, here.rows
        middle = memory[plan.middle : plan.middle + rows * width]
        attend(projected, HeadStrides(first * 3 * width, 3 * width * tokens, 3 * width), keys, values,
               heads, heads_size, heads_rows, nothing, scratch, here.attention, counters, thread)  # fmt: skip
        counters = counters[taken:]
        gathered = make_operand(row_scales, heads, heads_rows, rows, width,
                                operand, here.out_proj, counters, thread)  # fmt: skip
        counters = counters[taken:]
        multiply_operand(row_scales, gathered, rows, weights.out_proj, identity,
                         hidden[first * width : (first + rows) * width], middle, width, plain,
                         scratch, here.out_proj, counters, thread)  # fmt: skip
        counters = counters[taken:]

        normalize_operand(row_scales, middle, weights.norm2_weight, weights.norm2_bias, eps,
                          operand, scratch, here.fc1, counters, thread)  # fmt: skip
        counters = counters[taken:]
        multiply_operand(row_scales, operand, rows, weights.fc1, activation, nothing,
                         activated, activated_size, activated_rows,
                         scratch, here.fc1, counters, thread)  # fmt: skip
        counters = counters[taken:]
        inner_operand = make_operand(row_scales, activated, activated_rows, rows, inner,
                                     operand, here.fc2, counters, thread)  # fmt: skip
        counters = counters[taken:]
        multiply_operand(row_scales, inner_operand, rows, weights.fc2, identity, middle,
                         out[first * width :], width, plain,
                         scratch, here.fc2, counters, thread)  # fmt: skip
        counters = counters[taken:]
    return counters.size
