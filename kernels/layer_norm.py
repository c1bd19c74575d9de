"""Layer normalisation over the last axis.

    y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias

with the mean and the biased variance (divided by the width) of each row.

Operands
    x             (..., width), any float dtype
    weight, bias  (width,)
    eps           added to the variance, so that a constant row gives ``bias`` and not NaN
Result
    (..., width), the dtype of ``x``, C order. Nobody pads.
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

from .cost import Cost, float32_traffic


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
