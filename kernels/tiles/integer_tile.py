"""The register tile of integers: four products of 8-bit numbers where `tile` has one of float32.

    out[r, n] (+)= sum_k a[r, k] * b[k, n]        a unsigned, b signed 8-bit, sums of 32 bits

A *word* is four bytes, neighbours along K, in the place of a float32. With words for numbers everything
that `tile` and `packing` say holds here too, the shape of the tile included, and arrays of words are float32
arrays, whose bits are never taken for floats. One instruction multiplies the four pairs of two words and adds
the products to a sum of 32 bits; sums are exact while K is at most `LARGEST_DEPTH`.

===========  =====================================================  ======================================
processor    instructions                                           products in one register of 512 bits
===========  =====================================================  ======================================
AMX          ``tdpbusd`` on registers of its own (`matrix_tile`)    16 x 16 x 64 at once
AVX-512 VNNI ``vpdpbusd``, 512 bits                                 64
AVX-VNNI     ``vpdpbusd``, 256 bits, twice                          2 x 32
x86-64       ``pmaddwd`` of even and of odd bytes, widened to 16    2 x 2 x 16 (AVX2), 4 x 2 x 8 (SSE2)
others       shifts, products and sums of 32 bits                   whatever LLVM makes of them
===========  =====================================================  ======================================

All give the same integers. ``pmaddubsw``, which would be the obvious choice without VNNI, does not: it
saturates at 16 bits (Intel, Software Developer's Manual, volume 2).
"""

from __future__ import annotations

import numpy as np

from ..machine.compilation import instruction
from ..machine.vector import LANES, Vector
from .tile import BLOCK, tile_of_this_machine

WORD = 4
"""Bytes of a word."""

ZERO_POINT = 128
"""What is added to a signed activation to make it unsigned."""

LARGEST_DEPTH = (2**31 - 1) // (255 * 127)
"""So many products of 255 and 127 still fit in 32 bits: 66311."""


@instruction
def multiply_integer_tile(
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
    """Multiply one tile; operands are those of `tile.multiply_tile`, in words."""
    panel_rows, depth, width = tile_of_this_machine().rows, 4 * steps, vectors * LANES
    rows = min(rows, panel_rows)
    blocks = -(-depth // BLOCK)
    left = a[a_index : a_index + blocks * panel_rows * BLOCK].view(np.uint8)
    left = left.reshape(blocks, panel_rows, WORD * BLOCK).transpose(1, 0, 2).reshape(panel_rows, -1)
    right = b[b_index : b_index + depth * width].view(np.int8).reshape(depth, width, WORD)
    right = right.transpose(0, 2, 1).reshape(depth * WORD, width)
    product = left[:rows, : depth * WORD].astype(np.int32) @ right.astype(np.int32)
    whole = out.view(np.int32)
    for r in range(rows):
        for v in range(vectors):
            offset = out_index + r * row_stride + v * vector_stride
            before = whole[offset : offset + LANES] if resume else np.int32(0)
            whole[offset : offset + LANES] = before + product[r, v * LANES : (v + 1) * LANES]


@instruction
def store_bytes(words: np.ndarray, index: int, shifted: Vector) -> None:
    """Write the lowest byte of the bits of 16 lanes, as four words.

    Of a number below 2 ** 22 to which 1.5 * 2 ** 23 was added, these are the lowest bits of the nearest
    whole number.
    """
    lowest = np.asarray(shifted, np.float32).view(np.int32).astype(np.uint8)
    words[index : index + LANES // WORD] = lowest.view(np.float32)


@instruction
def load_sums(sums: np.ndarray, index: int, corrections: np.ndarray, offset: int) -> Vector:
    """Sixteen sums of 32 bits, each with its correction added, as the nearest float32."""
    whole = sums[index : index + LANES].view(np.int32)
    return (whole + corrections[offset : offset + LANES].view(np.int32)).astype(np.float32)
