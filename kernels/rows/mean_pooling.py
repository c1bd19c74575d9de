"""The mean of all tokens of an image.

    y[b, d] = 1 / T * sum_t x[b, t, d]

Operands
    x  (batch, tokens, width), any float dtype, at least one token
Result
    (batch, width), the dtype of ``x``, C order. No padding is needed.
Cost
    One addition for each element, one division for each of the result. Input and result are touched once.
NaN
    Spreads to its column of its image.
Source
    ``SiglipForImageClassification`` in transformers' ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, store, store_part


def mean_pooling_reference(x: np.ndarray) -> np.ndarray:
    """Average over the middle axis.

    Parameters
    ----------
    x : ndarray of shape (batch, tokens, width)

    Returns
    -------
    ndarray of shape (batch, width)

    Examples
    --------
    >>> import numpy as np
    >>> mean_pooling_reference(np.array([[[1.0, 10.0], [3.0, 30.0]]]))
    array([[ 2., 20.]])
    """
    mean: np.ndarray = x.mean(axis=1)
    return np.ascontiguousarray(mean)


def mean_pooling_cost(*, batch: int, tokens: int, width: int) -> Cost:
    """Cost of one call."""
    return Cost(
        flops=batch * width * (tokens + 1), bytes=float32_traffic(batch * tokens * width, batch * width)
    )


# ----------------------------------------------------------------------------------------- compiled

_ZERO = np.float32(0)


def mean_pooling(runtime: Runtime, x: np.ndarray) -> np.ndarray:
    """Compute `mean_pooling_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (batch, tokens, width)

    Returns
    -------
    ndarray of shape (batch, width)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> mean_pooling(Runtime(threads=1), np.array([[[1.0, 10.0], [3.0, 30.0]]])).tolist()
    [[2.0, 20.0]]
    """
    batch, tokens, width = x.shape
    out = runtime.empty(batch, width)
    runtime.run(average_tokens, flat(x), out.reshape(-1), tokens, width)
    return out


@kernel
def average_tokens(
    x: np.ndarray, out: np.ndarray, tokens: int, width: int, counters: np.ndarray, thread: int
) -> None:
    """Take one image a task; a column is added from the first token to the last."""
    batch = out.size // width
    whole = width & -LANES
    rest = width - whole
    while True:
        image = next_task(counters, 0, batch, thread)
        if image < 0:
            break
        start = image * tokens * width
        for i in range(0, whole, LANES):
            total = fill(_ZERO)
            for token in range(tokens):
                total = total + load(x, start + token * width + i)
            store(out, image * width + i, total / np.float32(tokens))
        if rest:
            total = fill(_ZERO)
            for token in range(tokens):
                total = total + load_part(x, start + token * width + whole, rest)
            store_part(out, image * width + whole, total / np.float32(tokens), rest)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, batch)
