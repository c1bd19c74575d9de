"""Multi-head scaled dot-product attention, without a mask.

For each image and each head h, with Q, K and V the h-th slices of the operands' last axis:

    A_h = softmax(Q_h K_h^T / sqrt(head_dim))         (queries, keys)
    O_h = A_h V_h                                     (queries, head_dim)

and the heads' results lie side by side again in the last axis.

Operands
    query       (batch, queries, width), any float dtype
    key, value  (batch, keys, width), the same dtype
    num_heads   divides width; head_dim = width / num_heads may be odd
    The three may be strided views of one stacked projection (batch, tokens, 3 * width).
Result
    output (batch, queries, width) and, if asked for, the attention maps
    (batch, num_heads, queries, keys), both in C order and in the dtype of ``query``. Nobody pads.
Cost
    4 * queries * keys * width flops for the two products, 5 + 1 an element for the softmax and
    the scale; query, key, value and output are touched once. The maps are counted only if they
    are returned.
NaN
    In a query: its own row of that head. In a key or value: that head of the whole image.
Source
    Vaswani et al., 2017, section 3.2, https://arxiv.org/abs/1706.03762; ``SiglipAttention`` with
    ``eager_attention_forward`` in transformers' ``modeling_siglip``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .compilation import kernel, part
from .cost import Cost, float32_traffic
from .packing import pack_panel, round_up
from .runtime import NOTHING, Runtime
from .softmax import exponentials, softmax_cost, softmax_reference
from .threads import finish_task, next_task, thread_number, wait_for_tasks
from .tile import multiply_tile, tile_of_this_machine
from .vector import LANES, fill, load, load_part, store, store_part


def split_heads(x: np.ndarray, num_heads: int) -> np.ndarray:
    """Cut the last axis into heads: (batch, tokens, width) -> (batch, heads, tokens, head_dim).

    Examples
    --------
    >>> import numpy as np
    >>> split_heads(np.zeros((2, 5, 12)), num_heads=4).shape
    (2, 4, 5, 3)
    """
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, num_heads, width // num_heads).transpose(0, 2, 1, 3)


def attention_reference(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let every query gather a weighted mean of the values, separately in each head.

    Parameters
    ----------
    query : ndarray of shape (batch, queries, width)
    key, value : ndarray of shape (batch, keys, width)
    num_heads : int
    return_attention : bool

    Returns
    -------
    output : ndarray of shape (batch, queries, width)
    attention : ndarray of shape (batch, num_heads, queries, keys), or None

    Examples
    --------
    A query of zeros finds all keys alike and returns the mean of the values:

    >>> import numpy as np
    >>> value = np.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> output, attention = attention_reference(np.zeros((1, 1, 2)), value, value, 2, True)
    >>> output
    array([[[ 2., 20.]]])
    >>> attention.shape
    (1, 2, 1, 2)
    """
    q, k, v = (split_heads(x, num_heads) for x in (query, key, value))
    scale = query.dtype.type(q.shape[-1] ** -0.5)
    scores = q @ k.swapaxes(-1, -2) * scale  # (B, H, queries, keys)
    attention = softmax_reference(scores)
    heads = attention @ v  # (B, H, queries, head_dim)
    output = heads.transpose(0, 2, 1, 3).reshape(query.shape)
    return output, (attention if return_attention else None)


def attention_cost(
    *, batch: int, queries: int, keys: int, width: int, num_heads: int, return_attention: bool = False
) -> Cost:
    """Cost of one call."""
    scores = batch * num_heads * queries * keys
    softmax = softmax_cost(rows=batch * num_heads * queries, width=keys)
    moved = float32_traffic(2 * batch * queries * width, 2 * batch * keys * width)
    return Cost(
        flops=4 * batch * queries * keys * width + scores + softmax.flops,
        bytes=moved + (float32_traffic(scores) if return_attention else 0),
    )


# ----------------------------------------------------------------------------------------- compiled

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


