"""The compiled products of `attention`: scores, softmax and values of a few queries at a time, in cache.

The scores of one head are (queries, keys), a megabyte or more where tokens are many. They are never all
held: a task takes some tiles of queries of one head, computes their scores against all keys, turns them
into weights and multiplies them by the values, while all of it stays in the second level of cache. (Rabe
and Staats, 2021, https://arxiv.org/abs/2112.05682, do not even hold a row of scores; a row is short enough
here, and its softmax is then the plain one.)

Keys and values are packed first, one head a task, like the weights of a product: keys turned over, for the
product with the queries; values as they are. The weights of a tile need no packing: the scores are stored
in the order in which the product with the values reads its left operand.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .compilation import kernel, part
from .packing import pack_panel, round_up, row_place
from .softmax import exponentials
from .threads import finish_task, next_task, wait_for_tasks
from .tile import multiply_tile, tile_of_this_machine
from .vector import LANES, fill, load, load_part, store, store_part

_TILES_OF_TASK = 4
"""Tiles of queries that share a panel of keys while it is in the first level of cache."""


class HeadStrides(NamedTuple):
    """Where the numbers of (image, token, feature) lie in a flat array."""

    start: int
    image: int
    token: int


class AttentionPlan(NamedTuple):
    """Sizes of one call, in the words of the contract, and of its packed operands."""

    batch: int
    queries: int
    keys: int
    num_heads: int
    head_dim: int
    tile_rows: int
    key_vectors: int
    """Vectors of 16 keys."""
    panel_vectors: int
    """Of a panel of keys."""
    head_vectors: int
    """Vectors of 16 features of a head."""
    value_vectors: int
    """Of a panel of values: all panels of a head are about equally wide."""
    key_size: int
    """Floats of the packed keys of one head."""
    value_size: int
    own_size: int
    """Floats of one thread: packed queries and scores of some tiles, a tile of results, a sum a row."""


@functools.lru_cache(maxsize=256)
def plan_attention(batch: int, queries: int, keys: int, width: int, num_heads: int) -> AttentionPlan:
    """Sizes of the packed operands.

    Examples
    --------
    >>> plan = plan_attention(batch=1, queries=196, keys=196, width=768, num_heads=12)
    >>> plan.head_dim, plan.key_vectors, plan.head_vectors
    (64, 13, 4)
    """
    tile = tile_of_this_machine()
    head_dim = width // num_heads
    key_vectors, head_vectors = -(-keys // LANES), -(-head_dim // LANES)
    value_vectors = -(-head_vectors // -(-head_vectors // tile.vectors))
    tile_floats = tile.rows * LANES
    return AttentionPlan(
        batch,
        queries,
        keys,
        num_heads,
        head_dim,
        tile.rows,
        key_vectors,
        tile.vectors,
        head_vectors,
        value_vectors,
        key_vectors * LANES * round_up(head_dim, 4),
        head_vectors * LANES * round_up(keys, 4),
        tile_floats * (_TILES_OF_TASK * (head_vectors + key_vectors) + value_vectors + 1),
    )


@kernel
def attend(
    query: np.ndarray,
    query_strides: HeadStrides,
    key: np.ndarray,
    key_strides: HeadStrides,
    value: np.ndarray,
    value_strides: HeadStrides,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    maps: np.ndarray,
    packed_keys: np.ndarray,
    packed_values: np.ndarray,
    own: np.ndarray,
    plan: AttentionPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Pack keys and values, one head a task; then attend, a few tiles of queries of one head a task.

    Scores of a tile are stored as the tile's vectors come, and lie then as the left operand of a product
    with the values must lie: blocks of 16 keys, in each the rows of the tile.

    The result is plain or packed, as ``out_row_size`` and ``out_panel_rows`` say (see `packing.row_place`);
    packed only where the size of a head divides by 16.
    """
    heads = plan.batch * plan.num_heads
    while True:
        task = next_task(progress, 0, heads, thread)
        if task < 0:
            break
        image, head = task // plan.num_heads, task % plan.num_heads
        feature = head * plan.head_dim
        _pack_keys(key, key_strides.start + image * key_strides.image + feature, key_strides.token,
                   packed_keys, task * plan.key_size, plan)  # fmt: skip
        _pack_values(value, value_strides.start + image * value_strides.image + feature, value_strides.token,
                     packed_values, task * plan.value_size, plan)  # fmt: skip
        finish_task(progress, 0)
    wait_for_tasks(progress, 0, heads)

    tile_floats = plan.tile_rows * LANES
    queries_own = thread * plan.own_size
    scores_own = queries_own + _TILES_OF_TASK * tile_floats * plan.head_vectors
    heads_own = scores_own + _TILES_OF_TASK * tile_floats * plan.key_vectors
    tile_count = (plan.queries + plan.tile_rows - 1) // plan.tile_rows
    blocks = (tile_count + _TILES_OF_TASK - 1) // _TILES_OF_TASK
    tasks = heads * blocks
    while True:
        task = next_task(progress, 1, tasks, thread)
        if task < 0:
            break
        place, block = task // blocks, task % blocks
        image, head = place // plan.num_heads, place % plan.num_heads
        first_tile = block * _TILES_OF_TASK
        tiles = min(_TILES_OF_TASK, tile_count - first_tile)
        for t in range(tiles):
            row = (first_tile + t) * plan.tile_rows
            start = query_strides.start + image * query_strides.image + row * query_strides.token
            _pack_queries(query, start + head * plan.head_dim, query_strides.token, plan.queries - row,
                          own, queries_own + t * tile_floats * plan.head_vectors, plan)  # fmt: skip
        for panel in range(0, plan.key_vectors, plan.panel_vectors):
            for t in range(tiles):
                multiply_tile(
                    plan.queries - (first_tile + t) * plan.tile_rows,
                    min(plan.panel_vectors, plan.key_vectors - panel),
                    own, queries_own + t * tile_floats * plan.head_vectors,
                    packed_keys, place * plan.key_size + panel * LANES * (plan.head_dim + 3 & -4),
                    (plan.head_dim + 3) // 4,
                    own, scores_own + t * tile_floats * plan.key_vectors + panel * tile_floats,
                    LANES, tile_floats, 0,
                    packed_values, place * plan.value_size,
                )  # fmt: skip
        for t in range(tiles):
            row = (first_tile + t) * plan.tile_rows
            _finish_queries(
                own, scores_own + t * tile_floats * plan.key_vectors, heads_own,
                packed_values, place * plan.value_size, out, out_row_size, out_panel_rows,
                maps, image, head, row, plan,
            )  # fmt: skip
        finish_task(progress, 1)
    wait_for_tasks(progress, 1, tasks)


