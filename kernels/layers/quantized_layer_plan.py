"""Where the intermediate results of a quantised layer lie: `layer_plan` with integers in it."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..attention.attention_packing import AttentionPlan, plan_attention
from ..machine.vector import LANES
from ..products.integer_product import plan_integer_product
from ..products.matrix_product import Plan
from ..tiles.packing import round_up


class QuantizedLayerPlan(NamedTuple):
    """Plans of the parts of a layer, and where their arrays lie in one piece of memory."""

    rows: int
    """Of one piece."""
    query_key_value: Plan
    attention: AttentionPlan
    """Its queries are those of one piece."""
    out_proj: Plan
    fc1: Plan
    fc2: Plan
    quantised: int
    """Begin of the rows that the next product reads, in words, and so on; each array ends where the next
    begins."""
    scales: int
    heads: int
    middle: int
    """The residual stream between the two halves of the layer."""
    activated: int
    projected: int
    keys: int
    values: int
    attending: int
    multiplying: int
    normalising: int
    """A row of each thread."""
    end: int


@functools.lru_cache(maxsize=64)
def plan_quantized_layer(
    images: int, tokens: int, rows: int, width: int, intermediate_size: int, num_heads: int, threads: int
) -> QuantizedLayerPlan:
    """Sizes of the parts of a layer, for pieces of some rows of some images.

    Examples
    --------
    >>> plan = plan_quantized_layer(
    ...     1, tokens=4, rows=2, width=8, intermediate_size=16, num_heads=2, threads=1
    ... )
    >>> plan.keys - plan.projected, plan.attention.queries, plan.attention.keys
    (96, 2, 4)
    """
    query_key_value = plan_integer_product(rows, width, 3 * width, threads)
    out_proj = plan_integer_product(rows, width, width, threads)
    fc1 = plan_integer_product(rows, width, intermediate_size, threads)
    fc2 = plan_integer_product(rows, intermediate_size, width, threads)
    products = (query_key_value, out_proj, fc1, fc2)
    attention = plan_attention(images, min(rows, tokens), tokens, width, num_heads)
    sizes = {
        "quantised": max(plan.packed_size for plan in products),
        "scales": rows,
        "heads": rows * width,
        "middle": rows * width,
        "activated": rows * intermediate_size,
        "projected": images * tokens * 3 * width,
        "keys": images * num_heads * attention.key_size,
        "values": images * num_heads * attention.value_size,
        "attending": threads * attention.own_size,
        "multiplying": threads * max(plan.tiles_size for plan in products),
        "normalising": threads * round_up(width, LANES),
    }
    ends = np.cumsum([round_up(size, LANES) for size in sizes.values()]).tolist()  # at cache lines
    return QuantizedLayerPlan(
        rows=rows,
        query_key_value=query_key_value,
        attention=attention,
        out_proj=out_proj,
        fc1=fc1,
        fc2=fc2,
        **dict(zip(sizes, [0, *ends], strict=False)),
        end=ends[-1],
    )
