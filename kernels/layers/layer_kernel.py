"""The compiled layers of `encoder` and `encoder_layer`: every operation between two calls from Python.

Weights of all layers are known to the kernel as a table of addresses; see `addresses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..attention.attention_packing import HeadStrides, pack_keys_and_values
from ..attention.attention_product import attend
from ..machine.addresses import array_at
from ..machine.compilation import kernel, part, routine
from ..machine.runtime import Runtime, flat
from ..machine.threads import counters_of_a_kernel
from ..machine.vector import LANES
from ..products.matrix_product import multiply
from ..rows.activations import IDENTITY, activation_code
from ..rows.layer_norm import normalise_rows
from .layer_plan import LayerPlan, cut_into_pieces, plan_layer

KERNELS_OF_IMAGES = 1
"""What a layer calls once for some images,"""
_KERNELS_OF_PIECE = 7
"""and for each piece of their rows."""

_KERNELS_OF_CALL = 2000
"""As many layers are computed in one call as call no more than this; each takes a kilobyte of counters."""


class LayerOperands(NamedTuple):
    """The weights of one layer as compiled code takes them."""

    norm1_weight: np.ndarray
    norm1_bias: np.ndarray
    query_key_value_panels: np.ndarray
    query_key_value_bias: np.ndarray
    out_proj_panels: np.ndarray
    out_proj_bias: np.ndarray
    norm2_weight: np.ndarray
    norm2_bias: np.ndarray
    fc1_panels: np.ndarray
    fc1_bias: np.ndarray
    fc2_panels: np.ndarray
    fc2_bias: np.ndarray


def layer_operands(weights: Any) -> LayerOperands:
    """The arrays of an `EncoderLayerWeights` whose linear maps are packed.

    Examples
    --------
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler, encoder_layer_operands
    >>> draw = Sampler(seed=0, runtime=Runtime(threads=1))
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> operands = encoder_layer_operands(draw, **shape, activation="relu")
    >>> layer_operands(operands["weights"]).fc1_bias.size
    5
    """
    return LayerOperands(
        *map(flat, weights.layer_norm1),
        *weights.query_key_value[:2],
        *weights.out_proj[:2],
        *map(flat, weights.layer_norm2),
        *weights.fc1[:2],
        *weights.fc2[:2],
    )


class Program(NamedTuple):
    """One way to compute a layer."""

    encode: Callable[..., Any]
    plan: Callable[..., Any]
    kernels_of_piece: int


def run_layers(
    runtime: Runtime, hidden: np.ndarray, table: np.ndarray, num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Take hidden states (batch, tokens, width) through the layers of a table.

    Examples
    --------
    >>> from numpy_siglip.kernels.machine.addresses import table_of
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler, encoder_layer_operands
    >>> runtime = Runtime(threads=1)
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> operands = encoder_layer_operands(Sampler(seed=0, runtime=runtime), **shape, activation="relu")
    >>> arrays = layer_operands(operands["weights"])
    >>> run_layers(runtime, operands["hidden"], table_of([arrays, arrays]), 2, "relu", eps=0.1).shape
    (1, 2, 4)
    """
    inner = int(table[0, LayerOperands._fields.index("fc1_bias"), 1])
    program = Program(encode, plan_layer, _KERNELS_OF_PIECE)
    return run_program(runtime, program, hidden, table, inner, num_heads, activation, eps)