@part
def _pack_keys(
    key: np.ndarray, index: int, stride: int, packed: np.ndarray, place: int, plan: AttentionPlan
) -> None:
    """Panels of keys, each turned over: for every feature the keys side by side."""
    columns = plan.panel_vectors * LANES
    for first in range(0, plan.keys, columns):
        count = min(columns, plan.keys - first)
        pack_panel(key, index + first * stride, stride, count, plan.head_dim,
                   packed, place + first * (plan.head_dim + 3 & -4))  # fmt: skip


@part
def _pack_values(
    value: np.ndarray, index: int, stride: int, packed: np.ndarray, place: int, plan: AttentionPlan
) -> None:
    """Panels of features: for every key its features side by side, zeros beyond the last key."""
    padded_keys = plan.keys + 3 & -4
    for panel in range(0, plan.head_vectors, plan.value_vectors):
        vectors = min(plan.value_vectors, plan.head_vectors - panel)
        start = place + panel * LANES * padded_keys
        for t in range(padded_keys):
            for v in range(vectors):
                feature = (panel + v) * LANES
                count = min(LANES, plan.head_dim - feature)
                if t >= plan.keys:
                    numbers = fill(np.float32(0))
                elif count == LANES:
                    numbers = load(value, index + t * stride + feature)
                else:
                    numbers = load_part(value, index + t * stride + feature, count)
                store(packed, start + (t * vectors + v) * LANES, numbers)


@part
def _pack_queries(
    query: np.ndarray, index: int, stride: int, rows: int, packed: np.ndarray, place: int, plan: AttentionPlan
) -> None:
    """One panel of queries, divided by the square root of the head's size."""
    scale = np.float32(1) / np.sqrt(np.float32(plan.head_dim))
    for v in range(plan.head_vectors):
        count = min(LANES, plan.head_dim - v * LANES)
        for r in range(plan.tile_rows):
            if r >= rows:
                numbers = fill(np.float32(0))
            elif count == LANES:
                numbers = load(query, index + r * stride + v * LANES) * scale
            else:
                numbers = load_part(query, index + r * stride + v * LANES, count) * scale
            store(packed, place + (v * plan.tile_rows + r) * LANES, numbers)


@part
def _finish_queries(
    own: np.ndarray,
    scores: int,
    result: int,
    packed_values: np.ndarray,
    values: int,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    maps: np.ndarray,
    image: int,
    head: int,
    first: int,
    plan: AttentionPlan,
) -> None:
    """Softmax of the scores of one tile, and its product with the values."""
    tile_floats = plan.tile_rows * LANES
    rows = min(plan.tile_rows, plan.queries - first)
    sums = result + tile_floats * plan.value_vectors
    last_block = scores + (plan.key_vectors - 1) * tile_floats
    for r in range(rows):
        for lane in range(plan.keys - (plan.key_vectors - 1) * LANES, LANES):
            own[last_block + r * LANES + lane] = np.float32(-np.inf)
        total = exponentials(own, scores + r * LANES, tile_floats, plan.key_vectors)
        own[sums + r] = np.float32(1) / total
        if maps.size > 0:
            target = ((image * plan.num_heads + head) * plan.queries + first + r) * plan.keys
            for i in range(plan.keys):
                block, lane = i // LANES, i % LANES
                maps[target + i] = own[scores + block * tile_floats + r * LANES + lane] * own[sums + r]

    padded_keys = plan.keys + 3 & -4
    for panel in range(0, plan.head_vectors, plan.value_vectors):
        vectors = min(plan.value_vectors, plan.head_vectors - panel)
        multiply_tile(
            rows, vectors, own, scores,
            packed_values, values + panel * LANES * padded_keys, padded_keys // 4,
            own, result, vectors * LANES, LANES, 0,
            packed_values, values,
        )  # fmt: skip
        for r in range(rows):
            row = image * plan.queries + first + r
            target = row_place(row, out_row_size, out_panel_rows) + head * plan.head_dim * out_panel_rows
            for v in range(vectors):
                feature = (panel + v) * LANES
                numbers = load(own, result + (r * vectors + v) * LANES) * own[sums + r]
                if plan.head_dim - feature >= LANES:
                    store(out, target + feature * out_panel_rows, numbers)
                else:
                    store_part(out, target + feature, numbers, plan.head_dim - feature)
