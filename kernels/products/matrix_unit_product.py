"""The compiled matrix product of `quantized_linear` on a matrix unit.

Blocks, tasks and the order of tiles are those of `integer_product`. But the unit multiplies by itself, so
that the rest of the processor would only wait for it: the sums of one tile are finished between the
steps of the next, a few rows at a time. The last tile of a task is finished in the next task.
"""

from __future__ import annotations

import numpy as np

from ..machine import tuning
from ..machine.compilation import part
from ..machine.threads import finish_task, next_task, share_begin, wait_for_tasks
from ..machine.vector import LANES
from ..rows.activations import GELU_TANH, IDENTITY
from ..tiles.integer_packing import PackedIntegers
from ..tiles.matrix_tile import (
    STEP,
    begin_sums,
    close_matrix_unit,
    end_sums,
    fetch_ahead,
    multiply_step,
    open_matrix_unit,
)
from .integer_epilogue import finish_pairs, finish_rows
from .matrix_product import Plan


@part
def multiply_on_matrix_unit(
    rows_of_words: np.ndarray,
    row_scales: np.ndarray,
    rows: int,
    weights: PackedIntegers,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Multiply packed rows: one task is one block of rows and one panel of weights."""
    words, panels = plan.row_size, weights.panels
    tile_size = plan.tile_rows * plan.columns
    tiles = thread * plan.tiles_size
    residual_rows = residual.size // weights.out_features
    simple = activation == IDENTITY or (activation == GELU_TANH and residual_rows == 0)
    tasks = plan.row_blocks * plan.weight_panels
    # Of the tile whose sums are stored: its offset, rows, how many of them are finished, and its columns.
    stored, stored_row, height, finished, stored_feature, stored_features = 0, 0, 0, 0, 0, 0
    unreported = 0
    open_matrix_unit()
    while True:
        task = next_task(counters, 0, tasks, thread)
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
            steps = min(plan.depth, words - k) // STEP
            # What is needed next lies behind: the next block of K of this panel, or the next panel.
            ahead = here + steps * STEP * vectors * LANES
            ahead_end = min(ahead + steps * STEP * vectors * LANES, panels.size)
            for panel in range(first_panel, last_panel):
                first = panel * plan.tile_rows
                # Sums that wait for another block of K have a tile of scratch each.
                offset = tiles + (panel - first_panel) * tile_size * (plan.depth < words)
                left = first * plan.row_size + k * plan.tile_rows
                right = here
                at_once = (height - finished + steps - 1) // steps
                begin_sums(scratch, offset, k)
                for _ in range(steps):
                    multiply_step(rows - first, vectors, rows_of_words, left, panels, right)
                    left += STEP * plan.tile_rows
                    right += STEP * vectors * LANES
                    if ahead < ahead_end:
                        fetch_ahead(panels, ahead)
                        ahead += tuning.LINES_FETCHED * LANES
                    end = min(finished + at_once, height)
                    if simple and stored_features == 2 * LANES:
                        finish_pairs(
                            scratch, stored, plan.columns, finished, end, row_scales, weights, stored_feature,
                            activation, residual, residual_rows, out, stored_row,
                        )  # fmt: skip
                    else:
                        finish_rows(
                            scratch, stored, plan.columns, finished, end, row_scales, weights, stored_feature,
                            stored_features, activation, residual, residual_rows, out, stored_row,
                        )  # fmt: skip
                    finished = end
                if unreported:
                    finish_task(counters, 0)
                    unreported = 0
                end_sums(scratch, offset)
                if k + plan.depth >= words:
                    stored, stored_row = offset, first
                    height, finished = min(plan.tile_rows, rows - first), 0
                    stored_feature, stored_features = first_feature, features
            here += steps * STEP * vectors * LANES
        unreported = 1
    finish_rows(
        scratch, stored, plan.columns, finished, height, row_scales, weights, stored_feature, stored_features,
        activation, residual, residual_rows, out, stored_row,
    )  # fmt: skip
    if unreported:
        finish_task(counters, 0)
    close_matrix_unit()
    wait_for_tasks(counters, 0, tasks)
