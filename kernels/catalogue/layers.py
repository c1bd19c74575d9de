"""Layers and stacks of them."""

from __future__ import annotations

from typing import Any

from ..layers.encoder import encoder, encoder_cost, encoder_reference
from ..layers.encoder_layer import (
    EncoderLayerWeights,
    LayerNormWeights,
    encoder_layer,
    encoder_layer_cost,
    encoder_layer_reference,
)
from .operation import Operands, Shape, operation, shapes_of_models
from .sampling import Sampler

_LAYER_CHECK: Shape = {"intermediate_size": 7, "activation": "gelu_pytorch_tanh"}


def _encoder_layer_weights(
    draw: Sampler, width: int, intermediate_size: int, quantized: bool = False
) -> EncoderLayerWeights:
    norms = [LayerNormWeights(draw.array(width), draw.array(width)) for _ in range(2)]
    linear = draw.quantized_linear if quantized else draw.linear
    return EncoderLayerWeights(
        layer_norm1=norms[0],
        query_key_value=linear(3 * width, width),
        out_proj=linear(width, width),
        layer_norm2=norms[1],
        fc1=linear(intermediate_size, width),
        fc2=linear(width, intermediate_size),
    )


@operation(
    encoder_layer_reference,
    encoder_layer,
    encoder_layer_cost,
    check_shapes=(
        {**_LAYER_CHECK, "batch": 1, "tokens": 1, "width": 2, "num_heads": 1},
        {**_LAYER_CHECK, "batch": 3, "tokens": 5, "width": 33, "num_heads": 3},
    ),
    model_shapes=shapes_of_models(
        lambda m: {
            "batch": 1,
            "tokens": m.tokens,
            "width": m.hidden_size,
            "intermediate_size": m.intermediate_size,
            "num_heads": m.num_heads,
            "activation": "gelu_pytorch_tanh",
        }
    ),
)
def encoder_layer_operands(
    draw: Sampler,
    *,
    batch: int,
    tokens: int,
    width: int,
    intermediate_size: int,
    num_heads: int,
    activation: str,
) -> Operands:
    weights = _encoder_layer_weights(draw, width, intermediate_size)
    return {
        "hidden": draw.array(batch, tokens, width),
        "weights": weights,
        "num_heads": num_heads,
        "activation": activation,
        "eps": 1e-6,
    }


@operation(
    encoder_reference,
    encoder,
    encoder_cost,
    check_shapes=(
        {**_LAYER_CHECK, "batch": 1, "tokens": 1, "width": 2, "num_heads": 1, "num_layers": 1},
        {**_LAYER_CHECK, "batch": 3, "tokens": 5, "width": 33, "num_heads": 3, "num_layers": 3},
    ),
    model_shapes=shapes_of_models(
        lambda m: {
            "batch": 1,
            "tokens": m.tokens,
            "width": m.hidden_size,
            "intermediate_size": m.intermediate_size,
            "num_layers": 2,
            "num_heads": m.num_heads,
            "activation": "gelu_pytorch_tanh",
        }
    ),
)
def encoder_operands(
    draw: Sampler,
    *,
    batch: int,
    tokens: int,
    width: int,
    intermediate_size: int,
    num_layers: int,
    num_heads: int,
    activation: str,
) -> Operands:
    layers = [_encoder_layer_weights(draw, width, intermediate_size) for _ in range(num_layers)]
    return {
        "hidden": draw.array(batch, tokens, width),
        "layers": draw.encoder(layers),
        "num_heads": num_heads,
        "activation": activation,
        "eps": 1e-6,
    }


def quantized_encoder_layer_operands(draw: Sampler, **shape: Any) -> Operands:
    """Operands of `encoder_layer_operands` whose linear maps are quantised."""
    operands = encoder_layer_operands(draw, **shape)
    weights = _encoder_layer_weights(draw, shape["width"], shape["intermediate_size"], quantized=True)
    return {**operands, "weights": weights}