def run_program(
    runtime: Runtime,
    program: Program,
    hidden: np.ndarray,
    table: np.ndarray,
    intermediate_size: int,
    num_heads: int,
    activation: str,
    eps: float,
) -> np.ndarray:
    """Cut a batch into groups of images and pieces of rows, and take it through the layers of a table.

    Many images keep the kernel busy for long, and then layers are called one by one, which needs fewer
    counters.

    Raises
    ------
    ValueError
        If the layers are of another width, or heads do not divide it.

    Examples
    --------
    >>> from numpy_siglip.kernels.machine.addresses import table_of
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler, encoder_layer_operands
    >>> runtime = Runtime(threads=1)
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> operands = encoder_layer_operands(Sampler(seed=0, runtime=runtime), **shape, activation="relu")
    >>> table = table_of([layer_operands(operands["weights"])])
    >>> program = Program(encode, plan_layer, _KERNELS_OF_PIECE)
    >>> run_program(runtime, program, operands["hidden"], table, 5, 2, "relu", eps=0.1).shape
    (1, 2, 4)
    """
    batch, tokens, width = hidden.shape
    if width != table[0, 0, 1] or width % num_heads:
        raise ValueError(
            f"hidden has shape {hidden.shape}; the layers are {table[0, 0, 1]} wide and of {num_heads} heads"
        )
    out = runtime.empty(batch, tokens, width)
    if not out.size:
        return out
    images, rows = cut_into_pieces(tokens, intermediate_size, runtime.threads)
    images = min(images, batch)
    groups, pieces = -(-batch // images), -(-tokens // rows)
    images_of_last = batch - (groups - 1) * images
    rows_of_last = images_of_last * (tokens - (pieces - 1) * rows)
    sizes = (width, intermediate_size, num_heads, runtime.threads)
    plan = program.plan(images, tokens, images * rows, *sizes)
    last_plan = program.plan(images_of_last, tokens, rows_of_last, *sizes)
    memory = runtime.empty(plan.end)
    kernels = groups * (KERNELS_OF_IMAGES + pieces * program.kernels_of_piece)
    at_once = max(1, _KERNELS_OF_CALL // kernels)
    source = flat(hidden)
    for first in range(0, len(table), at_once):
        some = table[first : first + at_once]
        runtime.run(
            program.encode,
            source,
            some,
            activation_code(activation),
            np.float32(eps),
            memory,
            out.reshape(-1),
            groups,
            pieces,
            plan,
            last_plan,
            kernels=len(some) * kernels,
        )
        source = out.reshape(-1)
    return out


@kernel
def encode(
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
    progress: np.ndarray,
    thread: int,
) -> None:
    """Take one group of images after the other through a layer, and then through the next.

    Every layer but the first reads ``out`` and writes it. The plan of the last piece is another one: of a
    group of fewer images, or of the last rows of an image.
    """
    counters = (KERNELS_OF_IMAGES + pieces * _KERNELS_OF_PIECE) * counters_of_a_kernel(progress[0])
    for layer in range(table.shape[0]):
        weights = _operands_at(table, layer)
        size = plan.attention.batch * plan.attention.keys * weights.norm1_weight.size
        source = hidden if layer == 0 else out
        for group in range(groups):
            _encode_images(
                source[group * size : (group + 1) * size],
                weights,
                activation,
                eps,
                memory,
                out[group * size : (group + 1) * size],
                pieces,
                plan,
                last_plan if pieces > 1 or group == groups - 1 else plan,
                progress[(layer * groups + group) * counters :],
                thread,
            )


@part
def _operands_at(table: np.ndarray, layer: int) -> LayerOperands:
    return LayerOperands(
        array_at(table[layer, 0, 0], table[layer, 0, 1]),
        array_at(table[layer, 1, 0], table[layer, 1, 1]),
        array_at(table[layer, 2, 0], table[layer, 2, 1]),
        array_at(table[layer, 3, 0], table[layer, 3, 1]),
        array_at(table[layer, 4, 0], table[layer, 4, 1]),
        array_at(table[layer, 5, 0], table[layer, 5, 1]),
        array_at(table[layer, 6, 0], table[layer, 6, 1]),
        array_at(table[layer, 7, 0], table[layer, 7, 1]),
        array_at(table[layer, 8, 0], table[layer, 8, 1]),
        array_at(table[layer, 9, 0], table[layer, 9, 1]),
        array_at(table[layer, 10, 0], table[layer, 10, 1]),
        array_at(table[layer, 11, 0], table[layer, 11, 1]),
    )


@routine
def _encode_images(
    hidden: np.ndarray,
    weights: LayerOperands,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    pieces: int,
    plan: LayerPlan,
    last_plan: LayerPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Call the kernels of the parts; each returns when all threads are done with it.

    First all queries, keys and values, a piece of rows at a time, then the rest of the layer likewise; a
    piece of ``out`` is written when nobody needs the same piece of ``hidden`` any more. What only a product
    reads is written packed.
    """
    width, inner = weights.norm1_weight.size, weights.fc1_bias.size
    tokens = plan.attention.keys
    panel_rows = plan.out_proj.tile_rows
    normed = memory[plan.normed : plan.heads]
    heads = memory[plan.heads : plan.middle]
    activated = memory[plan.activated : plan.projected]
    projected = memory[plan.projected : plan.keys]
    keys, values = memory[plan.keys : plan.values], memory[plan.values : plan.attending]
    attending = memory[plan.attending : plan.multiplying]
    own = memory[plan.multiplying : plan.end]
    width16, inner16 = plan.fc1.row_size, plan.fc2.row_size
    heads_are_packed = np.int64(plan.attention.head_dim % LANES == 0)
    heads_size, heads_rows = (width16, panel_rows) if heads_are_packed else (width, 1)

    counters = counters_of_a_kernel(progress[0])
    # Not as literals, for each combination of which Numba would compile another product.
    identity, plain, packed = np.int64(IDENTITY), np.int64(1), np.int64(1)

    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first = piece * plan.rows
        rows = here.rows
        normalise_rows(hidden[first * width : (first + rows) * width],
                       weights.norm1_weight, weights.norm1_bias, eps, normed, width, width16, panel_rows,
                       progress, thread)  # fmt: skip
        multiply(normed, packed, rows, width, weights.query_key_value_panels, weights.query_key_value_bias,
                 3 * width, identity, hidden[:0], projected[first * 3 * width :], 3 * width, plain,
                 own, here.query_key_value, progress[counters:], thread)  # fmt: skip
        progress = progress[2 * counters :]
    pack_keys_and_values(
        projected, HeadStrides(width, 3 * width * tokens, 3 * width),
        projected, HeadStrides(2 * width, 3 * width * tokens, 3 * width),
        keys, values, last_plan.attention, progress, thread,
    )  # fmt: skip
    progress = progress[counters:]
    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first = piece * plan.rows
        rows = here.rows
        middle = memory[plan.middle : plan.middle + rows * width]
        attend(projected, HeadStrides(first * 3 * width, 3 * width * tokens, 3 * width),
               keys, values, heads, heads_size, heads_rows, hidden[:0], attending, here.attention,
               progress, thread)  # fmt: skip
        multiply(heads, heads_are_packed, rows, width, weights.out_proj_panels, weights.out_proj_bias, width,
                 identity, hidden[first * width : (first + rows) * width], middle, width, plain,
                 own, here.out_proj, progress[counters:], thread)  # fmt: skip
        normalise_rows(middle, weights.norm2_weight, weights.norm2_bias, eps,
                       normed, width, width16, panel_rows, progress[2 * counters :], thread)  # fmt: skip
        multiply(normed, packed, rows, width, weights.fc1_panels, weights.fc1_bias, inner,
                 activation, hidden[:0], activated, inner16, panel_rows,
                 own, here.fc1, progress[3 * counters :], thread)  # fmt: skip
        multiply(activated, packed, rows, inner, weights.fc2_panels, weights.fc2_bias, width,
                 identity, middle, out[first * width :], width, plain,
                 own, here.fc2, progress[4 * counters :], thread)  # fmt: skip
        progress = progress[5 * counters :]
