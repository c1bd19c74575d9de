"""Softmax over the last axis.

    y[i] = exp(x[i] - m) / sum_j exp(x[j] - m),    m = max_j x[j]

Subtracting the maximum changes nothing, since numerator and denominator shrink by the same
factor exp(m), but it keeps every exponent at or below zero: nothing overflows, and the largest
term is exactly 1, so the sum cannot vanish.

Operands
    x  (..., n), any float dtype
Result
    (..., n), the dtype of ``x``, C order; each row is non-negative and sums to one. No padding is needed.
Cost
    5 flops an element: the maximum, the subtraction, the exponential, the sum, the division.
NaN
    Spreads over its row, as does +inf. -inf gives 0 unless the whole row is -inf, which has no
    softmax and gives NaN.
Source
    ``torch.nn.functional.softmax``, as in ``eager_attention_forward`` of transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel, part
from ..machine.elementary import exp_of_negative
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, max_lanes, select, store, store_part, sum_lanes


def softmax_reference(x: np.ndarray) -> np.ndarray:
    """Turn each row of scores into weights that sum to one.

    Parameters
    ----------
    x : ndarray of shape (..., n)

    Returns
    -------
    ndarray of shape (..., n)

    Examples
    --------
    >>> import numpy as np
    >>> softmax_reference(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, as the contract says
        shifted = x - x.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def softmax_cost(*, rows: int, width: int) -> Cost:
    """Cost of one call on ``rows`` rows of ``width`` scores."""
    return Cost(flops=5 * rows * width, bytes=float32_traffic(2 * rows * width))


# ----------------------------------------------------------------------------------------- compiled

_ZERO, _ONE, _MINUS_INFINITY = np.float32(0), np.float32(1), np.float32(-np.inf)


def softmax(runtime: Runtime, x: np.ndarray) -> np.ndarray:
    """Compute `softmax_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., n)

    Returns
    -------
    ndarray of shape (..., n)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> softmax(Runtime(threads=1), np.array([1000.0, 1000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    out = runtime.empty(*x.shape)
    width = x.shape[-1]
    vectors = -(-width // LANES)
    scratch = runtime.empty(runtime.threads * tuning.ROWS_OF_TASK * LANES * (vectors + ROOM_OF_A_ROW))
    runtime.run(softmax_rows, flat(x), out.reshape(-1), scratch, width)
    return out


@kernel
def softmax_rows(
    x: np.ndarray, out: np.ndarray, scratch: np.ndarray, width: int, counters: np.ndarray, thread: int
) -> None:
    """Take some rows a task, through a copy in scratch in which vectors of the rows alternate."""
    vectors, whole = (width + LANES - 1) // LANES, width // LANES
    step = tuning.ROWS_OF_TASK * LANES
    offset = thread * step * (vectors + ROOM_OF_A_ROW)
    room = offset + vectors * step
    count = x.size // width
    tasks = (count + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        first = task * tuning.ROWS_OF_TASK
        rows = min(tuning.ROWS_OF_TASK, count - first)
        for r in range(rows):
            source, target = (first + r) * width, offset + r * LANES
            for v in range(whole):
                store(scratch, target + v * step, load(x, source + v * LANES))
            if whole < vectors:
                last = load_part(x, source + whole * LANES, width - whole * LANES)
                store(scratch, target + whole * step, last)
        exclude_lanes(scratch, offset + (vectors - 1) * step, rows, width - (vectors - 1) * LANES)
        start_softmax(scratch, room, rows)
        raise_maxima(scratch, offset, step, vectors, room, rows)
        settle_maxima(scratch, room, rows)
        exponentials(scratch, offset, step, vectors, room, rows)
        for r in range(rows):
            scale = scale_of_row(scratch, room, r)
            source, target = offset + r * LANES, (first + r) * width
            for v in range(whole):
                store(out, target + v * LANES, load(scratch, source + v * step) * scale)
            if whole < vectors:
                last = load(scratch, source + whole * step) * scale
                store_part(out, target + whole * LANES, last, width - whole * LANES)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


# The steps of a softmax, for callers whose scores come bit by bit. Some rows are gone through together:
# vector v of row r lies at ``start + v * step + r * LANES``. What is known of a row so far, its maxima and
# the sums of its exponentials lane by lane, is kept in the same array, at ``room``.

ROOM_OF_A_ROW = 2
"""Vectors of room that each row needs."""


@part
def exclude_lanes(scores: np.ndarray, last: int, rows: int, lanes: int) -> None:
    """Fill the last vector of each row up with -inf, from the given lane on."""
    for r in range(rows):
        for lane in range(lanes, LANES):
            scores[last + r * LANES + lane] = _MINUS_INFINITY


@part
def start_softmax(scores: np.ndarray, room: int, rows: int) -> None:
    """Before the first score: no maximum and no sum."""
    for r in range(rows):
        store(scores, room + ROOM_OF_A_ROW * r * LANES, fill(_MINUS_INFINITY))
        store(scores, room + (ROOM_OF_A_ROW * r + 1) * LANES, fill(_ZERO))


@part
def raise_maxima(scores: np.ndarray, start: int, step: int, vectors: int, room: int, rows: int) -> None:
    """Take some more vectors of each row into account."""
    for r in range(rows):
        offset = room + ROOM_OF_A_ROW * r * LANES
        largest = load(scores, offset)
        for v in range(vectors):
            x = load(scores, start + v * step + r * LANES)
            largest = select(x > largest, x, largest)
        store(scores, offset, largest)


@part
def settle_maxima(scores: np.ndarray, room: int, rows: int) -> None:
    """After the last score: one maximum for all lanes."""
    for r in range(rows):
        offset = room + ROOM_OF_A_ROW * r * LANES
        scores[offset] = max_lanes(load(scores, offset))


@part
def exponentials(scores: np.ndarray, start: int, step: int, vectors: int, room: int, rows: int) -> None:
    """Replace some vectors of each row by exp(x - max), and add them up lane by lane, in their order."""
    fours = vectors & -4
    for r in range(rows):
        offset = room + ROOM_OF_A_ROW * r * LANES
        maximum, total, row = scores[offset], load(scores, offset + LANES), start + r * LANES
        for v in range(0, fours, 4):
            for i in range(row + v * step, row + (v + 4) * step, step):  # in one go, with constants at hand
                e = exp_of_negative(load(scores, i) - maximum)
                store(scores, i, e)
                total = total + e
        for v in range(fours, vectors):
            e = exp_of_negative(load(scores, row + v * step) - maximum)
            store(scores, row + v * step, e)
            total = total + e
        store(scores, offset + LANES, total)


@part
def scale_of_row(scores: np.ndarray, room: int, row: int) -> float:
    """What makes the exponentials of a row sum to one; the lanes of their sum are added by halves."""
    return _ONE / sum_lanes(load(scores, room + (ROOM_OF_A_ROW * row + 1) * LANES))
