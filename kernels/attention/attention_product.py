"""The compiled products of `attention`: scores, softmax and values of a few queries at a time, in cache.

The scores of one head are (queries, keys), a megabyte or more where tokens are many. They are never all
held: a task takes some tiles of queries of one head, computes their scores against all keys, turns them
into weights and multiplies them by the values, while all of it stays in the second level of cache. (Rabe
and Staats, 2021, https://arxiv.org/abs/2112.05682, do not even hold a row of scores; a row is short enough
here, and its softmax is then the plain one.)

Keys and values were packed before, by `attention_packing`. The weights of a tile need no packing: the scores
are stored in the order in which the product with the values reads its left operand.
"""

from __future__ import annotations

import numpy as np

from ..machine.compilation import part, routine
from ..machine.threads import finish_task, next_task, share_begin, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, store, store_part
from ..rows.softmax import (
    ROOM_OF_A_ROW,
    exclude_lanes,
    exponentials,
    raise_maxima,
    scale_of_row,
    settle_maxima,
    start_softmax,
)
from ..tiles.packing import row_offset
from ..tiles.tile import multiply_tile
from .attention_packing import AttentionPlan, HeadStrides


@routine
def attend(
    query: np.ndarray,
    query_strides: HeadStrides,
    packed_keys: np.ndarray,
    packed_values: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    maps: np.ndarray,
    scratch: np.ndarray,
    plan: AttentionPlan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Attend; a block of tiles of queries and one head are a task.

    Blocks are dealt to the threads along the tokens, so that a thread finds the queries that it computed
    itself. It goes through its blocks head by head: keys and values of a head stay in the second level of
    cache meanwhile.

    The result is plain or packed, as ``out_row_size`` and ``out_panel_rows`` say (see `packing.row_offset`);
    packed only where the size of a head is a multiple of 16.
    """
    heads = plan.batch * plan.num_heads
    tile_count = (plan.queries + plan.tile_rows - 1) // plan.tile_rows
    blocks = (tile_count + plan.tiles_of_task - 1) // plan.tiles_of_task
    tasks = blocks * heads
    tile_floats = plan.tile_rows * LANES
    queries = thread * plan.scratch_size
    results = queries + plan.tiles_of_task * tile_floats * plan.head_vectors
    scores = results + plan.tiles_of_task * tile_floats * plan.head_vectors
    room = scores + plan.tiles_of_task * tile_floats * plan.key_vectors
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        image_head, block = _head_and_block(task, heads, blocks, counters[0])
        image, head = image_head // plan.num_heads, image_head % plan.num_heads
        first = share_begin(block, blocks, tile_count) * plan.tile_rows
        rows = min(share_begin(block + 1, blocks, tile_count) * plan.tile_rows, plan.queries) - first
        start = query_strides.start + image * query_strides.image + first * query_strides.token
        _pack_queries(query, start + head * plan.head_dim, query_strides.token, rows,
                      scratch, queries, plan)  # fmt: skip
        start_softmax(scratch, room, rows)
        _score(scratch, queries, rows, packed_keys, image_head * plan.key_size, scores, room, plan)
        _sum_values(scratch, scores, room, rows, packed_values, image_head * plan.value_size, results, plan)
        for r in range(rows):
            scale = scale_of_row(scratch, room, r)
            target = row_offset(image * plan.queries + first + r, out_row_size, out_panel_rows)
            target += head * plan.head_dim * out_panel_rows
            _write_result(scratch, results, r, scale, out, target, out_panel_rows, plan)
            if maps.size > 0:
                _write_map(scratch, scores, r, scale,
                           maps, (image_head * plan.queries + first + r) * plan.keys, plan)  # fmt: skip
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@part
def _head_and_block(task: int, heads: int, blocks: int, shares: int) -> tuple[int, int]:
    """Task to (head of an image, block): share by share of the blocks, in it head by head."""
    share = 0
    while task >= share_begin(share + 1, shares, blocks) * heads:
        share += 1
    begin = share_begin(share, shares, blocks)
    of_share = share_begin(share + 1, shares, blocks) - begin
    task -= begin * heads
    return task // of_share, begin + task % of_share


@part
def _pack_queries(
    query: np.ndarray,
    index: int,
    stride: int,
    rows: int,
    packed: np.ndarray,
    offset: int,
    plan: AttentionPlan,
) -> None:
    """Panels of queries, divided by the square root of the head's size, the last filled up with zeros."""
    scale = np.float32(1) / np.sqrt(np.float32(plan.head_dim))
    for first in range(0, rows, plan.tile_rows):
        for v in range(plan.head_vectors):
            count = min(LANES, plan.head_dim - v * LANES)
            for r in range(first, first + plan.tile_rows):
                if r >= rows:
                    numbers = fill(np.float32(0))
                elif count == LANES:
                    numbers = load(query, index + r * stride + v * LANES) * scale
                else:
                    numbers = load_part(query, index + r * stride + v * LANES, count) * scale
                tile = offset + first * LANES * plan.head_vectors
                store(packed, tile + (v * plan.tile_rows + r - first) * LANES, numbers)


@part
def _score(
    scratch: np.ndarray,
    queries: int,
    rows: int,
    packed_keys: np.ndarray,
    keys: int,
    scores: int,
    room: int,
    plan: AttentionPlan,
) -> None:
    """Multiply the queries of some tiles by all keys of their head, and note the largest score of each.

    Scores of a tile are stored as the tile's vectors come, and lie then as the left operand of a product
    with the values must lie: blocks of 16 keys, in each the rows of the tile.
    """
    tile_floats = plan.tile_rows * LANES
    depth = (plan.head_dim + 3) // 4
    for panel in range(plan.key_panels):
        begin = share_begin(panel, plan.key_panels, plan.key_vectors)
        vectors = share_begin(panel + 1, plan.key_panels, plan.key_vectors) - begin
        ahead = (begin + vectors) * LANES * 4 * depth  # the next panel, bit by bit
        for row in range(0, rows, plan.tile_rows):
            height = min(plan.tile_rows, rows - row)
            here = scores + row * LANES * plan.key_vectors + begin * tile_floats
            multiply_tile(
                height, vectors,
                scratch, queries + row * LANES * plan.head_vectors,
                packed_keys, keys + begin * LANES * 4 * depth, depth,
                scratch, here, LANES, tile_floats, 0,
                packed_keys, keys + min(ahead, plan.key_size - 2 * depth * LANES),
            )  # fmt: skip
            ahead += 2 * depth * LANES
            if panel == plan.key_panels - 1:
                lanes = plan.keys - (plan.key_vectors - 1) * LANES
                exclude_lanes(scratch, here + (vectors - 1) * tile_floats, height, lanes)
            raise_maxima(scratch, here, tile_floats, vectors, room + ROOM_OF_A_ROW * row * LANES, height)
    settle_maxima(scratch, room, rows)


@part
def _sum_values(
    scratch: np.ndarray,
    scores: int,
    room: int,
    rows: int,
    packed_values: np.ndarray,
    values: int,
    results: int,
    plan: AttentionPlan,
) -> None:
    """Turn the scores of some tiles into weights and multiply these by the values, some keys after the other.

    The weights do not sum to one yet; it is the results that are scaled, which are fewer.
    """
    padded_keys = plan.keys + 3 & -4
    tile_floats = plan.tile_rows * LANES
    for key in range(0, padded_keys, plan.keys_at_a_time):
        steps = min(plan.keys_at_a_time, padded_keys - key) // 4
        for row in range(0, rows, plan.tile_rows):
            exponentials(
                scratch, scores + row * LANES * plan.key_vectors + key * plan.tile_rows, tile_floats,
                (steps * 4 + LANES - 1) // LANES,
                room + ROOM_OF_A_ROW * row * LANES, min(plan.tile_rows, rows - row),
            )  # fmt: skip
        for panel in range(plan.value_panels):
            begin = share_begin(panel, plan.value_panels, plan.head_vectors)
            vectors = share_begin(panel + 1, plan.value_panels, plan.head_vectors) - begin
            if panel < plan.value_panels - 1:
                ahead = _values_at(panel + 1, key, plan)
            else:
                ahead = _values_at(0, key + plan.keys_at_a_time, plan)
            for row in range(0, rows, plan.tile_rows):
                multiply_tile(
                    rows - row, vectors,
                    scratch, scores + row * LANES * plan.key_vectors + key * plan.tile_rows,
                    packed_values, values + _values_at(panel, key, plan), steps,
                    scratch, results + row * LANES * plan.head_vectors + begin * tile_floats,
                    LANES, tile_floats, key,
                    packed_values, values + max(0, min(ahead, plan.value_size - 2 * steps * LANES)),
                )  # fmt: skip
                ahead += 2 * steps * LANES


@part
def _values_at(panel: int, key: int, plan: AttentionPlan) -> int:
    """Where in the packed values of a head those of a panel begin, from some key on."""
    begin = share_begin(panel, plan.value_panels, plan.head_vectors)
    vectors = share_begin(panel + 1, plan.value_panels, plan.head_vectors) - begin
    return (begin * (plan.keys + 3 & -4) + key * vectors) * LANES


@part
def _write_result(
    scratch: np.ndarray,
    results: int,
    row: int,
    scale: float,
    out: np.ndarray,
    target: int,
    out_panel_rows: int,
    plan: AttentionPlan,
) -> None:
    """One row of the results of some tiles, by the scale that makes its weights sum to one."""
    tile = results + row // plan.tile_rows * plan.tile_rows * LANES * plan.head_vectors
    for v in range(plan.head_vectors):
        numbers = load(scratch, tile + (v * plan.tile_rows + row % plan.tile_rows) * LANES) * scale
        if plan.head_dim - v * LANES >= LANES:
            store(out, target + v * LANES * out_panel_rows, numbers)
        else:
            store_part(out, target + v * LANES, numbers, plan.head_dim - v * LANES)


@part
def _write_map(
    scratch: np.ndarray,
    scores: int,
    row: int,
    scale: float,
    maps: np.ndarray,
    target: int,
    plan: AttentionPlan,
) -> None:
    """The weights of one row of some tiles."""
    tile = scores + row // plan.tile_rows * plan.tile_rows * LANES * plan.key_vectors
    for v in range(plan.key_vectors):
        weights = load(scratch, tile + (v * plan.tile_rows + row % plan.tile_rows) * LANES) * scale
        store_part(maps, target + v * LANES, weights, min(LANES, plan.keys - v * LANES))
