"""Quantised weights in the order in which register tiles of integers read them.

They are packed as `packing` packs float32, with an element for a number: as many bytes, neighbours along K,
as a word of the left operand has (see `integer_tile`). K is rounded up to 64, so that a row of a product is a
whole number of blocks.

Where activations are unsigned in a tile, 128 is added to each, and every sum is then too large by 128 times
the sum of the weights of its output feature. What has to be added to take this away again is known
beforehand:

    correction[n] = -zero_point * sum_k weight[n, k]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.runtime import Runtime
from ..machine.vector import LANES
from ..machine.workspace import aligned_empty
from .integer_tile import LARGEST_DEPTH, PAIRS, word_of_this_machine
from .matrix_tile import integer_tile_of_this_machine
from .packing import pack_weight, round_up
from .tile import BLOCK

_DEPTH_UNIT = 4 * BLOCK
"""K is rounded up to a multiple of this."""


class PackedIntegers(NamedTuple):
    """A quantised affine map in the order of register tiles."""

    panels: np.ndarray
    """Packed weight, flat; as float32, whose bits are never taken for floats"""
    scale: np.ndarray
    """(out_features,): of each output feature"""
    correction: np.ndarray
    """(out_features rounded up to 16,): 32-bit integers, as words"""
    bias: np.ndarray
    """(out_features,), zeros if there is none"""
    in_features: int
    out_features: int


def words_of(width: int) -> int:
    """Words that a row of so many numbers takes in a product, where K is a multiple of 64.

    Examples
    --------
    >>> words_of(588) == 640 // word_of_this_machine().neighbours
    True
    """
    return round_up(width, _DEPTH_UNIT) // word_of_this_machine().neighbours


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
    >>> zero_point = word_of_this_machine().zero_point
    >>> packed.correction.view(np.int32)[:2].tolist() == [-3 * zero_point, -3 * zero_point]
    True
    """
    out_features, in_features = weight.shape
    if in_features > LARGEST_DEPTH:
        raise ValueError(f"the weight has {in_features} columns; sums are exact up to {LARGEST_DEPTH}")
    padded = np.zeros((out_features, round_up(in_features, _DEPTH_UNIT)), np.int8)
    padded[:, :in_features] = weight
    columns = integer_tile_of_this_machine().columns
    word = word_of_this_machine()
    source = padded.view(np.float32)  # four bytes each
    panels = aligned_empty(round_up(out_features, LANES) * source.shape[1])
    panel_count = -(-out_features // columns)
    runtime.run(pack_weight, source.reshape(-1), panels, out_features, source.shape[1], columns, panel_count)
    if word == PAIRS:
        _split_in_pairs(panels, source.shape[1], columns)
    correction = np.zeros(round_up(out_features, LANES), np.int32)
    correction[:out_features] = -word.zero_point * padded.sum(axis=1, dtype=np.int32)
    bias = np.zeros(out_features, np.float32) if bias is None else np.array(bias, np.float32)
    return PackedIntegers(
        panels, np.array(scale, np.float32), correction.view(np.float32), bias, in_features, out_features
    )


def _split_in_pairs(panels: np.ndarray, depth: int, columns: int) -> None:
    """Let the first two of four neighbours of all columns of a panel lie before the other two."""
    for first in range(0, panels.size, depth * columns):
        panel = panels[first : first + depth * columns].view(np.int16).reshape(depth, -1, 2)
        panel[:] = panel.transpose(0, 2, 1).reshape(panel.shape).copy()
