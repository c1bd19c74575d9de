"""The product of integers at the shapes of a model, and the most that the processor could do.

The peak is that of the instruction itself: as many independent sums as the register tile has, and nothing
loaded or stored. The arithmetic is that of `peaks`, with four products in the place of one:

    chains * 16 lanes * 4 (or 2) products * 2 (multiply and add) operations an iteration of every thread

A matrix unit, where there is one, has a peak of its own: 16 rows * 16 columns * 64 products * 2 operations an
instruction, with four independent sums.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numpy_siglip.kernels.machine.compilation import kernel
from numpy_siglip.kernels.machine.runtime import NOTHING, Runtime
from numpy_siglip.kernels.machine.threads import counters_of_a_kernel, finish_task, next_task, wait_for_tasks
from numpy_siglip.kernels.machine.vector import LANES
from numpy_siglip.kernels.products.integer_product import multiply_integers, plan_integer_product
from numpy_siglip.kernels.products.matrix_product import Plan
from numpy_siglip.kernels.tiles.integer_packing import PackedIntegers, pack_integers
from numpy_siglip.kernels.tiles.integer_tile import word_of_this_machine
from numpy_siglip.kernels.tiles.matrix_tile import close_matrix_unit, open_matrix_unit, uses_matrix_unit
from numpy_siglip.kernels.tiles.tile import tile_of_this_machine

_ITERATIONS, _UNROLLED, _PIECES = 20_000, 4, 8
_ROUNDS, _CALLS, _REPEATS = 20, 3, 10
_MATRIX_SUMS = 4
SHAPES = {
    "query, key, value": (196, 768, 2304),
    "attention output": (196, 768, 768),
    "MLP fc1": (196, 768, 3072),
    "MLP fc2": (196, 3072, 768),
}


@intrinsic
def _add_products(typing_context: Any, iterations: Any) -> Any:
    """Independent chains of the tile's own instruction."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numpy_siglip.kernels.machine.vector_emission import FLOATS, INDEX, INTS
        from numpy_siglip.kernels.tiles.integer_tile_emission import emit_dot

        tile = tile_of_this_machine()
        chains = range(tile.rows * tile.vectors)
        operand = builder.bitcast(ir.Constant(INTS, [0x01020304] * LANES), FLOATS)
        start = [builder.bitcast(ir.Constant(INTS, [chain] * LANES), FLOATS) for chain in chains]
        before, loop = builder.block, builder.append_basic_block("dot_loop")
        end = builder.append_basic_block("dot_end")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(INDEX)
        count.add_incoming(ir.Constant(INDEX, 0), before)
        variables = [builder.phi(FLOATS) for _ in chains]
        sums = list(variables)
        for _ in range(_UNROLLED):
            sums = [emit_dot(builder, operand, operand, value) for value in sums]
        following = builder.add(count, ir.Constant(INDEX, 1))
        count.add_incoming(following, loop)
        for variable, first, value in zip(variables, start, sums, strict=True):
            variable.add_incoming(first, before)
            variable.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[0]), loop, end)
        builder.position_at_end(end)
        total = builder.bitcast(sums[0], INTS)
        for value in sums[1:]:
            total = builder.add(total, builder.bitcast(value, INTS))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.int32(types.int64), code


@kernel
def _multiply_repeatedly(
    rows_of_words: np.ndarray,
    row_scales: np.ndarray,
    rows: int,
    weights: PackedIntegers,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    scratch: np.ndarray,
    plan: Plan,
    times: int,
    counters: np.ndarray,
    thread: int,
) -> int:
    """One product after the other, as in a layer, where nobody waits for Python."""
    taken = counters_of_a_kernel(counters[0])
    for _ in range(times):
        multiply_integers(
            rows_of_words, row_scales, rows, weights, activation, residual, out, scratch, plan,
            counters, thread,
        )  # fmt: skip
        counters = counters[taken:]
    return counters.size // taken


