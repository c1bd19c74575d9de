"""Operations on elements and rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..rows.activations import activation, activation_cost, activation_reference
from ..rows.gelu import gelu_exact_cost, gelu_exact_reference, gelu_tanh_cost, gelu_tanh_reference
from ..rows.l2_normalize import l2_normalize, l2_normalize_cost, l2_normalize_reference
from ..rows.layer_norm import layer_norm, layer_norm_cost, layer_norm_reference
from ..rows.mean_pooling import mean_pooling, mean_pooling_cost, mean_pooling_reference
from ..rows.quantization import quantize_rows, quantize_rows_cost, quantize_rows_reference
from ..rows.sigmoid_loss import sigmoid_loss, sigmoid_loss_cost, sigmoid_loss_reference
from ..rows.softmax import softmax, softmax_cost, softmax_reference
from .operation import Operands, operation, shapes_of_models
from .sampling import Sampler


def _activation_of(name: str) -> Callable[..., Any]:
    """One activation as an operation by itself, as GELU is to be measured."""
    return lambda runtime, x: activation(runtime, x, name)


@operation(
    layer_norm_reference,
    layer_norm,
    layer_norm_cost,
    check_shapes=({"rows": 1, "width": 1}, {"rows": 3, "width": 7}, {"rows": 2, "width": 1152}),
    model_shapes=shapes_of_models(lambda m: {"rows": m.tokens, "width": m.hidden_size}),
)
def layer_norm_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {
        "x": draw.array(rows, width, scale=3.0),
        "weight": draw.array(width),
        "bias": draw.array(width),
        "eps": 1e-6,
    }


@operation(
    softmax_reference,
    softmax,
    softmax_cost,
    check_shapes=({"rows": 1, "width": 1}, {"rows": 5, "width": 17}, {"rows": 2, "width": 729}),
    model_shapes=shapes_of_models(lambda m: {"rows": m.num_heads * m.tokens, "width": m.tokens}),
)
def softmax_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {"x": draw.array(rows, width, scale=5.0)}


@operation(
    gelu_tanh_reference,
    _activation_of("gelu_pytorch_tanh"),
    gelu_tanh_cost,
    check_shapes=({"elements": 1}, {"elements": 101}),
    model_shapes=shapes_of_models(lambda m: {"elements": m.tokens * m.intermediate_size}),
)
@operation(
    gelu_exact_reference,
    _activation_of("gelu"),
    gelu_exact_cost,
    check_shapes=({"elements": 1}, {"elements": 101}),
    model_shapes=shapes_of_models(lambda m: {"elements": m.tokens * m.intermediate_size}),
)
def elements_operands(draw: Sampler, *, elements: int) -> Operands:
    return {"x": draw.array(elements, scale=3.0)}


@operation(
    activation_reference,
    activation,
    activation_cost,
    check_shapes=({"elements": 1, "name": "relu"}, {"elements": 101, "name": "quick_gelu"}),
    model_shapes=shapes_of_models(
        lambda m: {"elements": m.tokens * m.intermediate_size, "name": "quick_gelu"}
    ),
)
def activation_operands(draw: Sampler, *, elements: int, name: str) -> Operands:
    return {"x": draw.array(elements, scale=3.0), "name": name}


@operation(
    l2_normalize_reference,
    l2_normalize,
    l2_normalize_cost,
    check_shapes=({"rows": 1, "width": 1}, {"rows": 9, "width": 7}, {"rows": 2, "width": 1152}),
    model_shapes=shapes_of_models(lambda m: {"rows": 64, "width": m.hidden_size}),
)
@operation(
    quantize_rows_reference,
    quantize_rows,
    quantize_rows_cost,
    check_shapes=({"rows": 1, "width": 1}, {"rows": 9, "width": 7}, {"rows": 3, "width": 588}),
    model_shapes=shapes_of_models(lambda m: {"rows": m.tokens, "width": m.intermediate_size}),
)
def rows_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {"x": draw.array(rows, width, scale=3.0)}


@operation(
    mean_pooling_reference,
    mean_pooling,
    mean_pooling_cost,
    check_shapes=(
        {"batch": 1, "tokens": 1, "width": 1},
        {"batch": 3, "tokens": 7, "width": 33},
    ),
    model_shapes=shapes_of_models(lambda m: {"batch": 1, "tokens": m.tokens, "width": m.hidden_size}),
)
def mean_pooling_operands(draw: Sampler, *, batch: int, tokens: int, width: int) -> Operands:
    return {"x": draw.array(batch, tokens, width)}


@operation(
    sigmoid_loss_reference,
    sigmoid_loss,
    sigmoid_loss_cost,
    check_shapes=({"rows": 1}, {"rows": 9}, {"rows": 33}),
    model_shapes={"a batch of 256": {"rows": 256}},
)
def sigmoid_loss_operands(draw: Sampler, *, rows: int) -> Operands:
    return {"logits": draw.array(rows, rows, scale=5.0)}
