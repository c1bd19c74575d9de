"""Scaled dot products of every row of one matrix with every row of another.

    logits[i, j] = scale * sum_d x[i, d] * y[j, d] + bias

With rows of length 1 the sum is a cosine; scale and bias, which are learned, spread it over the range in
which a sigmoid tells pairs that belong together from those that do not.

Operands
    x            (M, width), any float dtype
    y            (N, width)
    scale, bias  numbers
Result
    (M, N), the dtype of ``x``, C order. No padding is needed.
Cost
    2 * M * N * width flops for the products and 2 * M * N for the rest. Operands and result are touched once.
NaN
    Spreads from x over its row, from y over its column.
Source
    Zhai et al., 2023, algorithm 1, https://arxiv.org/abs/2303.15343; ``SiglipModel.forward`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel
from ..machine.runtime import Runtime
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, fma, load, load_part, store, store_part
from ..tiles.packing import pack_linear
from .linear import linear


def similarity_reference(x: np.ndarray, y: np.ndarray, scale: float, bias: float) -> np.ndarray:
    """Multiply, scale, shift.

    Parameters
    ----------
    x : ndarray of shape (M, width)
    y : ndarray of shape (N, width)
    scale, bias : float

    Returns
    -------
    ndarray of shape (M, N)

    Examples
    --------
    >>> import numpy as np
    >>> similarity_reference(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8], [0.0, 1.0]]), 10.0, -5.0)
    array([[ 1., -5.]])
    """
    product: np.ndarray = np.matmul(x, y.T)
    return np.ascontiguousarray(product * x.dtype.type(scale) + x.dtype.type(bias))


def similarity_cost(*, rows: int, columns: int, width: int) -> Cost:
    """Cost of one call."""
    elements = rows * columns
    return Cost(
        flops=2 * elements * width + 2 * elements,
        bytes=float32_traffic(rows * width, columns * width, elements),
    )


# ----------------------------------------------------------------------------------------- compiled


def similarity(runtime: Runtime, x: np.ndarray, y: np.ndarray, scale: float, bias: float) -> np.ndarray:
    """Compute `similarity_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (M, width)
    y : ndarray of shape (N, width)
    scale, bias : float

    Returns
    -------
    ndarray of shape (M, N)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> x, y = np.array([[1.0, 0.0]]), np.array([[0.5, 0.8], [0.0, 1.0]])
    >>> similarity(Runtime(threads=1), x, y, 10.0, -5.0).tolist()
    [[0.0, -5.0]]
    """
    out = linear(runtime, x, pack_linear(runtime, y))
    runtime.run(scale_and_shift, out.reshape(-1), np.float32(scale), np.float32(bias))
    return out


@kernel
def scale_and_shift(x: np.ndarray, scale: float, bias: float, counters: np.ndarray, thread: int) -> None:
    """Replace some thousand elements a task by x * scale + bias."""
    tasks = (x.size + tuning.ELEMENTS_OF_TASK - 1) // tuning.ELEMENTS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        end = min((task + 1) * tuning.ELEMENTS_OF_TASK, x.size)
        for i in range(task * tuning.ELEMENTS_OF_TASK, end & -LANES, LANES):
            store(x, i, fma(load(x, i), fill(scale), fill(bias)))
        if end & LANES - 1:
            i, count = end & -LANES, end & LANES - 1
            store_part(x, i, fma(load_part(x, i, count), fill(scale), fill(bias)), count)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)
