"""Scaling of each row to Euclidean length 1.

    y = x / sqrt(sum(x^2))

so that the dot product of two rows is the cosine of the angle between them. A row is divided by its largest
magnitude first, and then no square of it overflows or vanishes.

Operands
    x  (..., width), any float dtype
Result
    (..., width), the dtype of ``x``, C order. A row of zeros stays as it is. No padding is needed.
Cost
    6 flops an element: magnitude, comparison, division by the largest, square, addition, division by the
    length. Input and result are touched once.
NaN
    Spreads over its row. An infinity gives a row of NaN.
Source
    ``torch.nn.functional.normalize``; ``SiglipModel.forward`` in transformers' ``modeling_siglip``, where a
    row of zeros becomes NaN.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel, part
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import (
    LANES,
    absolute,
    fill,
    fma,
    load,
    load_part,
    max_lanes,
    select,
    store,
    store_part,
    sum_lanes,
)


def l2_normalize_reference(x: np.ndarray) -> np.ndarray:
    """Divide each row by its largest magnitude, and then by its length.

    Parameters
    ----------
    x : ndarray of shape (..., width)

    Returns
    -------
    ndarray of shape (..., width)

    Examples
    --------
    >>> import numpy as np
    >>> l2_normalize_reference(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 1e-200]]))
    array([[0.6, 0.8],
           [0. , 0. ],
           [0. , 1. ]])
    """
    largest = np.abs(x).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # inf / inf is NaN, as the contract says
        scaled = x / (largest + (largest == 0))
    length = np.sqrt(np.sum(scaled * scaled, axis=-1, keepdims=True))
    return np.ascontiguousarray(scaled / (length + (length == 0)))


def l2_normalize_cost(*, rows: int, width: int) -> Cost:
    """Cost of one call on ``rows`` vectors."""
    return Cost(flops=6 * rows * width, bytes=float32_traffic(2 * rows * width))


# ----------------------------------------------------------------------------------------- compiled

_ZERO, _ONE = np.float32(0), np.float32(1)


def l2_normalize(runtime: Runtime, x: np.ndarray) -> np.ndarray:
    """Compute `l2_normalize_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., width)

    Returns
    -------
    ndarray of shape (..., width)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> y = l2_normalize(Runtime(threads=1), np.array([[3.0, 4.0], [0.0, 0.0]]))
    >>> [[round(float(value), 6) for value in row] for row in y]
    [[0.6, 0.8], [0.0, 0.0]]
    """
    out = runtime.empty(*x.shape)
    runtime.run(scale_to_length_one, flat(x), out.reshape(-1), x.shape[-1])
    return out


@kernel
def scale_to_length_one(
    x: np.ndarray, out: np.ndarray, width: int, counters: np.ndarray, thread: int
) -> None:
    """Take some rows a task. What is written first is the row divided by its largest magnitude."""
    rows = x.size // width
    tasks = (rows + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * tuning.ROWS_OF_TASK, min((task + 1) * tuning.ROWS_OF_TASK, rows)):
            largest = _largest_magnitude(x, row * width, width)
            _divide(x, out, row * width, width, _ONE if largest == _ZERO else largest)
            length = np.sqrt(_sum_of_squares(out, row * width, width))
            _divide(out, out, row * width, width, _ONE if length == _ZERO else length)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@part
def _largest_magnitude(x: np.ndarray, start: int, width: int) -> float:
    """Or a number that is no magnitude of a row with NaN in it, which the quotients then show."""
    largest = fill(_ZERO)
    whole = width & -LANES
    for i in range(0, whole, LANES):
        size = absolute(load(x, start + i))
        largest = select(size > largest, size, largest)
    if whole < width:
        size = absolute(load_part(x, start + whole, width - whole))
        largest = select(size > largest, size, largest)
    return max_lanes(largest)


@part
def _sum_of_squares(x: np.ndarray, start: int, width: int) -> float:
    """Vector by vector, and the lanes by halves."""
    total = fill(_ZERO)
    whole = width & -LANES
    for i in range(0, whole, LANES):
        value = load(x, start + i)
        total = fma(value, value, total)
    if whole < width:
        value = load_part(x, start + whole, width - whole)
        total = fma(value, value, total)
    return sum_lanes(total)


@part
def _divide(x: np.ndarray, out: np.ndarray, start: int, width: int, divisor: float) -> None:
    whole = width & -LANES
    for i in range(0, whole, LANES):
        store(out, start + i, load(x, start + i) / divisor)
    if whole < width:
        rest = width - whole
        store_part(out, start + whole, load_part(x, start + whole, rest) / divisor, rest)
