"""How `attention` lays out its operands, and the packing of its keys and values.

Keys and values are packed like the weights of a product: keys transposed, for the product with the queries,
values as they are. With K4 the number of keys, rounded up to a multiple of 4, and likewise for features:

    key t, feature f of a head, panel p:     (first key of p) * head_dim4 + f * width + t - first key
    value t, feature f of a head, panel p:   (first feature of p) * K4 + t * width + f - first feature

where the width of a panel is a multiple of 16; panels of one head are about equally wide.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..machine import tuning
from ..machine.compilation import part, routine
from ..machine.threads import finish_task, next_task, share_begin, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, store
from ..rows.softmax import ROOM_OF_A_ROW
from ..tiles.packing import pack_panel, round_up
from ..tiles.tile import tile_of_this_machine


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
    key_panels: int
    """Panels of keys of one head, all about equally wide; so are those of values."""
    head_vectors: int
    """Vectors of 16 features of a head."""
    value_panels: int
    key_size: int
    """Floats of the packed keys of one head."""
    value_size: int
    tiles_of_task: int
    """Tiles of queries that are computed together."""
    keys_at_a_time: int
    """Keys whose values are added up before those of the next."""
    scratch_size: int
    """Floats of one thread: queries, results, scores and softmax of some tiles."""


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
    tile_vectors = 2 * head_vectors + key_vectors + ROOM_OF_A_ROW
    tiles_of_task = tuning.tiles_of_task(tile.rows * LANES * tile_vectors)
    return AttentionPlan(
        batch=batch,
        queries=queries,
        keys=keys,
        num_heads=num_heads,
        head_dim=head_dim,
        tile_rows=tile.rows,
        key_vectors=key_vectors,
        key_panels=-(-key_vectors // tile.vectors),
        head_vectors=head_vectors,
        value_panels=-(-head_vectors // tile.vectors),
        key_size=key_vectors * LANES * round_up(head_dim, 4),
        value_size=head_vectors * LANES * round_up(keys, 4),
        tiles_of_task=tiles_of_task,
        keys_at_a_time=tuning.keys_at_a_time(head_vectors * LANES),
        scratch_size=tiles_of_task * tile.rows * LANES * tile_vectors,
    )


@routine
def pack_keys_and_values(
    key: np.ndarray,
    key_strides: HeadStrides,
    value: np.ndarray,
    value_strides: HeadStrides,
    packed_keys: np.ndarray,
    packed_values: np.ndarray,
    plan: AttentionPlan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Pack keys and values; a panel of keys of one head, and the values of these keys, are a task.

    Tasks are numbered along the tokens first, so that a thread finds in its cache what it computed itself.
    """
    heads = plan.batch * plan.num_heads
    tasks = plan.key_panels * heads
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        panel, image_head = task // heads, task % heads
        image, feature = image_head // plan.num_heads, image_head % plan.num_heads * plan.head_dim
        first = share_begin(panel, plan.key_panels, plan.key_vectors) * LANES
        last = min(share_begin(panel + 1, plan.key_panels, plan.key_vectors) * LANES, plan.keys)
        start = key_strides.start + image * key_strides.image + first * key_strides.token + feature
        pack_panel(key, start, key_strides.token, last - first, plan.head_dim,
                   packed_keys, image_head * plan.key_size + first * (plan.head_dim + 3 & -4))  # fmt: skip
        _pack_values(value, value_strides.start + image * value_strides.image + feature, value_strides.token,
                     first, last, packed_values, image_head * plan.value_size, plan)  # fmt: skip
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@part
def _pack_values(
    value: np.ndarray,
    index: int,
    stride: int,
    first: int,
    last: int,
    packed: np.ndarray,
    offset: int,
    plan: AttentionPlan,
) -> None:
    """Panels of features: for every key its features side by side, zeros beyond the last key."""
    padded_keys = plan.keys + 3 & -4
    if last == plan.keys:
        last = padded_keys
    for panel in range(plan.value_panels):
        begin = share_begin(panel, plan.value_panels, plan.head_vectors)
        vectors = share_begin(panel + 1, plan.value_panels, plan.head_vectors) - begin
        start = offset + begin * LANES * padded_keys
        for t in range(first, last):
            for v in range(vectors):
                feature = (begin + v) * LANES
                count = min(LANES, plan.head_dim - feature)
                if t >= plan.keys:
                    numbers = fill(np.float32(0))
                elif count == LANES:
                    numbers = load(value, index + t * stride + feature)
                else:
                    numbers = load_part(value, index + t * stride + feature, count)
                store(packed, start + (t * vectors + v) * LANES, numbers)
