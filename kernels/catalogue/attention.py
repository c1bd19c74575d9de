"""Operations of attention."""

from __future__ import annotations

from ..attention.attention import attention, attention_cost, attention_reference
from ..attention.attention_pooling import (
    attention_pooling,
    attention_pooling_cost,
    attention_pooling_reference,
    folded_pooling_cost,
)
from .operation import Operands, operation, shapes_of_models
from .sampling import Sampler


@operation(
    attention_reference,
    attention,
    attention_cost,
    check_shapes=(
        {"batch": 1, "queries": 1, "keys": 1, "width": 1, "num_heads": 1},
        {"batch": 3, "queries": 5, "keys": 5, "width": 33, "num_heads": 3, "return_attention": True},
        {"batch": 2, "queries": 1, "keys": 19, "width": 144, "num_heads": 2, "return_attention": True},
    ),
    model_shapes=shapes_of_models(
        lambda m: {
            "batch": 1,
            "queries": m.tokens,
            "keys": m.tokens,
            "width": m.hidden_size,
            "num_heads": m.num_heads,
        }
    ),
)
def attention_operands(
    draw: Sampler,
    *,
    batch: int,
    queries: int,
    keys: int,
    width: int,
    num_heads: int,
    return_attention: bool = False,
) -> Operands:
    return {
        "query": draw.array(batch, queries, width),
        "key": draw.array(batch, keys, width),
        "value": draw.array(batch, keys, width),
        "num_heads": num_heads,
        "return_attention": return_attention,
    }


@operation(
    attention_pooling_reference,
    attention_pooling,
    attention_pooling_cost,
    check_shapes=(
        {"batch": 1, "tokens": 1, "width": 1, "num_heads": 1},
        {"batch": 3, "tokens": 7, "width": 33, "num_heads": 3, "return_attention": True},
    ),
    model_shapes=shapes_of_models(
        lambda m: {"batch": 1, "tokens": m.tokens, "width": m.hidden_size, "num_heads": m.num_heads}
    ),
    compiled_cost=folded_pooling_cost,
)
def attention_pooling_operands(
    draw: Sampler, *, batch: int, tokens: int, width: int, num_heads: int, return_attention: bool = False
) -> Operands:
    return {
        "hidden": draw.array(batch, tokens, width),
        "weights": draw.attention_pooling(width, num_heads),
        "num_heads": num_heads,
        "return_attention": return_attention,
    }
