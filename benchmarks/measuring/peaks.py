"""What the machine can do at most: multiply-adds that wait for nothing, and bytes copied.

Both loops run on all threads and are measured again beside every result they are set against, because the
speed of a shared machine drifts. The arithmetic of the first:

    chains * 16 lanes * 2 (multiply and add) flops an iteration of every thread

Each chain multiplies and adds into its own register; there are as many chains as the register tile has
accumulators, more than enough to hide the latency of a multiply-add (4 cycles, 2 a cycle: 8 chains).
Nothing is loaded and nothing is stored, which a real product cannot do without. The second loop counts
every byte twice, once read and once written.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numpy_siglip.kernels.machine.compilation import kernel
from numpy_siglip.kernels.machine.runtime import Runtime
from numpy_siglip.kernels.machine.threads import finish_task, next_task, wait_for_tasks
from numpy_siglip.kernels.machine.vector import LANES, load, store
from numpy_siglip.kernels.tiles.tile import tile_of_this_machine

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(64)
_ITERATIONS, _UNROLLED = 20_000, 4
_PIECES = 8
"""Tasks of a thread, so that threads that start late do not lengthen a measurement much."""

_COPIED_FLOATS = 32 * 2**20
"""128 MB, more than any cache that one of two threads can call its own."""


@intrinsic
def _multiply_and_add(typing_context: Any, iterations: Any) -> Any:
    """Independent chains of ``llvm.fma``, as many as a tile has accumulators."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tile = tile_of_this_machine()
        name, kind = f"llvm.fma.v{LANES}f32", ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, name)
        one = ir.Constant(_VECTOR, [1.0] * LANES)
        before, loop = builder.block, builder.append_basic_block("fma_loop")
        end = builder.append_basic_block("fma_end")
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(_INDEX)
        count.add_incoming(ir.Constant(_INDEX, 0), before)
        variables = [builder.phi(_VECTOR) for _ in range(tile.rows * tile.vectors)]
        sums = list(variables)
        for _ in range(_UNROLLED):
            sums = [builder.call(fma, [value, one, one]) for value in sums]
        following = builder.add(count, ir.Constant(_INDEX, 1))
        count.add_incoming(following, loop)
        for number, (variable, value) in enumerate(zip(variables, sums, strict=True)):
            variable.add_incoming(ir.Constant(_VECTOR, [float(number)] * LANES), before)
            variable.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, arguments[0]), loop, end)
        builder.position_at_end(end)
        total = sums[0]
        for value in sums[1:]:
            total = builder.fadd(total, value)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64), code


@kernel
def _fma_loop(tasks: int, iterations: int, out: np.ndarray, counters: np.ndarray, thread: int) -> None:
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        out[task] = _multiply_and_add(iterations)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@kernel
def _copy_loop(source: np.ndarray, out: np.ndarray, tasks: int, counters: np.ndarray, thread: int) -> None:
    size = source.size // tasks
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for i in range(task * size, (task + 1) * size, LANES):
            store(out, i, load(source, i))
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


class Peaks:
    """Measures both peaks of a number of threads.

    Parameters
    ----------
    runtime : Runtime
        Its threads are used.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks = _PIECES * runtime.threads
        self._sums = np.empty(self._tasks, np.float32)
        self._source, self._target = np.ones((2, _COPIED_FLOATS), np.float32)
        self.gflops()
        self.gigabytes()

    def gflops(self) -> float:
        """Multiply-adds of all threads now, in GFLOP/s."""
        tile = tile_of_this_machine()
        start = time.perf_counter()
        self._runtime.run(_fma_loop, self._tasks, _ITERATIONS, self._sums)
        seconds = time.perf_counter() - start
        flops = tile.rows * tile.vectors * _UNROLLED * LANES * 2 * _ITERATIONS * self._tasks
        return flops / seconds / 1e9

    def gigabytes(self) -> float:
        """Bytes read and written by a copy now, in GB/s."""
        start = time.perf_counter()
        self._runtime.run(_copy_loop, self._source, self._target, self._tasks)
        seconds = time.perf_counter() - start
        return 2 * self._source.nbytes / seconds / 1e9
