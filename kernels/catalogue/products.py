"""Operations made of a matrix product."""

from __future__ import annotations

from typing import Any

from ..products.linear import linear, linear_cost, linear_reference
from ..products.quantized_linear import quantized_linear, quantized_linear_cost, quantized_linear_reference
from ..products.similarity import similarity, similarity_cost, similarity_reference
from .operation import MODELS, Operands, Shape, operation, shapes_of_models
from .sampling import Sampler


def _linear_model_shapes() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, m in MODELS.items():
        rows = {"rows": m.tokens}
        d, f = m.hidden_size, m.intermediate_size
        patch_features = 3 * m.patch_size**2
        shapes[f"{name} patches"] = {
            **rows,
            "in_features": patch_features,
            "out_features": d,
            "residual": True,
        }
        shapes[f"{name} query key value"] = {**rows, "in_features": d, "out_features": 3 * d}
        shapes[f"{name} attention output"] = {**rows, "in_features": d, "out_features": d, "residual": True}
        shapes[f"{name} mlp fc1"] = {
            **rows,
            "in_features": d,
            "out_features": f,
            "activation": "gelu_pytorch_tanh",
        }
        shapes[f"{name} mlp fc2"] = {**rows, "in_features": f, "out_features": d, "residual": True}
    return shapes


_LINEAR_CHECKS: tuple[Shape, ...] = (
    {"rows": 1, "in_features": 1, "out_features": 1},
    {"rows": 3, "in_features": 588, "out_features": 5, "residual": True},
    {"rows": 17, "in_features": 9, "out_features": 33, "activation": "gelu_pytorch_tanh"},
    {"rows": 5, "in_features": 31, "out_features": 16, "activation": "gelu", "residual": True},
)


@operation(
    linear_reference,
    linear,
    linear_cost,
    check_shapes=_LINEAR_CHECKS,
    model_shapes=_linear_model_shapes(),
)
def linear_operands(
    draw: Sampler,
    *,
    rows: int,
    in_features: int,
    out_features: int,
    activation: str | None = None,
    residual: bool = False,
) -> Operands:
    return {
        "x": draw.array(rows, in_features),
        "weights": draw.linear(out_features, in_features),
        "activation": activation,
        "residual": draw.array(rows, out_features) if residual else None,
    }


@operation(
    quantized_linear_reference,
    quantized_linear,
    quantized_linear_cost,
    check_shapes=_LINEAR_CHECKS,
    model_shapes=_linear_model_shapes(),
)
def quantized_linear_operands(draw: Sampler, **shape: Any) -> Operands:
    weights = draw.quantized_linear(shape["out_features"], shape["in_features"])
    return {**linear_operands(draw, **shape), "weights": weights}


@operation(
    similarity_reference,
    similarity,
    similarity_cost,
    check_shapes=(
        {"rows": 1, "columns": 1, "width": 1},
        {"rows": 5, "columns": 3, "width": 33},
        {"rows": 17, "columns": 50, "width": 20},
    ),
    model_shapes=shapes_of_models(lambda m: {"rows": 64, "columns": 1000, "width": m.hidden_size}),
)
def similarity_operands(draw: Sampler, *, rows: int, columns: int, width: int) -> Operands:
    x, y = draw.array(rows, width, scale=width**-0.5), draw.array(columns, width, scale=width**-0.5)
    return {"x": x, "y": y, "scale": 10.0, "bias": -3.0}
