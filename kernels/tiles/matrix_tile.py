"""The tile of integers on a matrix unit (AMX), in the steps of which it is made.

    out[r, n] (+)= sum_k a[r, k] * b[k, n]        r < 32, n < 32, as `integer_tile` says

The unit has eight registers of 16 rows of 64 bytes. ``tdpbusd`` takes two of them, 16 rows of ``a`` and 16
words of each of 16 columns of ``b``, and adds the product to a third: 256 times what ``vpdpbusd`` does on
registers of 512 bits, and the same integers (Intel, Software Developer's Manual, volume 2). Four registers
hold sums, two ``a``, two ``b``; the unit reads both from where `packing` puts them. So a tile is

    begin_sums, a multiply_step for every 16 words of K, end_sums

and between steps there is time for other work, which the processor does meanwhile: a step takes the unit 64
cycles, and everybody else 20 instructions. Without such a unit nothing is emitted for any of this.
"""

from __future__ import annotations

import functools

import numpy as np

from ..machine.compilation import instruction, jit_is_disabled
from ..machine.instruction_level import instruction_features
from .tile import BLOCK, Tile, tile_of_this_machine

MATRIX = Tile(32, 2)
STEP = BLOCK
"""Words of K in a step."""


@functools.cache
def uses_matrix_unit() -> bool:
    """Whether products of integers are computed by the matrix unit of the processor.

    Examples
    --------
    >>> uses_matrix_unit() in (True, False)
    True
    """
    return not jit_is_disabled() and "amx-int8" in instruction_features()


def integer_tile_of_this_machine() -> Tile:
    """The tile of products of integers for the processor that Numba compiles for.

    Examples
    --------
    >>> integer_tile_of_this_machine() in (MATRIX, tile_of_this_machine())
    True
    """
    return MATRIX if uses_matrix_unit() else tile_of_this_machine()


@instruction
def open_matrix_unit() -> None:
    """Say how large the registers are; every thread does, before its first tile."""


@instruction
def close_matrix_unit() -> None:
    """Leave the registers empty, so that they need not be saved when the system changes threads."""


@instruction
def begin_sums(sums: np.ndarray, index: int, resume: int) -> None:
    """Let sums be zero or, if ``resume`` is not 0, what was stored."""


@instruction
def multiply_step(rows: int, vectors: int, a: np.ndarray, a_index: int, b: np.ndarray, b_index: int) -> None:
    """Go 16 words along K."""


@instruction
def fetch_ahead(array: np.ndarray, index: int) -> None:
    """Fetch some cache lines that are needed soon, into the second level of cache."""


@instruction
def end_sums(sums: np.ndarray, index: int) -> None:
    """Store the sums: 32 rows of 32."""
