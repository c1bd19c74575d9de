"""The compiled matrix product of `linear`: blocks for the caches, tiles for the registers, tasks for threads.

    out[m, n] = activation(sum_k x[m, k] * weight[n, k] + bias[n]) + residual[m, n]

Three loops stand around the register tile (Goto and van de Geijn, 2008,
https://doi.org/10.1145/1356052.1356053, call them layers):

* K is cut so that a block of a weight panel stays in the second level of cache with the next one, which is
  fetched meanwhile. Where K is cut, sums wait in memory for the next block and are then taken up again, so
  that every element is summed in the order of k, as if nothing had been cut.
* Rows are cut so that a block of them stays there too, while one weight panel after the other passes by.
* One block of rows, one block of K and one panel of weights are a task. It goes through the rows tile by
  tile, and finishes each tile (bias, activation, residual) while it is in the first level of cache.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .activations import IDENTITY, activate
from .compilation import kernel, part
from .packing import pack_rows, round_up, row_place
from .threads import (
    add_to_counter,
    finish_task,
    next_task,
    pause,
    read_counter,
    thread_number,
    wait_for_tasks,
)
from .tile import BLOCK, Tile, multiply_tile
from .vector import LANES, load, load_part, store, store_part

_LARGEST_DEPTH = 1152
"""K is cut into blocks of at most this: one block of a weight panel and its successor, which is fetched
meanwhile, then take half a megabyte of the second level of cache, and leave room for a block of rows."""

_ROW_BLOCK_FLOATS = 230_000
"""Rows are cut into blocks of about this many numbers, to stay in the second level of cache."""


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
    """K of one task, a multiple of 16."""
    depths: int
    """Blocks of K."""
    weight_panels: int
    row_size: int
    """K rounded up to 16, what a packed row takes."""
    packed_size: int
    """Floats of all packed rows."""

    def own_size(self, threads: int) -> int:
        """Floats that a product works in: packed rows and tiles of sums."""
        tiles = threads if self.depths == 1 else self.row_panels * self.weight_panels
        return self.packed_size + tiles * self.tile_rows * self.columns


@functools.lru_cache(maxsize=256)
def plan_product(rows: int, in_features: int, out_features: int, tile: Tile) -> Plan:
    """Cut a product into tasks that fit the caches.

    Examples
    --------
    >>> plan = plan_product(196, 3072, 768, Tile(rows=8, vectors=3))
    >>> plan.row_blocks, plan.depths, plan.depth, plan.weight_panels
    (1, 3, 1024, 16)
    """
    row_size = round_up(in_features, BLOCK)
    depths = max(1, -(-row_size // _LARGEST_DEPTH))
    depth = round_up(-(-row_size // depths), BLOCK)
    row_panels = -(-rows // tile.rows)
    row_blocks = max(1, -(-rows * depth // _ROW_BLOCK_FLOATS))
    panels_per_block = max(1, -(-row_panels // row_blocks))
    return Plan(
        tile.rows,
        tile.columns,
        row_panels,
        panels_per_block,
        -(-row_panels // panels_per_block),
        depth,
        -(-row_size // depth) or 1,
        -(-out_features // tile.columns),
        row_size,
        row_panels * tile.rows * row_size,
    )


@kernel
def multiply(
    x: np.ndarray,
    x_is_packed: int,
    rows: int,
    in_features: int,
    panels: np.ndarray,
    bias: np.ndarray,
    out_features: int,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    own: np.ndarray,
    finished: np.ndarray,
    plan: Plan,
    progress: np.ndarray,
) -> None:
    """Pack the rows, then multiply: one task is one panel of weights, on one block of rows and of K.

    ``own`` holds the packed rows, and behind them one tile for each thread or, if K is cut, every tile of
    the result, where sums over one block of K wait for the next. ``finished`` counts for each panel and
    block of rows the blocks of K that are done. Tasks of one block of K come before those of the next, so
    that who has to wait for a sum waits for a thread that is about to finish it.

    The result is plain or packed, as ``out_row_size`` and ``out_panel_rows`` say; see `packing.row_place`.
    """
    while x_is_packed == 0:
        panel = next_task(progress, 0)
        if panel >= plan.row_panels:
            break
        first = panel * plan.tile_rows
        pack_rows(
            x, first * in_features, in_features, min(plan.tile_rows, rows - first), in_features,
            own, first * plan.row_size, plan.tile_rows,
        )  # fmt: skip
        finish_task(progress, 0)
    packed, tiles = x, 0
    if x_is_packed == 0:
        wait_for_tasks(progress, 0, plan.row_panels)
        packed, tiles = own, plan.packed_size

    tile_size = plan.tile_rows * plan.columns
    own_tile = tiles + thread_number(progress) * tile_size
    tasks = plan.row_blocks * plan.depths * plan.weight_panels
    task = next_task(progress, 1)
    while task < tasks:
        following = next_task(progress, 1)  # taken early, to know what to fetch meanwhile
        row_block, depth_block, weight_panel = _task_place(task, plan)
        place = row_block * plan.weight_panels + weight_panel
        if plan.depths > 1:
            while read_counter(finished, place) < depth_block:
                pause()
        weights_here = _weight_place(depth_block, weight_panel, in_features, out_features, plan)
        ahead = weights_here
        if following < tasks:
            _, next_depth_block, next_weight_panel = _task_place(following, plan)
            ahead = _weight_place(next_depth_block, next_weight_panel, in_features, out_features, plan)

        first_feature = weight_panel * plan.columns
        features = min(plan.columns, out_features - first_feature)
        steps = (min(plan.depth, in_features - depth_block * plan.depth) + 3) // 4
        first_panel = row_block * plan.panels_per_block
        for panel in range(first_panel, min(first_panel + plan.panels_per_block, plan.row_panels)):
            first = panel * plan.tile_rows
            height = min(plan.tile_rows, rows - first)
            tile = own_tile
            if plan.depths > 1:
                tile = tiles + (weight_panel * plan.row_panels + panel) * tile_size
            multiply_tile(
                height, (features + LANES - 1) // LANES,
                packed, first * plan.row_size + depth_block * plan.depth * plan.tile_rows,
                panels, weights_here, steps,
                own, tile, plan.columns, LANES, depth_block,
                panels, min(ahead + (panel - first_panel) * steps * LANES, panels.size - steps * LANES),
            )  # fmt: skip
            if depth_block == plan.depths - 1:
                _finish_tile(
                    own, tile, plan.columns, height, bias, first_feature, features,
                    activation, residual, out, first, out_features, out_row_size, out_panel_rows,
                )  # fmt: skip
        if plan.depths > 1:
            add_to_counter(finished, place, 1)
        finish_task(progress, 1)
        task = following
    wait_for_tasks(progress, 1, tasks)


@part
def _task_place(task: int, plan: Plan) -> tuple[int, int, int]:
    """Block of rows, block of K and panel of weights of a task."""
    per_block = plan.depths * plan.weight_panels
    return task // per_block, task % per_block // plan.weight_panels, task % plan.weight_panels


@part
def _weight_place(
    depth_block: int, weight_panel: int, in_features: int, out_features: int, plan: Plan
) -> int:
    """Where the packed weights of a panel and a block of K begin."""
    first_feature = weight_panel * plan.columns
    features = min(plan.columns, out_features - first_feature)
    width = features + LANES - 1 & -LANES
    return first_feature * (in_features + 3 & -4) + depth_block * plan.depth * width


@part
def _finish_tile(
    own: np.ndarray,
    tile: int,
    columns: int,
    height: int,
    bias: np.ndarray,
    first_feature: int,
    features: int,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    first_row: int,
    out_features: int,
    out_row_size: int,
    out_panel_rows: int,
) -> None:
    """Add the bias to the sums of a tile, activate, add the residual, and put the result in its place."""
    residual_rows = residual.size // out_features
    whole = features & -LANES
    for r in range(height):
        row = first_row + r
        target = row_place(row, out_row_size, out_panel_rows) + first_feature * out_panel_rows
        added = first_feature
        if residual_rows > 0:
            added += row % residual_rows * out_features
        for j in range(0, whole, LANES):
            y = load(own, tile + r * columns + j) + load(bias, first_feature + j)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load(residual, added + j)
            store(out, target + j * out_panel_rows, y)
        if whole < features:
            count = features - whole
            y = load(own, tile + r * columns + whole) + load_part(bias, first_feature + whole, count)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load_part(residual, added + whole, count)
            if out_panel_rows == 1:
                store_part(out, target + whole, y, count)
            else:  # a packed row is filled up with what is finite
                store(out, target + whole * out_panel_rows, y)
