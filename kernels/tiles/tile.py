"""The register tile: the piece of a matrix product that is computed without touching memory.

    out[r, n] (+)= sum_k a[r, k] * b[k, n]        r < rows, n < 16 * vectors, k < 4 * steps

Every matrix product of the compiled backend, those inside attention included, is cut into such tiles.
A tile keeps its results in vector registers all along K: for every k it loads one row of ``b`` and
spreads one number of each row of ``a``, so that ``rows + vectors`` loads feed ``rows * vectors``
multiply-adds. (NEON multiplies by a lane of a register, and loads four numbers of a row at once.)
Registers decide its shape:

    accumulators + one row of b + one spread number <= registers of the machine

==========  =====================  ====  =======  =====================================  ======
processor   registers of 16 lanes  rows  vectors  needs                                  k-loop
==========  =====================  ====  =======  =====================================  ======
AVX-512     32                     8     3        24 + 3 + 1 = 28                        24 FMA on 11 loads
AVX2        8 (16 of 8 lanes)      6     1        6 + 1, and half of one to spread       12 FMA on 8 loads
NEON        8 (32 of 4 lanes)      5     1        5 + 1, and 5 quarters of one           20 FMA on 5 loads
others      4 (16 of 4 lanes)      2     1        2 + 1, and a quarter of one            plain SSE
==========  =====================  ====  =======  =====================================  ======

The order in which an element of the result is summed is that of k, with one fused multiply-add each, in
every tile of every shape. This is what makes results independent of the machine, of the number of
rows, and of where a row stands among others.

Memory order (see `packing`)
    a    blocks of 16 k, in each the rows of a panel, in each 16 neighbours: (K / 16, panel rows, 16)
    b    rows of k, each 16 * vectors wide: (4 * steps, 16 * vectors)
    out  element (r, v, lane) at ``r * row_stride + v * vector_stride + lane``
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..machine.compilation import instruction, jit_is_disabled
from ..machine.instruction_level import instruction_features
from ..machine.vector import LANES

BLOCK = LANES
"""Neighbours along K that lie together in a packed left operand. A tile's result is stored a vector at a
time, so blocks of one vector let it become the left operand of the next product as it stands."""


class Tile(NamedTuple):
    """Rows and vectors of a block of results that fits the registers."""

    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """Numbers in one row."""
        return self.vectors * LANES

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Heights that are compiled, for the last rows of a matrix too."""
        return tuple(sorted({1, self.rows // 2, self.rows}))


AVX512, AVX2, NEON, PORTABLE = Tile(8, 3), Tile(6, 1), Tile(5, 1), Tile(2, 1)


@functools.cache
def tile_of_this_machine() -> Tile:
    """The tile for the processor that Numba compiles for.

    Examples
    --------
    >>> tile_of_this_machine() in (AVX512, AVX2, NEON, PORTABLE)
    True
    """
    if jit_is_disabled():
        return AVX512
    features = instruction_features()
    if "avx512f" in features:
        return AVX512
    if {"avx2", "fma"} <= features:
        return AVX2
    return NEON if "aarch64" in features else PORTABLE


def multiplies_by_lane() -> bool:
    """Whether an instruction multiplies by one lane of a register, so that numbers need not be spread.

    Examples
    --------
    >>> multiplies_by_lane() in (True, False)
    True
    """
    return "aarch64" in instruction_features()


@instruction
def multiply_tile(
    rows: int,
    vectors: int,
    a: np.ndarray,
    a_index: int,
    b: np.ndarray,
    b_index: int,
    steps: int,
    out: np.ndarray,
    out_index: int,
    row_stride: int,
    vector_stride: int,
    resume: int,
    ahead: np.ndarray,
    ahead_index: int,
) -> None:
    """Multiply one tile.

    Parameters
    ----------
    rows : int
        Rows that are wanted, of those that the panel has. Others may be computed and written too.
    vectors : int
        Width of ``b``, from 1 to that of the machine's tile.
    a, a_index : flat ndarray and int
        Packed left operand and where its panel begins.
    b, b_index : flat ndarray and int
        Packed right operand and where its panel begins.
    steps : int
        A quarter of the number of k.
    out, out_index, row_stride, vector_stride : flat ndarray and ints
        Where the results go.
    resume : int
        If not 0, results are added to what ``out`` holds.
    ahead, ahead_index : flat ndarray and int
        Memory that is needed soon: two cache lines of it are fetched at each step.
    """
    panel_rows, depth, width = tile_of_this_machine().rows, 4 * steps, vectors * LANES
    rows = min(rows, panel_rows)
    blocks = -(-depth // BLOCK)
    left = a[a_index : a_index + blocks * panel_rows * BLOCK].reshape(blocks, panel_rows, BLOCK)
    left = left.transpose(1, 0, 2).reshape(panel_rows, -1)[:rows, :depth]
    right = b[b_index : b_index + depth * width].reshape(depth, width)
    product = (left.astype(np.float64) @ right).astype(np.float32).reshape(rows, vectors, LANES)
    for r in range(rows):
        for v in range(vectors):
            offset = out_index + r * row_stride + v * vector_stride
            before = out[offset : offset + LANES] if resume else np.float32(0)
            out[offset : offset + LANES] = before + product[r, v]
