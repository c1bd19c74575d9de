"""Quantised weights in the order in which register tiles of integers read them.

They are packed as `packing` packs float32, with a word (four bytes, neighbours along K) for a number. K is
rounded up to 64 bytes, so that a row of a product is a whole number of blocks.

Activations are unsigned in a tile: 128 is added to each, and every sum is then too large by 128 times the sum
of the weights of its output feature. What has to be added to take this away again is known beforehand:

    correction[n] = -128 * sum_k weight[n, k]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.runtime import Runtime
from ..machine.vector import LANES
from ..machine.workspace import aligned_empty
from .integer_tile import LARGEST_DEPTH, WORD, ZERO_POINT
from .matrix_tile import integer_tile_of_this_machine
from .packing import pack_weight, round_up
from .tile import BLOCK


class PackedIntegers(NamedTuple):
    """A quantised affine map in the order of register tiles."""

    panels: np.ndarray
    """Packed weight, flat, in words"""
    scale: np.ndarray
    """(out_features,): of each output feature"""
    correction: np.ndarray
    """(out_features rounded up to 16,): 32-bit integers, as words"""
    bias: np.ndarray
    """(out_features,), zeros if there is none"""
    in_features: int
    out_features: int


def words_of(width: int) -> int:
    """Words that a row of this many bytes takes in a product, where K is a multiple of 64 bytes.

    Examples
    --------
    >>> words_of(768), words_of(588)
    (192, 160)
    """
    return round_up(width, WORD * BLOCK) // WORD


def pack_integers(
    runtime: Runtime, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None
) -> PackedIntegers:
    """Pack the weight of a quantised affine map.

    Parameters
    ----------
    runtime : Runtime
    weight : ndarray of int8, shape (out_features, in_features)
    scale : ndarray of shape (out_features,)
    bias : ndarray of shape (out_features,), optional

    Raises
    ------
    ValueError
        If sums of so many products may not fit in 32 bits.

    Examples
    --------
    >>> packed = pack_integers(Runtime(threads=1), np.ones((2, 3), np.int8), np.ones(2))
    >>> packed.in_features, packed.out_features, packed.correction.view(np.int32)[:2].tolist()
    (3, 2, [-384, -384])
    """
    out_features, in_features = weight.shape
    if in_features > LARGEST_DEPTH:
        raise ValueError(f"the weight has {in_features} columns; sums are exact up to {LARGEST_DEPTH}")
    words = words_of(in_features)
    padded = np.zeros((out_features, words * WORD), np.int8)
    padded[:, :in_features] = weight
    tile = integer_tile_of_this_machine()
    panels = aligned_empty(round_up(out_features, LANES) * words)
    panel_count = -(-out_features // tile.columns)
    source = padded.view(np.float32).reshape(-1)
    runtime.run(pack_weight, source, panels, out_features, words, tile.columns, panel_count)
    correction = np.zeros(round_up(out_features, LANES), np.int32)
    correction[:out_features] = -ZERO_POINT * padded.sum(axis=1, dtype=np.int32)
    bias = np.zeros(out_features, np.float32) if bias is None else np.array(bias, np.float32)
    return PackedIntegers(
        panels, np.array(scale, np.float32), correction.view(np.float32), bias, in_features, out_features
    )
