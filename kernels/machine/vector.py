"""Sixteen float32 numbers as one value: the vocabulary in which compiled kernels are written.

A kernel loads 16 neighbours from a flat array, computes with them as if they were one number, and
stores them:

    store(y, i, fma(load(x, i), weight, bias))

Sixteen is one AVX-512 register, two AVX registers, four of SSE or NEON. The number is the same
everywhere, on purpose: which elements are added to which does not depend on the machine, and no operation
below leaves its rounding to the compiler, so a kernel gives the same bits on all of them.

Vectors add, subtract, multiply, divide and compare with ``+ - * / < >``, with one another and with
float32 scalars, which stand for 16 equal lanes. The functions below do the rest; their bodies say what
they do in NumPy (and are what runs where compilation is disabled), `vector_emission` says in which machine
instructions. Indices count elements, not vectors, and nothing checks them: kernels are called through
functions that do. Constants have to be ``np.float32``, for a Python float would turn everything to float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compilation import instruction

LANES = 16
EXPONENT_BIAS = 127
"""What a float32 adds to an exponent before it stores it."""
Vector = Any
"""Sixteen lanes of float32: inside compiled code a register, in plain Python an array."""


@instruction
def load(array: np.ndarray, index: int) -> Vector:
    """Sixteen neighbours from a flat float32 array."""
    return array[index : index + LANES].copy()


@instruction
def load_part(array: np.ndarray, index: int, count: int) -> Vector:
    """The first ``count`` lanes from an array, zero in the others; nothing beyond is touched."""
    vector = np.zeros(LANES, np.float32)
    vector[:count] = array[index : index + count]
    return vector


@instruction
def store(array: np.ndarray, index: int, vector: Vector) -> None:
    """Write sixteen neighbours."""
    array[index : index + LANES] = vector


@instruction
def store_part(array: np.ndarray, index: int, vector: Vector, count: int) -> None:
    """Write the first ``count`` lanes; nothing beyond is touched."""
    array[index : index + count] = vector[:count]


@instruction
def fill(value: float) -> Vector:
    """Sixteen equal lanes."""
    return np.full(LANES, value, np.float32)


@instruction
def fma(a: Vector, b: Vector, c: Vector) -> Vector:
    """A * b + c, rounded once."""
    # The product is exact in float64, the sum very nearly.
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)


@instruction
def select(mask: Vector, a: Vector, b: Vector) -> Vector:
    """Lane by lane ``a`` where the mask holds, ``b`` elsewhere."""
    return np.asarray(np.where(mask, a, b), np.float32)


@instruction
def absolute(a: Vector) -> Vector:
    """Without the sign."""
    return np.abs(a)


@instruction
def square_root(a: Vector) -> Vector:
    """The square root, correctly rounded."""
    return np.sqrt(a)


@instruction
def exponent_from(shifted: Vector) -> Vector:
    """2 ** n, for whole numbers -126 <= n <= 127 given as n + 127 + 1.5 * 2 ** 23.

    Adding that constant pushes the fraction of a small number out of its mantissa and leaves the whole
    part in its lowest bits, from where it can be shifted to the place of an exponent.
    """
    bits = np.asarray(shifted, np.float32).view(np.int32).astype(np.int64)
    return ((bits << 23) & 0xFFFFFFFF).astype(np.uint32).view(np.float32)


@instruction
def sum_lanes(a: Vector) -> float:
    """Sum of the lanes by halves: lane i and i + 8, then i and i + 4, i + 2, i + 1."""
    for half in (8, 4, 2, 1):
        a = a[:half] + a[half : 2 * half]
    return a[0]


@instruction
def max_lanes(a: Vector) -> float:
    """Largest lane, by halves like `sum_lanes`."""
    for half in (8, 4, 2, 1):
        a = np.where(a[:half] > a[half : 2 * half], a[:half], a[half : 2 * half])
    return a[0]


@instruction
def transpose_block(
    source: np.ndarray, index: int, stride: int, out: np.ndarray, offset: int, step: int
) -> None:
    """Turn 16 rows of 16 numbers over: row r of the result is column r of the source.

    Rows of the source lie ``stride`` elements apart, those of the result ``step``.
    """
    block = np.array([source[index + r * stride : index + r * stride + LANES] for r in range(LANES)])
    for r in range(LANES):
        out[offset + r * step : offset + r * step + LANES] = block[:, r]
