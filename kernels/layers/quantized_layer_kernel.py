"""Compiled layers whose four linear maps are quantised: `layer_kernel` with integers in it.

Layer norms, attention and the residual stream are of float32. What a product reads is quantised just before,
row by row, where the operation before it left it in the caches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..attention.attention_packing import HeadStrides, pack_keys_and_values
from ..attention.attention_product import attend
from ..machine.addresses import array_at
from ..machine.compilation import kernel, part, routine
from ..machine.runtime import Runtime, flat
from ..machine.threads import counters_of_a_kernel, finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES
from ..products.integer_product import PackedIntegers, multiply_integers
from ..rows.activations import IDENTITY
from ..rows.layer_norm import normalise_row
from ..rows.quantization import quantize, quantize_row
from ..tiles.integer_tile import ZERO_POINT
from ..tiles.packing import row_place
from .layer_kernel import KERNELS_OF_IMAGES, Program, run_program
from .quantized_layer_plan import QuantizedLayerPlan, plan_quantized_layer

_KERNELS_OF_PIECE = 9
"""What a layer calls for each piece of its rows."""

_NORMS, _ARRAYS_OF_MAP = 4, 4
"""Arrays in a row of the table: those of the norms, and then those of each of the four maps."""

_ROWS_OF_TASK = 4


class QuantizedLayerOperands(NamedTuple):
    """The weights of one layer as compiled code takes them."""

    norm1_weight: np.ndarray
    norm1_bias: np.ndarray
    norm2_weight: np.ndarray
    norm2_bias: np.ndarray
    query_key_value: PackedIntegers
    out_proj: PackedIntegers
    fc1: PackedIntegers
    fc2: PackedIntegers


def quantized_layer_operands(weights: Any) -> list[np.ndarray]:
    """The arrays of an `EncoderLayerWeights` whose linear maps are packed integers, for `table_of`.

    Examples
    --------
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler, quantized_encoder_layer_operands
    >>> draw = Sampler(seed=0, runtime=Runtime(threads=1))
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> operands = quantized_encoder_layer_operands(draw, **shape, activation="relu")
    >>> len(quantized_layer_operands(operands["weights"]))
    20
    """
    norms = [*map(flat, weights.layer_norm1), *map(flat, weights.layer_norm2)]
    maps = (weights.query_key_value, weights.out_proj, weights.fc1, weights.fc2)
    return norms + [array for linear in maps for array in linear[:_ARRAYS_OF_MAP]]


def run_quantized_layers(
    runtime: Runtime,
    hidden: np.ndarray,
    table: np.ndarray,
    num_heads: int,
    activation: str,
    eps: float,
) -> np.ndarray:
    """Take hidden states (batch, tokens, width) through the layers of a table.

    Examples
    --------
    >>> from numpy_siglip.kernels.machine.addresses import table_of
    >>> from numpy_siglip.kernels.catalogue.sampling import Sampler, quantized_encoder_layer_operands
    >>> runtime = Runtime(threads=1)
    >>> shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    >>> draw = Sampler(seed=0, runtime=runtime)
    >>> operands = quantized_encoder_layer_operands(draw, **shape, activation="relu")
    >>> table = table_of([quantized_layer_operands(operands["weights"])])
    >>> run_quantized_layers(runtime, operands["hidden"], table, 2, "relu", eps=0.1).shape
    (1, 2, 4)
    """
    bias_of_fc1 = _NORMS + 3 * _ARRAYS_OF_MAP - 1
    inner = int(table[0, bias_of_fc1, 1])
    program = Program(encode_quantized, plan_quantized_layer, _KERNELS_OF_PIECE)
    return run_program(runtime, program, hidden, table, inner, num_heads, activation, eps)


@kernel
def encode_quantized(
    hidden: np.ndarray,
    table: np.ndarray,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    groups: int,
    pieces: int,
    plan: QuantizedLayerPlan,
    last_plan: QuantizedLayerPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Take one group of images after the other through a layer, and then through the next.

    As `layer_kernel.encode`.
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
def _operands_at(table: np.ndarray, layer: int) -> QuantizedLayerOperands:
    row = table[layer]
    width = row[0, 1]
    inner = row[_NORMS + 3 * _ARRAYS_OF_MAP - 1, 1]
    return QuantizedLayerOperands(
        array_at(row[0, 0], width),
        array_at(row[1, 0], width),
        array_at(row[2, 0], width),
        array_at(row[3, 0], width),
        _map_at(row, 0, width),
        _map_at(row, 1, width),
        _map_at(row, 2, width),
        _map_at(row, 3, inner),
    )


@part
def _map_at(row: np.ndarray, number: int, in_features: int) -> PackedIntegers:
    first = _NORMS + number * _ARRAYS_OF_MAP
    return PackedIntegers(
        array_at(row[first, 0], row[first, 1]),
        array_at(row[first + 1, 0], row[first + 1, 1]),
        array_at(row[first + 2, 0], row[first + 2, 1]),
        array_at(row[first + 3, 0], row[first + 3, 1]),
        in_features,
        row[first + 3, 1],
    )


@routine
def _encode_images(
    hidden: np.ndarray,
    weights: QuantizedLayerOperands,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    pieces: int,
    plan: QuantizedLayerPlan,
    last_plan: QuantizedLayerPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Call the kernels of the parts; each returns when all threads are done with it.

    First all queries, keys and values, a piece of rows at a time, then the rest of the layer likewise; a
    piece of ``out`` is written when nobody needs the same piece of ``hidden`` any more.
    """
    width, inner = weights.norm1_weight.size, weights.fc1.out_features
    tokens = plan.attention.keys
    quantised = memory[plan.quantised : plan.scales]
    scales = memory[plan.scales : plan.heads]
    projected = memory[plan.projected : plan.keys]
    keys, values = memory[plan.keys : plan.values], memory[plan.values : plan.attending]
    attending = memory[plan.attending : plan.multiplying]
    own = memory[plan.multiplying : plan.normalising]
    normalising = memory[plan.normalising : plan.end]
    nothing = hidden[:0]

    counters = counters_of_a_kernel(progress[0])
    # Not as literals, for each combination of which Numba would compile another kernel.
    identity, plain, zero_point = np.int64(IDENTITY), np.int64(1), np.int64(ZERO_POINT)

    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first, rows = piece * plan.rows, here.rows
        _normalise_and_quantise(hidden[first * width : (first + rows) * width],
                                weights.norm1_weight, weights.norm1_bias, eps, normalising,
                                quantised, scales, here.query_key_value, progress, thread)  # fmt: skip
        multiply_integers(quantised, scales, rows, weights.query_key_value, identity, nothing,
                          projected[first * 3 * width :], own, here.query_key_value,
                          progress[counters:], thread)  # fmt: skip
        progress = progress[2 * counters :]
    pack_keys_and_values(
        projected, HeadStrides(width, 3 * width * tokens, 3 * width),
        projected, HeadStrides(2 * width, 3 * width * tokens, 3 * width),
        keys, values, last_plan.attention, progress, thread,
    )  # fmt: skip
    progress = progress[counters:]
    for piece in range(pieces):
        here = plan if piece < pieces - 1 else last_plan
        first, rows = piece * plan.rows, here.rows
        heads = memory[plan.heads : plan.heads + rows * width]
        middle = memory[plan.middle : plan.middle + rows * width]
        activated = memory[plan.activated : plan.activated + rows * inner]
        attend(projected, HeadStrides(first * 3 * width, 3 * width * tokens, 3 * width),
               keys, values, heads, width, plain, nothing, attending, here.attention,
               progress, thread)  # fmt: skip
        quantize(heads, width, zero_point, quantised, here.out_proj.row_size, here.out_proj.tile_rows, scales,
                 progress[counters:], thread)  # fmt: skip
        multiply_integers(quantised, scales, rows, weights.out_proj, identity,
                          hidden[first * width : (first + rows) * width], middle, own, here.out_proj,
                          progress[2 * counters :], thread)  # fmt: skip
        _normalise_and_quantise(middle, weights.norm2_weight, weights.norm2_bias, eps, normalising,
                                quantised, scales, here.fc1, progress[3 * counters :], thread)  # fmt: skip
        multiply_integers(quantised, scales, rows, weights.fc1, activation, nothing, activated, own, here.fc1,
                          progress[4 * counters :], thread)  # fmt: skip
        quantize(activated, inner, zero_point, quantised, here.fc2.row_size, here.fc2.tile_rows, scales,
                 progress[5 * counters :], thread)  # fmt: skip
        multiply_integers(quantised, scales, rows, weights.fc2, identity, middle, out[first * width :], own,
                          here.fc2, progress[6 * counters :], thread)  # fmt: skip
        progress = progress[7 * counters :]


@routine
def _normalise_and_quantise(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    own: np.ndarray,
    quantised: np.ndarray,
    scales: np.ndarray,
    plan: Any,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Normalise some rows a task, each into a row of the thread's own, from where it is quantised."""
    width = weight.size
    rows = x.size // width
    zero_point = np.int64(ZERO_POINT)
    mine = thread * (width + LANES - 1 & -LANES)
    tasks = (rows + _ROWS_OF_TASK - 1) // _ROWS_OF_TASK
    while True:
        task = next_task(progress, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * _ROWS_OF_TASK, min((task + 1) * _ROWS_OF_TASK, rows)):
            normalise_row(x, weight, bias, eps, row * width, width, own, mine, np.int64(1))
            place = row_place(row, plan.row_size, plan.tile_rows)
            scales[row] = quantize_row(own, mine, width, zero_point, quantised, place, plan.tile_rows)
        finish_task(progress, 0)
    wait_for_tasks(progress, 0, tasks)
