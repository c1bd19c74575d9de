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

from .cost import Cost, float32_traffic


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
