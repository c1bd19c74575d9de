"""The register tile of integers: two or four products of 8-bit numbers where `tile` has one of float32.

    out[r, n] (+)= sum_k a[r, k] * b[k, n]        8-bit numbers, sums of 32 bits

A *word* holds neighbours along K in the place of a float32: four bytes or, on processors that multiply no
bytes, two numbers of 16 bits. With words for numbers everything that `tile` and `packing` say holds here too,
the shape of the tile included, and arrays of words are float32 arrays, whose bits are never taken for floats.
One or two instructions multiply the pairs of two words and add the products to a sum of 32 bits; sums are
exact while K is at most `LARGEST_DEPTH`.

============  =================================================  =============  ==========================
processor     instructions                                       word           products of 16 words
============  =================================================  =============  ==========================
AMX           ``tdpbusd``, registers of its own (`matrix_tile`)  bytes, + 128   16 x 16 x 64 at once
AVX-512 VNNI  ``vpdpbusd``, 512 bits                             bytes, + 128   64
AVX-VNNI      ``vpdpbusd``, 256 bits, twice                      bytes, + 128   2 x 32
Arm, dotprod  ``sdot``, 128 bits, four times                     signed bytes   4 x 16
x86-64        ``pmaddwd`` and ``paddd``                          pairs          32 (AVX-512BW), 2 x 16, 4 x 8
others        products and sums of 32 bits                       pairs          whatever LLVM makes of them
============  =================================================  =============  ==========================

All give the same integers. ``pmaddubsw``, which would be the obvious choice without VNNI, does not: it
saturates at 16 bits (Intel, Software Developer's Manual, volume 2). Instead the activations are written as 16
bits when they are quantised; weights stay bytes in memory, and each row of ``b`` is widened once for all rows
of the tile.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..machine.compilation import instruction, jit_is_disabled
from ..machine.instruction_level import instruction_features
from ..machine.vector import LANES, Vector
from .tile import BLOCK, tile_of_this_machine


class Word(NamedTuple):
    """What stands in the place of a float32 in the left operand."""

    neighbours: int
    """Numbers along K"""
    zero_point: int
    """What is added to each: 128 where they have to be unsigned"""


BYTES, SIGNED_BYTES, PAIRS = Word(4, 128), Word(4, 0), Word(2, 0)

LARGEST_DEPTH = (2**31 - 1) // (255 * 127)
"""So many products of 255 and 127 still fit in 32 bits: 66311."""


@functools.cache
def word_of_this_machine() -> Word:
    """The words of products of integers for the processor that is compiled for.

    Examples
    --------
    >>> word_of_this_machine() in (BYTES, SIGNED_BYTES, PAIRS)
    True
    """
    if jit_is_disabled():
        return BYTES
    features = instruction_features()
    if "x86_64" in features and features & {"avx512vnni", "avxvnni", "amx-int8"}:
        return BYTES
    return SIGNED_BYTES if {"aarch64", "dotprod"} <= features else PAIRS


@instruction
def neighbours_of_word() -> int:
    """How many numbers along K a word holds."""
    return word_of_this_machine().neighbours


@instruction
def zero_point() -> int:
    """What is added to each number of the left operand."""
    return word_of_this_machine().zero_point


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
    """Multiply one tile; operands are those of `tile.multiply_tile`, in words.

    Those of ``b`` and ``ahead`` are bytes, as many as a word has neighbours, and indices count such elements.
    """
    neighbours = neighbours_of_word()
    panel_rows, depth, width = tile_of_this_machine().rows, 4 * steps, vectors * LANES
    rows = min(rows, panel_rows)
    blocks = -(-depth // BLOCK)
    left = a[a_index : a_index + blocks * panel_rows * BLOCK].view(np.uint8)
    left = left.reshape(blocks, panel_rows, neighbours * BLOCK).transpose(1, 0, 2).reshape(panel_rows, -1)
    right = b[b_index : b_index + depth * width].view(np.int8).reshape(depth, width, neighbours)
    right = right.transpose(0, 2, 1).reshape(depth * neighbours, width)
    product = left[:rows, : depth * neighbours].astype(np.int32) @ right.astype(np.int32)
    whole = out.view(np.int32)
    for r in range(rows):
        for v in range(vectors):
            offset = out_index + r * row_stride + v * vector_stride
            before = whole[offset : offset + LANES] if resume else np.int32(0)
            whole[offset : offset + LANES] = before + product[r, v * LANES : (v + 1) * LANES]


@instruction
def store_integers(words: np.ndarray, index: int, shifted: Vector) -> None:
    """Write the lowest bits of 16 lanes as words.

    Of a number below 2 ** 22 to which 1.5 * 2 ** 23 was added, these are the lowest bits of the nearest
    whole number.
    """
    lowest = np.asarray(shifted, np.float32).view(np.int32).astype(np.uint8)
    words[index : index + LANES // neighbours_of_word()] = lowest.view(np.float32)


@instruction
def load_sums(sums: np.ndarray, index: int, corrections: np.ndarray, offset: int) -> Vector:
    """Sixteen sums of 32 bits, each with its correction added, as the nearest float32."""
    whole = sums[index : index + LANES].view(np.int32)
    return (whole + corrections[offset : offset + LANES].view(np.int32)).astype(np.float32)
