"""The compiled matrix product of `quantized_linear`: the loops of `matrix_product` around another tile.

    sums[m, n] = sum_k (q[m, k] + 128) * weight[n, k]
    y[m, n] = (sums[m, n] + correction[n]) * weight_scale[n] * scale[m] + bias[n]
    out[m, n] = activation(y[m, n]) + residual[m, n]

where the correction takes away what the 128 adds (see `integer_packing`). The first line and the inner
bracket hold nothing but whole numbers, whose sums are the same in any order; what follows is computed by
itself for every element.
"""

from __future__ import annotations

import numpy as np

from ..machine.compilation import routine
from ..machine.threads import finish_task, next_task, share_begin, wait_for_tasks
from ..machine.vector import LANES
from ..tiles.integer_packing import PackedIntegers, words_of
from ..tiles.integer_tile import multiply_integer_tile, neighbours_of_word
from ..tiles.matrix_tile import MATRIX, integer_tile_of_this_machine
from .integer_epilogue import finish_rows
from .matrix_product import Plan, plan_product
from .matrix_unit_product import multiply_on_matrix_unit


def plan_integer_product(rows: int, in_features: int, out_features: int, threads: int) -> Plan:
    """Cut a product into tasks, with words for numbers.

    Examples
    --------
    >>> plan = plan_integer_product(196, 3072, 768, threads=2)
    >>> plan.row_size == words_of(3072)
    True
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
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Multiply packed rows: one task is one block of rows and one panel of weights."""
    if plan.tile_rows == MATRIX.rows:
        multiply_on_matrix_unit(
            rows_of_words, row_scales, rows, weights, activation, residual, out, scratch, plan,
            counters, thread,
        )  # fmt: skip
        return
    words = plan.row_size
    panels = weights.panels
    elements = panels.size * 4 // neighbours_of_word()
    tile_size = plan.tile_rows * plan.columns
    tiles = thread * plan.tiles_size
    residual_rows = residual.size // weights.out_features
    tasks = plan.row_blocks * plan.weight_panels
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
            steps = min(plan.depth, words - k) // 4
            # What is needed next lies behind: the next block of K of this panel, or the next panel.
            ahead = here + steps * 4 * vectors * LANES
            for panel in range(first_panel, last_panel):
                first = panel * plan.tile_rows
                height = min(plan.tile_rows, rows - first)
                # Sums that wait for another block of K have a tile of scratch each.
                tile = tiles + (panel - first_panel) * tile_size * (plan.depth < words)
                multiply_integer_tile(
                    height, vectors,
                    rows_of_words, first * plan.row_size + k * plan.tile_rows,
                    panels, here, steps,
                    scratch, tile, plan.columns, LANES, k,
                    panels, max(0, min(ahead, elements - 2 * steps * LANES)),
                )  # fmt: skip
                ahead += 2 * steps * LANES
                if k + plan.depth >= words:
                    finish_rows(
                        scratch, tile, plan.columns, 0, height, row_scales, weights, first_feature, features,
                        activation, residual, residual_rows, out, first,
                    )  # fmt: skip
            here += steps * 4 * vectors * LANES
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)
