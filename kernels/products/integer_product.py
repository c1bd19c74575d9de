"""The compiled matrix product of `quantized_linear`: the loops of `matrix_product` around another tile.

    sums[m, n] = sum_k (q[m, k] + 128) * weight[n, k]
    y[m, n] = (sums[m, n] + correction[n]) * weight_scale[n] * scale[m] + bias[n]
    out[m, n] = activation(y[m, n]) + residual[m, n]

where correction[n] = -128 * sum_k weight[n, k] takes away what the 128 adds. All that stands in the first
line and in the inner bracket is whole numbers, and so has one result in whatever order it is computed; what
follows is computed by itself for every element.

Weights are packed as `packing` packs those of float32, four bytes along K for a number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.compilation import routine
from ..machine.runtime import Runtime
from ..machine.threads import finish_task, next_task, share_begin, wait_for_tasks
from ..machine.vector import LANES
from ..machine.workspace import aligned_empty
from ..rows.quantization import words_of
from ..tiles.integer_tile import LARGEST_DEPTH, WORD, ZERO_POINT, multiply_integer_tile
from ..tiles.matrix_tile import MATRIX, integer_tile_of_this_machine
from ..tiles.packing import pack_weight, round_up
from .integer_epilogue import finish_rows
from .matrix_product import Plan, plan_product
from .matrix_unit_product import multiply_on_matrix_unit


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


def plan_integer_product(rows: int, in_features: int, out_features: int, threads: int) -> Plan:
    """Cut a product into tasks, with words for numbers.

    Examples
    --------
    >>> plan = plan_integer_product(196, 3072, 768, threads=2)
    >>> plan.row_size, plan.depth
    (768, 768)
    """
    tile = integer_tile_of_this_machine()
    return plan_product(rows, words_of(in_features), out_features, tile, threads)


@routine
def multiply_integers(
    rows_of_words: np.ndarray,
    row_scales: np.ndarray,
    rows: int,
    weights: PackedIntegers,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    own: np.ndarray,
    plan: Plan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Multiply packed rows: one task is one block of rows and one panel of weights."""
    if plan.tile_rows == MATRIX.rows:
        multiply_on_matrix_unit(
            rows_of_words, row_scales, rows, weights, activation, residual, out, own, plan, progress, thread
        )
        return
    words = plan.row_size
    panels = weights.panels
    tile_size = plan.tile_rows * plan.columns
    own_tiles = thread * plan.tiles_size
    residual_rows = residual.size // weights.out_features
    tasks = plan.row_blocks * plan.weight_panels
    while True:
        task = next_task(progress, 0, tasks, thread)
        if task < 0:
            break
        row_block, weight_panel = task // plan.weight_panels, task % plan.weight_panels
        first_panel = share_begin(row_block, plan.row_blocks, plan.row_panels)
        last_panel = share_begin(row_block + 1, plan.row_blocks, plan.row_panels)
        first_feature = weight_panel * plan.columns
        features = min(plan.columns, weights.out_features - first_feature)
        vectors = (features + LANES - 1) // LANES
        here = first_feature * words
        for k in range(0, words, plan.depth):
            steps = min(plan.depth, words - k) // 4
            # What is needed next lies behind: the next block of K of this panel, or the next panel.
            ahead = here + steps * 4 * vectors * LANES
            for panel in range(first_panel, last_panel):
                first = panel * plan.tile_rows
                height = min(plan.tile_rows, rows - first)
                # Sums that wait for another block of K have places of their own.
                tile = own_tiles + (panel - first_panel) * tile_size * (plan.depth < words)
                multiply_integer_tile(
                    height, vectors,
                    rows_of_words, first * plan.row_size + k * plan.tile_rows,
                    panels, here, steps,
                    own, tile, plan.columns, LANES, k,
                    panels, max(0, min(ahead, panels.size - 2 * steps * LANES)),
                )  # fmt: skip
                ahead += 2 * steps * LANES
                if k + plan.depth >= words:
                    finish_rows(
                        own, tile, plan.columns, 0, height, row_scales, weights, first_feature, features,
                        activation, residual, residual_rows, out, first,
                    )  # fmt: skip
            here += steps * 4 * vectors * LANES
        finish_task(progress, 0)
    wait_for_tasks(progress, 0, tasks)
