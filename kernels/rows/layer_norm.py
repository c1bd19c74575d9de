"""Layer normalisation over the last axis.

    y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias

with the mean and the biased variance (divided by the width) of each row.

Operands
    x             (..., width), any float dtype
    weight, bias  (width,)
    eps           added to the variance, so that a constant row gives ``bias`` and not NaN
Result
    (..., width), the dtype of ``x``, C order. No padding is needed.
Cost
    8 flops an element: one for the mean, three for the variance (subtract, multiply, add), one
    to subtract and one to divide, two for the affine map. Input, result and both vectors are
    touched once.
NaN
    Spreads over its row. An infinity gives a row of NaN.
Source
    Ba, Kiros and Hinton, 2016, https://arxiv.org/abs/1607.06450; ``torch.nn.LayerNorm``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel, part
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, Vector, fill, fma, load, load_part, store, store_part, sum_lanes
from ..tiles.packing import row_offset


def layer_norm_reference(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """Normalise each row to mean 0 and variance 1, then scale and shift each column.

    Parameters
    ----------
    x : ndarray of shape (..., width)
    weight, bias : ndarray of shape (width,)
    eps : float

    Returns
    -------
    ndarray of shape (..., width)

    Examples
    --------
    >>> import numpy as np
    >>> layer_norm_reference(np.array([[1.0, 3.0]]), np.array([2.0, 2.0]), np.zeros(2), eps=0.0)
    array([[-2.,  2.]])
    """
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, as the contract says
        centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    normalised = centred / np.sqrt(variance + x.dtype.type(eps))
    return normalised * weight + bias


def layer_norm_cost(*, rows: int, width: int) -> Cost:
    """Cost of one call on ``rows`` vectors."""
    return Cost(flops=8 * rows * width, bytes=float32_traffic(2 * rows * width, 2 * width))


# ----------------------------------------------------------------------------------------- compiled

_ZERO = np.float32(0)


def layer_norm(
    runtime: Runtime, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    """Compute `layer_norm_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., width)
    weight, bias : ndarray of shape (width,)
    eps : float

    Returns
    -------
    ndarray of shape (..., width)

    Raises
    ------
    ValueError
        If weight or bias has another length than the rows of ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> x, weight, bias = np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2)
    >>> layer_norm(Runtime(threads=1), x, weight, bias, eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    width = x.shape[-1]
    if weight.shape != (width,) or bias.shape != (width,):
        raise ValueError(f"x has shape {x.shape}, weight {weight.shape}, bias {bias.shape}")
    out = runtime.empty(*x.shape)
    runtime.run(
        normalize_rows, flat(x), flat(weight), flat(bias), np.float32(eps), out.reshape(-1), width, width, 1
    )
    return out


@kernel
def normalize_rows(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    out: np.ndarray,
    width: int,
    row_size: int,
    panel_rows: int,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Normalise some rows a task. A row stays in the first level of cache while it is read three times.

    The result is plain or packed, as ``row_size`` and ``panel_rows`` say; see `packing.row_offset`.
    """
    rows = x.size // width
    tasks = (rows + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * tuning.ROWS_OF_TASK, min((task + 1) * tuning.ROWS_OF_TASK, rows)):
            offset = row_offset(row, row_size, panel_rows)
            normalize_row(x, weight, bias, eps, row * width, width, out, offset, panel_rows)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@part
def normalize_row(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    start: int,
    width: int,
    out: np.ndarray,
    offset: int,
    panel_rows: int,
) -> None:
    """Normalise one row."""
    whole = width & -LANES
    rest = width - whole
    mean = _sum_of_powers(x, start, width, _ZERO, False) / np.float32(width)
    variance = _sum_of_powers(x, start, width, mean, True) / np.float32(width)
    scale = np.float32(1) / np.sqrt(variance + eps)
    for i in range(0, whole, LANES):
        normalised = (load(x, start + i) - mean) * scale
        store(out, offset + i * panel_rows, fma(normalised, load(weight, i), load(bias, i)))
    if rest:
        normalised = (load_part(x, start + whole, rest) - mean) * scale
        scaled = fma(normalised, load_part(weight, whole, rest), load_part(bias, whole, rest))
        if panel_rows == 1:
            store_part(out, offset + whole, scaled, rest)
        else:  # a packed row is filled up with what is finite, here zeros
            store(out, offset + whole * panel_rows, scaled)


@part
def _sum_of_powers(x: np.ndarray, start: int, width: int, centre: float, squared: bool) -> float:
    """Sum of x - centre, or of its square, over a row.

    Vector i is added to sum i mod 4, the four sums are added in pairs, and the lanes by halves: the same
    order on every machine, in four chains that do not wait for one another.
    """
    a, b, c, d = fill(_ZERO), fill(_ZERO), fill(_ZERO), fill(_ZERO)
    whole = width & -LANES
    quads = width & -(4 * LANES)
    for i in range(0, quads, 4 * LANES):
        a = _accumulate(a, load(x, start + i), centre, squared)
        b = _accumulate(b, load(x, start + i + LANES), centre, squared)
        c = _accumulate(c, load(x, start + i + 2 * LANES), centre, squared)
        d = _accumulate(d, load(x, start + i + 3 * LANES), centre, squared)
    for i in range(quads, whole, LANES):
        a = _accumulate(a, load(x, start + i), centre, squared)
    total = sum_lanes((a + b) + (c + d))
    for i in range(whole, width):  # what fills no vector
        value = x[start + i] - centre
        total = total + (value * value if squared else value)
    return total


@part
def _accumulate(total: Vector, x: Vector, centre: float, squared: bool) -> Vector:
    centred = x - centre
    return fma(centred, centred, total) if squared else total + centred