@intrinsic
def _multiply_matrices(typing_context: Any, iterations: Any) -> Any:
    """Independent sums of the matrix unit."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numpy_siglip.kernels.machine.vector_emission import BYTE, call_llvm

        if uses_matrix_unit():
            multiply = call_llvm(builder, "llvm.x86.tdpbusd", ir.VoidType(), BYTE, BYTE, BYTE)
            with cgutils.for_range(builder, arguments[0]):
                for total in range(_MATRIX_SUMS):
                    builder.call(multiply, [ir.Constant(BYTE, register) for register in (total, 4, 6)])
        return context.get_dummy_value()

    return types.void(types.int64), code


@kernel
def _matrix_loop(tasks: int, iterations: int, counters: np.ndarray, thread: int) -> None:
    open_matrix_unit()
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        _multiply_matrices(iterations)
        finish_task(counters, 0)
    close_matrix_unit()
    wait_for_tasks(counters, 0, tasks)


@kernel
def _dot_loop(tasks: int, iterations: int, out: np.ndarray, counters: np.ndarray, thread: int) -> None:
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        out[task] = _add_products(iterations)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


class IntegerPeak:
    """Measures what the instructions do that products of integers are made of.

    Parameters
    ----------
    runtime : Runtime
        Its threads are used.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sums = np.empty(_PIECES * runtime.threads, np.int32)
        self.gops()

    def gops(self) -> float:
        """Of the matrix unit, if products are computed by it, and otherwise of vectors."""
        return self.of_matrix_unit() if uses_matrix_unit() else self.of_vectors()

    def of_vectors(self) -> float:
        """Multiply and add of all threads now, in billions a second."""
        tile = tile_of_this_machine()
        words = tile.rows * tile.vectors * _UNROLLED * LANES
        start = time.perf_counter()
        self._runtime.run(_dot_loop, len(self._sums), _ITERATIONS, self._sums)
        return self._rate(words * word_of_this_machine().neighbours * 2, start)

    def of_matrix_unit(self) -> float:
        """The same of the matrix unit."""
        start = time.perf_counter()
        self._runtime.run(_matrix_loop, len(self._sums), _ITERATIONS, kernels=1)
        return self._rate(_MATRIX_SUMS * 16 * 16 * 64 * 2, start)

    def _rate(self, operations: int, start: float) -> float:
        return operations * _ITERATIONS * len(self._sums) / (time.perf_counter() - start) / 1e9


def measure_integer_products(threads: int) -> list[dict[str, Any]]:
    """Every shape in turn with the peak: billions of operations a second, and the share of the peak.

    Parameters
    ----------
    threads : int

    Returns
    -------
    list of dict
        ``name``, ``shape``, ``gops``, ``peak_gops`` and ``share``, medians over rounds; likewise
        ``matrix_peak_gops`` and ``matrix_share``, None where there is no matrix unit.
    """
    runtime = Runtime(threads)
    peak = IntegerPeak(runtime)
    peaks = [peak.of_vectors, peak.of_matrix_unit] if uses_matrix_unit() else [peak.of_vectors]
    results = []
    for name, (rows, depth, width) in SHAPES.items():
        draw = np.random.default_rng(0)
        weight = draw.integers(-127, 128, (width, depth)).astype(np.int8)
        weights = pack_integers(runtime, weight, np.ones(width))
        plan = plan_integer_product(rows, depth, width, threads)
        packed = runtime.empty(plan.packed_size)  # at a cache line, as in a model
        packed.view(np.uint8)[:] = draw.integers(0, 256, 4 * plan.packed_size)
        scratch, out = runtime.empty(threads * plan.tiles_size), runtime.empty(rows * width)
        operands = (
            packed,
            np.ones(rows, np.float32),
            rows,
            weights,
            0,
            NOTHING,
            out,
            scratch,
            plan,
            _REPEATS,
        )
        runtime.run(_multiply_repeatedly, *operands, kernels=_REPEATS)
        rounds = []
        for _ in range(_ROUNDS):
            seconds = []
            for _ in range(_CALLS):
                start = time.perf_counter()
                runtime.run(_multiply_repeatedly, *operands, kernels=_REPEATS)
                seconds.append(time.perf_counter() - start)
            gops = 2 * rows * depth * width * _REPEATS / median(seconds) / 1e9
            rounds.append((gops, *(measure() for measure in peaks)))
        shares = [median(row[0] / row[place] for row in rounds) for place in range(1, len(peaks) + 1)]
        results.append(
            {
                "name": name,
                "shape": [rows, depth, width],
                "gops": median(row[0] for row in rounds),
                "peak_gops": median(row[1] for row in rounds),
                "share": shares[0],
                "matrix_peak_gops": median(row[2] for row in rounds) if uses_matrix_unit() else None,
                "matrix_share": shares[1] if uses_matrix_unit() else None,
            }
        )
    return results
