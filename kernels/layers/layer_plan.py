"""How a layer of `encoder` is cut into pieces, and where its intermediate results lie."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..attention.attention_packing import AttentionPlan, plan_attention
from ..machine import tuning
from ..machine.vector import LANES
from ..products.integer_product import plan_integer_product
from ..products.matrix_product import Plan, plan_product
from ..tiles.packing import round_up
from ..tiles.tile import tile_of_this_machine


class LayerPlan(NamedTuple):
    """Plans of the parts of a layer, and where their arrays lie in one piece of memory."""

    rows: int
    """Rows of one piece"""
    query_key_value: Plan
    attention: AttentionPlan
    """Its queries are those of one piece"""
    out_proj: Plan
    fc1: Plan
    fc2: Plan
    operand: int
    """Where the operand of the next product begins, as the product reads it: packed, and quantised if the
    weights are. So with the other arrays; each ends where the next begins."""
    heads: int
    """What attention gathers"""
    middle: int
    """The residual stream between the two halves of the layer"""
    activated: int
    """What comes out of fc1"""
    projected: int
    """Queries, keys and values of all pieces"""
    keys: int
    """Packed keys"""
    values: int
    """Packed values"""
    scratch: int
    """What each operation needs for itself, for all threads"""
    end: int


@functools.lru_cache(maxsize=64)
def plan_layer(
    images: int,
    tokens: int,
    rows: int,
    width: int,
    intermediate_size: int,
    num_heads: int,
    threads: int,
    quantized: bool,
) -> LayerPlan:
    """Sizes of the parts of a layer, for pieces of some rows of some images.

    Examples
    --------
    >>> sizes = {"tokens": 4, "rows": 2, "width": 8, "intermediate_size": 16, "num_heads": 2, "threads": 1}
    >>> plan = plan_layer(1, **sizes, quantized=False)
    >>> plan.keys - plan.projected, plan.attention.queries, plan.attention.keys
    (96, 2, 4)
    """

    def product(in_features: int, out_features: int) -> Plan:
        if quantized:
            return plan_integer_product(rows, in_features, out_features, threads)
        return plan_product(rows, in_features, out_features, tile_of_this_machine(), threads)

    query_key_value, out_proj = product(width, 3 * width), product(width, width)
    fc1, fc2 = product(width, intermediate_size), product(intermediate_size, width)
    products = (query_key_value, out_proj, fc1, fc2)
    attention = plan_attention(images, min(rows, tokens), tokens, width, num_heads)
    scratch = max(attention.scratch_size, width, *(plan.tiles_size for plan in products))
    sizes = {
        "operand": max(plan.packed_size for plan in products),
        "heads": max(rows * width, out_proj.packed_size),  # plain or packed
        "middle": rows * width,
        "activated": max(rows * intermediate_size, fc2.packed_size),
        "projected": images * tokens * 3 * width,
        "keys": images * num_heads * attention.key_size,
        "values": images * num_heads * attention.value_size,
        "scratch": threads * round_up(scratch, LANES),
    }
    ends = np.cumsum([round_up(size, LANES) for size in sizes.values()]).tolist()  # at cache lines
    return LayerPlan(
        rows=rows,
        query_key_value=query_key_value,
        attention=attention,
        out_proj=out_proj,
        fc1=fc1,
        fc2=fc2,
        **dict(zip(sizes, [0, *ends], strict=False)),
        end=ends[-1],
    )


def cut_into_pieces(tokens: int, intermediate_size: int, threads: int) -> tuple[int, int]:
    """How many images make a piece, and how many rows of each; one of the two is all there is.

    Examples
    --------
    >>> cut_into_pieces(tokens=1, intermediate_size=16, threads=2)[1]
    1
    >>> images, rows = cut_into_pieces(tokens=10**6, intermediate_size=3072, threads=2)
    >>> images, rows < 10**6
    (1, True)
    """
    wanted = max(1, threads * tuning.floats_of_thread() // intermediate_size)
    if tokens <= wanted:
        return wanted // tokens, tokens
    even = -(-tokens // -(-tokens // wanted))
    return 1, min(tokens, round_up(even, tile_of_this_machine().rows))