def attention(
    runtime: Runtime,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute `attention_reference` in float32, without ever holding all scores.

    Parameters
    ----------
    runtime : Runtime
    query : ndarray of shape (batch, queries, width)
    key, value : ndarray of shape (batch, keys, width)
    num_heads : int
    return_attention : bool

    Returns
    -------
    output : ndarray of shape (batch, queries, width)
    attention : ndarray of shape (batch, num_heads, queries, keys), or None

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.runtime import Runtime
    >>> value = np.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> output, _ = attention(Runtime(threads=1), np.zeros((1, 1, 2)), value, value, num_heads=2)
    >>> output.tolist()
    [[[2.0, 20.0]]]
    """
    batch, queries, width = query.shape
    plan = plan_attention(batch, queries, key.shape[1], width, num_heads)
    out = runtime.empty(batch, queries, width)
    maps = runtime.empty(batch, num_heads, queries, plan.keys) if return_attention else None
    runtime.run(
        attend,
        *_strided(query),
        *_strided(key),
        *_strided(value),
        out.reshape(-1),
        NOTHING if maps is None else maps.reshape(-1),
        runtime.empty(batch * num_heads * plan.key_size),
        runtime.empty(batch * num_heads * plan.value_size),
        runtime.empty(runtime.threads * plan.own_size),
        plan,
    )
    return out, maps


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


def _strided(x: np.ndarray) -> tuple[np.ndarray, HeadStrides]:
    """A flat array, and where in it the operand lies; a slice of a projection is not copied."""
    base = x.base
    if (
        isinstance(base, np.ndarray)
        and base.ndim == 1
        and base.dtype == x.dtype == np.float32
        and base.flags.writeable
        and base.flags.c_contiguous
        and x.strides[2] == x.itemsize
    ):
        start = (_address(x) - _address(base)) // x.itemsize
        return base, HeadStrides(start, x.strides[0] // x.itemsize, x.strides[1] // x.itemsize)
    whole = np.require(x, np.float32, ["C", "W"])
    return whole.reshape(-1), HeadStrides(0, whole.shape[1] * whole.shape[2], whole.shape[2])


def _address(x: np.ndarray) -> int:
    address: int = x.__array_interface__["data"][0]
    return address


@kernel
def attend(
    query: np.ndarray,
    query_strides: HeadStrides,
    key: np.ndarray,
    key_strides: HeadStrides,
    value: np.ndarray,
    value_strides: HeadStrides,
    out: np.ndarray,
    maps: np.ndarray,
    packed_keys: np.ndarray,
    packed_values: np.ndarray,
    own: np.ndarray,
    plan: AttentionPlan,
    progress: np.ndarray,
) -> None:
    """Pack keys and values, one head a task; then attend, a few tiles of queries of one head a task.

    Scores of a tile are stored as the tile's vectors come, and lie then as the left operand of a product
    with the values must lie: blocks of 16 keys, in each the rows of the tile.
    """
    heads = plan.batch * plan.num_heads
    while True:
        task = next_task(progress, 0)
        if task >= heads:
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
    queries_own = thread_number(progress) * plan.own_size
    scores_own = queries_own + _TILES_OF_TASK * tile_floats * plan.head_vectors
    heads_own = scores_own + _TILES_OF_TASK * tile_floats * plan.key_vectors
    tile_count = (plan.queries + plan.tile_rows - 1) // plan.tile_rows
    blocks = (tile_count + _TILES_OF_TASK - 1) // _TILES_OF_TASK
    tasks = heads * blocks
    while True:
        task = next_task(progress, 1)
        if task >= tasks:
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
                packed_values, place * plan.value_size, out, maps, image, head, row, plan,
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

    width = plan.num_heads * plan.head_dim
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
            target = (image * plan.queries + first + r) * width + head * plan.head_dim
            for v in range(vectors):
                feature = (panel + v) * LANES
                numbers = load(own, result + (r * vectors + v) * LANES) * own[sums + r]
                if plan.head_dim - feature >= LANES:
                    store(out, target + feature, numbers)
                else:
                    store_part(out, target + feature, numbers, plan.head_dim - feature)
