"""exp, tanh, erfc and log1p on vectors of float32, of known error and the same bits everywhere.

A mathematical library chooses its code by the processor, and its last bits with it. These
functions are written in additions, multiplications, divisions and fused multiply-adds alone, each of
which has one correct result. Errors against float64, over every float32, in units in the last place:

=============== =====  ==========================================================================
exp_flushed     1.1    where the result is between 2^-126 and 2^127
exp_of_negative 1.1    likewise, for x <= 0
tanh            1.4
erfc            6      where the result is normal
log1p_small     2.0    for 0 <= x <= 1
=============== =====  ==========================================================================

NaN gives NaN. Coefficients are least-squares fits, weighted to even out the relative error, on Chebyshev
points of the intervals given beside them.
"""

from __future__ import annotations

import numpy as np

from .compilation import part
from .vector import EXPONENT_BIAS, Vector, absolute, exponent_from, fma, select

_f = np.float32
_ZERO, _HALF, _ONE, _TWO = _f(0), _f(0.5), _f(1), _f(2)

# x = n ln 2 + r. The first part of ln 2 has so few bits that its product with n is exact.
_LOG2_E = _f(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = _f(0.693359375), _f(-2.1219444e-4)
# Added to a small number, it leaves the nearest whole number, as the exponent of a float32 counts it.
_TO_WHOLE = _f(1.5 * 2**23 + EXPONENT_BIAS)
_EXPONENT_LOWEST, _EXPONENT_HIGHEST = _f(-88), _f(89)  # where n is -127 and 128


@part
def exp_flushed(x: Vector) -> Vector:
    """e^x = 2^n e^r, with r at most half of ln 2 away from 0; 0 below 2^-126 and infinity above 2^127.

    n is kept between -127 and 128, which as exponents of a float32 mean 0 and infinity.
    """
    return exp_of_negative(select(x > _EXPONENT_HIGHEST, _EXPONENT_HIGHEST, x))


@part
def exp_of_negative(x: Vector) -> Vector:
    """`exp_flushed` of what is known to be at most 0 (or NaN), which saves a comparison."""
    x = select(x < _EXPONENT_LOWEST, _EXPONENT_LOWEST, x)
    shifted = fma(x, _LOG2_E, _TO_WHOLE)
    return _exp_of_rest(x, shifted - _TO_WHOLE) * exponent_from(shifted)


@part
def _exp_of_rest(x: Vector, n: Vector) -> Vector:
    """e^r = 1 + r + r^2 P(r) with r = x - n ln 2."""
    r = fma(n, -_LN2_HIGH, x)
    r = fma(n, -_LN2_LOW, r)
    p = fma(r, _f(0.00139505043), _f(0.00836889818))
    p = fma(p, r, _f(0.041666206))
    p = fma(p, r, _f(0.166665182))
    p = fma(p, r, _HALF)
    return fma(fma(p, r, _ONE), r, _ONE)


@part
def tanh(x: Vector) -> Vector:
    """An odd polynomial near 0, and 1 - 2 / (e^(2|x|) + 1) elsewhere."""
    size = absolute(x)
    square = x * x
    p = fma(square, _f(-0.00571703678), _f(0.0206505787))
    p = fma(p, square, _f(-0.0537434965))
    p = fma(p, square, _f(0.133314908))
    p = fma(p, square, _f(-0.333332837))
    near = fma(p * square, x, x)
    far = _ONE - _TWO / (exp_flushed(size + size) + _ONE)
    far = select(x < _ZERO, _ZERO - far, far)
    return select(size < _f(0.625), near, far)


@part
def erfc(x: Vector) -> Vector:
    """1 - erf(x), to full relative accuracy for large x.

    For 0.5 <= z: t e^(-z^2) P(t) with t = 1 / (1 + z / 2). The square is computed with its rounding error,
    since an exponent of 80 that is off by one rounding would spoil six bits of the result.
    """
    z = absolute(x)
    t = _ONE / fma(z, _HALF, _ONE)
    p = fma(t, _f(-0.0612453856), _f(0.296325266))
    p = fma(p, t, _f(-0.512176752))
    p = fma(p, t, _f(0.306013495))
    p = fma(p, t, _f(-0.044812031))
    p = fma(p, t, _f(0.209766164))
    p = fma(p, t, _f(0.241491362))
    p = fma(p, t, _f(0.282571912))
    p = fma(p, t, _f(0.282076597))
    square = z * z
    error = fma(z, z, _ZERO - square)
    e = exp_flushed(_ZERO - square)  # from z = 9.2 on the result is subnormal
    far = p * t * fma(e, _ZERO - error, e)
    far = select(z > _f(10.06), _ZERO, far)
    far = select(x < _ZERO, _TWO - far, far)
    return select(z < _HALF, _ONE - _erf_near_zero(x), far)


@part
def _erf_near_zero(x: Vector) -> Vector:
    """Odd polynomial, for |x| <= 1."""
    square = x * x
    p = fma(square, _f(7.8891193e-5), _f(-0.000802084105))
    p = fma(p, square, _f(0.00518953521))
    p = fma(p, square, _f(-0.0268544443))
    p = fma(p, square, _f(0.112836003))
    p = fma(p, square, _f(-0.37612626))
    p = fma(p, square, _f(0.128379166))
    return fma(p, x, x)


@part
def log1p_small(x: Vector) -> Vector:
    """log(1 + x) for 0 <= x <= 1: 2 artanh(s) with s = x / (2 + x), an odd series in s."""
    s = x / (_TWO + x)
    square = s * s
    p = fma(square, _f(0.243009388), _f(0.214276567))
    p = fma(p, square, _f(0.286168844))
    p = fma(p, square, _f(0.39998877))
    p = fma(p, square, _f(0.666666746))
    return fma(p * square, s, s + s)
