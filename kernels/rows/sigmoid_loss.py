"""The loss of pairs: each row belongs to the column of its own number, and to no other.

    loss[i] = -sum_j log(sigmoid(z[i, j] * logits[i, j]))        z = 1 on the diagonal, -1 elsewhere
            =  sum_j softplus(-z[i, j] * logits[i, j])           softplus(t) = max(t, 0) + log(1 + exp(-|t|))

In the second form no exponential overflows and no logarithm of zero is taken. The loss of a batch is the
mean of its rows.

Operands
    logits  (N, N), any float dtype
Result
    (N,), the dtype of ``logits``.
Cost
    6 flops an element: negation, magnitude, exponential, logarithm, two additions. Input and result are
    touched once.
NaN
    Spreads to its row. An infinity of the wrong sign makes its row infinite.
Source
    Zhai et al., 2023, equation 1, https://arxiv.org/abs/2303.15343; ``SiglipModel.forward`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, store, sum_lanes
from ..tiles.packing import round_up
from .activations import softplus, softplus_vector


def sigmoid_loss_reference(logits: np.ndarray) -> np.ndarray:
    """Sum the softplus of what every pair should not be.

    Parameters
    ----------
    logits : ndarray of shape (N, N)

    Returns
    -------
    ndarray of shape (N,)

    Examples
    --------
    Pairs that are told apart well cost nothing, and what is told wrongly costs its logit:

    >>> import numpy as np
    >>> sigmoid_loss_reference(np.array([[1000.0, -1000.0], [-1000.0, -7000.0]]))
    array([   0., 7000.])
    """
    signs = 2 * np.eye(len(logits), dtype=logits.dtype) - 1
    with np.errstate(invalid="ignore"):  # NaN stays NaN, and NumPy would say so
        return softplus(-signs * logits).sum(axis=-1)


def sigmoid_loss_cost(*, rows: int) -> Cost:
    """Cost of one call on as many columns as rows."""
    return Cost(flops=6 * rows * rows, bytes=float32_traffic(rows * rows, rows))


# ----------------------------------------------------------------------------------------- compiled

_ZERO, _MINUS_INFINITY = np.float32(0), np.float32(-np.inf)


def sigmoid_loss(runtime: Runtime, logits: np.ndarray) -> np.ndarray:
    """Compute `sigmoid_loss_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    logits : ndarray of shape (N, N)

    Returns
    -------
    ndarray of shape (N,)

    Raises
    ------
    ValueError
        If there are not as many columns as rows.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> sigmoid_loss(Runtime(threads=1), np.array([[1000.0, -1000.0], [-1000.0, -7000.0]])).tolist()
    [0.0, 7000.0]
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits has shape {logits.shape}; there must be as many columns as rows")
    rows = len(logits)
    out = runtime.empty(rows)
    scratch = runtime.empty(runtime.threads * round_up(rows, LANES))
    runtime.run(sum_losses, flat(logits), out, scratch, rows)
    return out


@kernel
def sum_losses(
    logits: np.ndarray, out: np.ndarray, scratch: np.ndarray, columns: int, counters: np.ndarray, thread: int
) -> None:
    """Take some rows a task, each through a copy in the thread's scratch that is filled up with -inf."""
    padded = (columns + LANES - 1) // LANES * LANES
    whole = columns & -LANES
    start = thread * padded
    tasks = (columns + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * tuning.ROWS_OF_TASK, min((task + 1) * tuning.ROWS_OF_TASK, columns)):
            for i in range(0, whole, LANES):
                store(scratch, start + i, load(logits, row * columns + i))
            if whole < columns:
                store(scratch, start + whole, load_part(logits, row * columns + whole, columns - whole))
                for i in range(columns, padded):
                    scratch[start + i] = _MINUS_INFINITY  # of which the softplus is 0
            scratch[start + row] = -scratch[start + row]
            total = fill(_ZERO)
            for i in range(0, padded, LANES):
                total = total + softplus_vector(load(scratch, start + i))
            out[row] = sum_lanes(total)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)
