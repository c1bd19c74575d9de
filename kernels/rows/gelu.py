"""GELU, the Gaussian error linear unit: x times the chance that a standard normal lies below x.

    exact   gelu(x) = x * Phi(x) = x / 2 * erfc(-x / sqrt(2))
    tanh    gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))

The second is a cheap approximation of the first; they differ by at most 4.8e-4. SigLIP was
trained with the tanh form (``gelu_pytorch_tanh``), and a model should run with the one it was
trained with.

``erfc`` and not ``1 + erf``: for negative x the latter subtracts two numbers that are almost
equal and loses every digit of a small result. The tanh form has the same weakness in its
``1 + tanh``. The reference keeps it, to be the formula that was published; the compiled form
writes the same function without that sum and is accurate there.

Operand
    x  any shape, any float dtype
Result
    the shape and dtype of ``x``, C order
Cost
    exact 4 flops an element: x / sqrt(2), erfc, a half, one product; tanh 9: x^3 is two products,
    then one product, one sum, one product, tanh, one sum, two products. Read once, written once.
NaN
    NaN gives NaN, +inf gives +inf. -inf gives NaN, as in torch: it is the product of -inf and 0.
Source
    Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415; ``torch.nn.functional.gelu``
    with ``approximate="none"`` and ``"tanh"``.
"""

from __future__ import annotations

import math

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import part
from ..machine.elementary import erfc, exp_flushed
from ..machine.vector import Vector, fma

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
SQRT_HALF = math.sqrt(0.5)
CUBIC_TERM = 0.044715
GELU_TANH_FLOPS = 9
GELU_EXACT_FLOPS = 4

# NumPy has no erfc. Python's is correct to about one float64 rounding, one element at a time.
_erfc = np.frompyfunc(math.erfc, 1, 1)


def normal_distribution(x: np.ndarray) -> np.ndarray:
    """Phi(x), the chance that a standard normal variable lies below x, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> normal_distribution(np.array([-np.inf, 0.0, 1.0])).round(6).tolist()
    [0.0, 0.5, 0.841345]
    """
    return 0.5 * np.asarray(_erfc(x.astype(np.float64) * -SQRT_HALF), dtype=np.float64)


def gelu_tanh_reference(x: np.ndarray) -> np.ndarray:
    """GELU by its tanh approximation.

    Parameters
    ----------
    x : ndarray of any shape

    Returns
    -------
    ndarray of the same shape and dtype

    Examples
    --------
    >>> import numpy as np
    >>> gelu_tanh_reference(np.array([-1.0, 0.0, 1.0])).round(6).tolist()
    [-0.158808, 0.0, 0.841192]
    """
    with np.errstate(over="ignore", invalid="ignore"):  # x^3 may overflow; tanh(inf) is still 1
        inner = SQRT_2_OVER_PI * (x + CUBIC_TERM * (x * x * x))
        return 0.5 * x * (1.0 + np.tanh(inner))


def gelu_exact_reference(x: np.ndarray) -> np.ndarray:
    """GELU with the exact normal distribution function, computed in float64 and rounded once.

    Parameters
    ----------
    x : ndarray of any shape

    Returns
    -------
    ndarray of the same shape and dtype

    Examples
    --------
    >>> import numpy as np
    >>> gelu_exact_reference(np.array([-1.0, 0.0, 1.0])).round(6).tolist()
    [-0.158655, 0.0, 0.841345]
    """
    with np.errstate(invalid="ignore"):  # -inf * 0
        return (x * normal_distribution(x)).astype(x.dtype)


def gelu_tanh_cost(*, elements: int) -> Cost:
    """Cost of one call."""
    return Cost(flops=GELU_TANH_FLOPS * elements, bytes=float32_traffic(2 * elements))


def gelu_exact_cost(*, elements: int) -> Cost:
    """Cost of one call."""
    return Cost(flops=GELU_EXACT_FLOPS * elements, bytes=float32_traffic(2 * elements))


# ----------------------------------------------------------------------------------------- compiled

_ONE, _HALF = np.float32(1), np.float32(0.5)
_MINUS_SQRT_HALF = np.float32(-SQRT_HALF)
_MINUS_TWICE_SQRT_2_OVER_PI = np.float32(-2 * SQRT_2_OVER_PI)
_CUBIC_TERM = np.float32(CUBIC_TERM)


@part
def gelu_tanh_vector(x: Vector) -> Vector:
    """The tanh form of 16 numbers.

    With (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)) it takes one exponential and one division, and
    loses no digits to 1 + tanh where x is negative.
    """
    minus_two_u = _MINUS_TWICE_SQRT_2_OVER_PI * x * fma(x * x, _CUBIC_TERM, _ONE)
    return x / (exp_flushed(minus_two_u) + _ONE)


@part
def normal_distribution_vector(x: Vector) -> Vector:
    """Phi(x) of 16 numbers."""
    return erfc(x * _MINUS_SQRT_HALF) * _HALF


@part
def gelu_exact_vector(x: Vector) -> Vector:
    """The exact form of 16 numbers."""
    return x * normal_distribution_vector(x)
