"""Softmax over the last axis.

    y[i] = exp(x[i] - m) / sum_j exp(x[j] - m),    m = max_j x[j]

Subtracting the maximum changes nothing, since numerator and denominator shrink by the same
factor exp(m), but it keeps every exponent at or below zero: nothing overflows, and the largest
term is exactly 1, so the sum cannot vanish.

Operands
    x  (..., n), any float dtype
Result
    (..., n), the dtype of ``x``, C order; each row is non-negative and sums to one. Nobody pads.
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

from .compilation import kernel, part
from .cost import Cost, float32_traffic
from .elementary import exp_flushed
from .runtime import Runtime, flat
from .threads import finish_task, next_task, wait_for_tasks
from .vector import LANES, fill, load, load_part, max_lanes, select, store, store_part, sum_lanes


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

_ROWS_OF_TASK = 8
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
    >>> from numpy_siglip.kernels.runtime import Runtime
    >>> softmax(Runtime(threads=1), np.array([1000.0, 1000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    out = runtime.empty(*x.shape)
    width = x.shape[-1]
    padded = (width + LANES - 1) // LANES * LANES
    rows = runtime.empty(runtime.threads * padded)
    runtime.run(softmax_rows, flat(x), out.reshape(-1), rows, width)
    return out


@kernel
def softmax_rows(
    x: np.ndarray, out: np.ndarray, rows: np.ndarray, width: int, progress: np.ndarray, thread: int
) -> None:
    """Take some rows a task, each through a padded copy of a thread's own."""
    padded = (width + LANES - 1) // LANES * LANES
    whole = width & -LANES
    tasks = (x.size // width + _ROWS_OF_TASK - 1) // _ROWS_OF_TASK
    own = thread * padded
    while True:
        task = next_task(progress, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * _ROWS_OF_TASK, min((task + 1) * _ROWS_OF_TASK, x.size // width)):
            for i in range(0, whole, LANES):
                store(rows, own + i, load(x, row * width + i))
            if whole < width:
                store(rows, own + whole, load_part(x, row * width + whole, width - whole))
                for i in range(width, padded):
                    rows[own + i] = _MINUS_INFINITY
            scale = _ONE / exponentials(rows, own, LANES, padded // LANES)
            for i in range(0, whole, LANES):
                store(out, row * width + i, load(rows, own + i) * scale)
            if whole < width:
                store_part(out, row * width + whole, load(rows, own + whole) * scale, width - whole)
        finish_task(progress, 0)
    wait_for_tasks(progress, 0, tasks)


@part
def exponentials(row: np.ndarray, start: int, stride: int, vectors: int) -> float:
    """Replace a row by exp(x - max) and return the sum of that.

    The row consists of vectors ``stride`` elements apart, filled up with -inf. Lane by lane the vectors
    are added in their order, and then the lanes by halves.
    """
    largest = fill(_MINUS_INFINITY)
    for i in range(vectors):
        x = load(row, start + i * stride)
        largest = select(x > largest, x, largest)
    maximum = max_lanes(largest)
    total = fill(_ZERO)
    for i in range(vectors):
        e = exp_flushed(load(row, start + i * stride) - maximum)
        store(row, start + i * stride, e)
        total = total + e
    return sum_lanes(total)
