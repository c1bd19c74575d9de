"""The compiled matrix product of `linear`: blocks for the caches, tiles for the registers, tasks for threads.

    out[m, n] = activation(sum_k x[m, k] * weight[n, k] + bias[n]) + residual[m, n]

Three loops stand around the register tile (Goto and van de Geijn, 2008,
https://doi.org/10.1145/1356052.1356053, call them layers):

* Rows are cut into blocks that stay in the second level of cache, while one panel of weights after the other
  passes by. One block and one panel are a task.
* K is cut, inside a task, so that a block of the panel stays there too, with the next one, which is fetched
  meanwhile. Sums wait in memory for the next block and are then taken up again, so that every element is
  summed in the order of k, as if nothing had been cut.
* A task goes through its rows tile by tile, and finishes each tile (bias, activation, residual) while it
  is in the first level of cache.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..machine import tuning
from ..machine.compilation import kernel, part
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, load, load_part, store, store_part
from ..rows.activations import IDENTITY, activate
from ..tiles.packing import PackedLinear, pack_rows, round_up, row_offset
from ..tiles.tile import BLOCK, Tile, multiply_tile


class Plan(NamedTuple):
    """How one product is cut into tasks; nothing in the result depends on it."""

    tile_rows: int
    columns: int
    """Of a weight panel."""
    row_panels: int
    panels_per_block: int
    """Panels of rows that a task goes through."""
    row_blocks: int
    depth: int
    """K of one block, a multiple of 16."""
    weight_panels: int
    row_size: int
    """K rounded up to 16, what a packed row takes."""
    packed_size: int
    """Floats of all packed rows."""
    tiles_size: int
    """Floats of one thread: the tiles of a task, where sums over one block of K wait for the next."""


@functools.lru_cache(maxsize=256)
def plan_product(rows: int, in_features: int, out_features: int, tile: Tile, threads: int) -> Plan:
    """Cut a product into tasks that fit the caches.

    Examples
    --------
    >>> plan = plan_product(196, 3072, 768, Tile(rows=8, vectors=3), threads=2)
    >>> plan.row_panels, plan.weight_panels, plan.depth <= 3072
    (25, 16, True)
    """
    row_size = round_up(in_features, BLOCK)
    depth = round_up(-(-row_size // -(-row_size // tuning.largest_depth(tile.columns))), BLOCK)
    row_panels = -(-rows // tile.rows)
    for_cache = -(-rows * row_size // tuning.floats_of_row_block())
    for_threads = max(1, min(threads, row_panels // tuning.LEAST_PANELS))
    panels_per_block = -(-row_panels // round_up(for_cache, for_threads))
    return Plan(
        tile.rows,
        tile.columns,
        row_panels,
        panels_per_block,
        -(-row_panels // panels_per_block),
        depth,
        -(-out_features // tile.columns),
        row_size,
        row_panels * tile.rows * row_size,
        panels_per_block * tile.rows * tile.columns,
    )


@kernel
def multiply(
    x: np.ndarray,
    x_is_packed: int,
    rows: int,
    weights: PackedLinear,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Pack the rows, then multiply: one task is one block of rows and one panel of weights.

    ``scratch`` holds the tiles of each thread and, if ``x`` is not packed, the packed rows behind them. The
    result is plain or packed, as ``out_row_size`` and ``out_panel_rows`` say; see `packing.row_offset`.
    """
    in_features, panels = weights.in_features, weights.panels
    packed, packed_offset = x, 0
    if x_is_packed == 0:
        packed, packed_offset = scratch, scratch.size - plan.packed_size
        pack_panels(x, rows, in_features, packed, packed_offset, plan, counters, thread)

    tile_size = plan.tile_rows * plan.columns
    tiles = thread * plan.tiles_size
    tasks = plan.row_blocks * plan.weight_panels
    while True:
        task = next_task(counters, 1, tasks, thread)
        if task < 0:
            break
        row_block, weight_panel = task // plan.weight_panels, task % plan.weight_panels
        first_panel = row_block * plan.panels_per_block
        last_panel = min(first_panel + plan.panels_per_block, plan.row_panels)
        first_feature = weight_panel * plan.columns
        features = min(plan.columns, weights.out_features - first_feature)
        vectors = (features + LANES - 1) // LANES
        here = first_feature * (in_features + 3 & -4)
        for k in range(0, in_features, plan.depth):
            steps = (min(plan.depth, in_features - k) + 3) // 4
            # What is needed next lies behind: the next block of K of this panel, or the next panel.
            ahead = here + steps * 4 * vectors * LANES
            for panel in range(first_panel, last_panel):
                first = panel * plan.tile_rows
                height = min(plan.tile_rows, rows - first)
                tile = tiles + (panel - first_panel) * tile_size
                multiply_tile(
                    height, vectors,
                    packed, packed_offset + first * plan.row_size + k * plan.tile_rows,
                    panels, here, steps,
                    scratch, tile, plan.columns, LANES, k,
                    panels, max(0, min(ahead, panels.size - 2 * steps * LANES)),
                )  # fmt: skip
                ahead += 2 * steps * LANES
                if k + plan.depth >= in_features:
                    _finish_tile(
                        scratch, tile, plan.columns, height, weights, first_feature, features,
                        activation, residual, out, first, out_row_size, out_panel_rows,
                    )  # fmt: skip
            here += steps * 4 * vectors * LANES
        finish_task(counters, 1)
    wait_for_tasks(counters, 1, tasks)


@part
def pack_panels(
    x: np.ndarray,
    rows: int,
    width: int,
    packed: np.ndarray,
    offset: int,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Pack plain rows; a panel is a task of the first phase."""
    while True:
        panel = next_task(counters, 0, plan.row_panels, thread)
        if panel < 0:
            break
        first = panel * plan.tile_rows
        pack_rows(
            x, first * width, width, min(plan.tile_rows, rows - first), width,
            packed, offset + first * plan.row_size, plan.tile_rows,
        )  # fmt: skip
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, plan.row_panels)


@part
def _finish_tile(
    scratch: np.ndarray,
    tile: int,
    columns: int,
    height: int,
    weights: PackedLinear,
    first_feature: int,
    features: int,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    first_row: int,
    out_row_size: int,
    out_panel_rows: int,
) -> None:
    """Add the bias to the sums of a tile, activate, add the residual, and write the result."""
    bias, out_features = weights.bias, weights.out_features
    residual_rows = residual.size // out_features
    added_row = first_row % residual_rows if residual_rows > 0 else 0
    target = row_offset(first_row, out_row_size, out_panel_rows) + first_feature * out_panel_rows
    # A tile begins where a packed panel begins, so the rows of both are neighbours.
    step = out_row_size if out_panel_rows == 1 else BLOCK
    whole = features & -LANES
    for r in range(height):
        added = added_row * out_features + first_feature
        for j in range(0, whole, LANES):
            y = load(scratch, tile + r * columns + j) + load(bias, first_feature + j)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load(residual, added + j)
            store(out, target + j * out_panel_rows, y)
        if whole < features:
            count = features - whole
            y = load(scratch, tile + r * columns + whole) + load_part(bias, first_feature + whole, count)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load_part(residual, added + whole, count)
            if out_panel_rows == 1:
                store_part(out, target + whole, y, count)
            else:  # a packed row is filled up with what is finite
                store(out, target + whole * out_panel_rows, y)
        target += step
        added_row += 1
        if added_row == residual_rows:
            added_row = 0
