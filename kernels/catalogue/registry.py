"""Every operation, listed once: what tests check, benchmarks time and documentation counts.

An operation that has a ``<name>_reference`` somewhere in this package and no entry here fails a
test. Each entry knows how to draw operands for a shape, which odd little shapes to be checked at,
and which real shapes to be timed at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..attention.attention import attention, attention_cost, attention_reference
from ..attention.attention_pooling import (
    attention_pooling,
    attention_pooling_cost,
    attention_pooling_reference,
)
from ..cost import Cost
from ..inputs.image_to_patches import image_to_patches, image_to_patches_cost, image_to_patches_reference
from ..inputs.patch_embedding import patch_embedding, patch_embedding_cost, patch_embedding_reference
from ..inputs.position_embedding import (
    position_embedding,
    position_embedding_cost,
    position_embedding_reference,
)
from ..inputs.token_embedding import token_embedding, token_embedding_cost, token_embedding_reference
from ..layers.encoder import encoder, encoder_cost, encoder_reference
from ..layers.encoder_layer import encoder_layer, encoder_layer_cost, encoder_layer_reference
from ..products.linear import linear, linear_cost, linear_reference
from ..products.quantized_linear import quantized_linear, quantized_linear_cost, quantized_linear_reference
from ..products.similarity import similarity, similarity_cost, similarity_reference
from ..rows.activations import activation, activation_cost, activation_reference
from ..rows.gelu import (
    gelu_exact_cost,
    gelu_exact_reference,
    gelu_tanh_cost,
    gelu_tanh_reference,
)
from ..rows.l2_normalize import l2_normalize, l2_normalize_cost, l2_normalize_reference
from ..rows.layer_norm import layer_norm, layer_norm_cost, layer_norm_reference
from ..rows.mean_pooling import mean_pooling, mean_pooling_cost, mean_pooling_reference
from ..rows.quantization import quantize_rows, quantize_rows_cost, quantize_rows_reference
from ..rows.sigmoid_loss import sigmoid_loss, sigmoid_loss_cost, sigmoid_loss_reference
from ..rows.softmax import softmax, softmax_cost, softmax_reference
from .sampling import (
    activation_operands,
    attention_operands,
    attention_pooling_operands,
    elements_operands,
    encoder_layer_operands,
    encoder_operands,
    image_to_patches_operands,
    layer_norm_operands,
    linear_operands,
    mean_pooling_operands,
    patch_embedding_operands,
    position_embedding_operands,
    quantized_linear_operands,
    rows_operands,
    sigmoid_loss_operands,
    similarity_operands,
    softmax_operands,
    token_embedding_operands,
)

Shape = dict[str, Any]


@dataclass(frozen=True)
class Op:
    """One operation.

    ``operands(sampler, **shape)`` gives the keyword arguments of ``reference`` and, behind a `Runtime`,
    those of ``compiled``, if the sampler prepares weights for it; ``cost(**shape)`` is their cost.
    """

    name: str
    reference: Callable[..., Any]
    compiled: Callable[..., Any]
    operands: Callable[..., dict[str, Any]]
    cost: Callable[..., Cost]
    check_shapes: tuple[Shape, ...]
    """Small and awkward: every axis at one, odd, and not a multiple of anything."""
    model_shapes: dict[str, Shape]
    """The shapes of one image, of one text or of a batch of both in published models, by model."""


@dataclass(frozen=True)
class _Model:
    """The sizes of a published vision tower that its operations' shapes follow from."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    image_size: int
    patch_size: int

    @property
    def side(self) -> int:
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        return self.side**2


_MODELS = {
    "base-patch16-224": _Model(768, 3072, 12, 224, 16),
    "base-patch16-512": _Model(768, 3072, 12, 512, 16),
    "so400m-patch14-384": _Model(1152, 4304, 16, 384, 14),
}


def _shapes_of_models(shape: Callable[[_Model], Shape]) -> dict[str, Shape]:
    return {name: shape(model) for name, model in _MODELS.items()}


def _activation_of(name: str) -> Callable[..., Any]:
    """One activation as an operation by itself, as GELU is to be measured."""
    return lambda runtime, x: activation(runtime, x, name)


def _linear_model_shapes() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, m in _MODELS.items():
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


def _image_shape(m: _Model) -> Shape:
    return {
        "batch": 1,
        "channels": 3,
        "height": m.image_size,
        "width": m.image_size,
        "patch_size": m.patch_size,
    }


_IMAGE_CHECKS: tuple[Shape, ...] = (
    {"batch": 1, "channels": 1, "height": 1, "width": 1, "patch_size": 1},
    {"batch": 3, "channels": 3, "height": 7, "width": 12, "patch_size": 3},
    {"batch": 2, "channels": 2, "height": 10, "width": 5, "patch_size": 5},
)

_ANTIALIASED: Shape = {"interpolation": "antialiased_bilinear"}

_LAYER_CHECK: Shape = {"intermediate_size": 7, "activation": "gelu_pytorch_tanh"}

OPS: tuple[Op, ...] = (
    Op(
        name="image_to_patches",
        reference=image_to_patches_reference,
        compiled=image_to_patches,
        operands=image_to_patches_operands,
        cost=image_to_patches_cost,
        check_shapes=_IMAGE_CHECKS,
        model_shapes=_shapes_of_models(_image_shape),
    ),
    Op(
        name="patch_embedding",
        reference=patch_embedding_reference,
        compiled=patch_embedding,
        operands=patch_embedding_operands,
        cost=patch_embedding_cost,
        check_shapes=tuple({**shape, "hidden_size": 2 * i + 1} for i, shape in enumerate(_IMAGE_CHECKS)),
        model_shapes=_shapes_of_models(lambda m: {**_image_shape(m), "hidden_size": m.hidden_size}),
    ),
    Op(
        name="position_embedding",
        reference=position_embedding_reference,
        compiled=position_embedding,
        operands=position_embedding_operands,
        cost=position_embedding_cost,
        check_shapes=(
            {"side": 1, "rows": 3, "columns": 2, "hidden_size": 1},
            {"side": 2, "rows": 2, "columns": 2, "hidden_size": 3},
            {"side": 7, "rows": 3, "columns": 11, "hidden_size": 5},
            {"side": 14, "rows": 29, "columns": 6, "hidden_size": 2},
            {**_ANTIALIASED, "side": 1, "rows": 2, "columns": 1, "hidden_size": 3},
            {**_ANTIALIASED, "side": 5, "rows": 5, "columns": 5, "hidden_size": 1},
            {**_ANTIALIASED, "side": 7, "rows": 1, "columns": 23, "hidden_size": 17},
            {**_ANTIALIASED, "side": 16, "rows": 13, "columns": 5, "hidden_size": 2},
        ),
        model_shapes=_shapes_of_models(
            lambda m: {
                "side": m.side,
                "rows": m.side + 2,
                "columns": m.side + 9,
                "hidden_size": m.hidden_size,
            }
        ),
    ),
    Op(
        name="layer_norm",
        reference=layer_norm_reference,
        compiled=layer_norm,
        operands=layer_norm_operands,
        cost=layer_norm_cost,
        check_shapes=({"rows": 1, "width": 1}, {"rows": 3, "width": 7}, {"rows": 2, "width": 1152}),
        model_shapes=_shapes_of_models(lambda m: {"rows": m.tokens, "width": m.hidden_size}),
    ),
    Op(
        name="linear",
        reference=linear_reference,
        compiled=linear,
        operands=linear_operands,
        cost=linear_cost,
        check_shapes=(
            {"rows": 1, "in_features": 1, "out_features": 1},
            {"rows": 3, "in_features": 588, "out_features": 5, "residual": True},
            {"rows": 17, "in_features": 9, "out_features": 33, "activation": "gelu_pytorch_tanh"},
            {"rows": 5, "in_features": 31, "out_features": 16, "activation": "gelu", "residual": True},
        ),
        model_shapes=_linear_model_shapes(),
    ),
    Op(
        name="quantize_rows",
        reference=quantize_rows_reference,
        compiled=quantize_rows,
        operands=rows_operands,
        cost=quantize_rows_cost,
        check_shapes=({"rows": 1, "width": 1}, {"rows": 9, "width": 7}, {"rows": 3, "width": 588}),
        model_shapes=_shapes_of_models(lambda m: {"rows": m.tokens, "width": m.intermediate_size}),
    ),
    Op(
        name="quantized_linear",
        reference=quantized_linear_reference,
        compiled=quantized_linear,
        operands=quantized_linear_operands,
        cost=quantized_linear_cost,
        check_shapes=(
            {"rows": 1, "in_features": 1, "out_features": 1},
            {"rows": 3, "in_features": 588, "out_features": 5, "residual": True},
            {"rows": 17, "in_features": 9, "out_features": 33, "activation": "gelu_pytorch_tanh"},
            {"rows": 5, "in_features": 31, "out_features": 16, "activation": "gelu", "residual": True},
        ),
        model_shapes=_linear_model_shapes(),
    ),
    Op(
        name="softmax",
        reference=softmax_reference,
        compiled=softmax,
        operands=softmax_operands,
        cost=softmax_cost,
        check_shapes=({"rows": 1, "width": 1}, {"rows": 5, "width": 17}, {"rows": 2, "width": 729}),
        model_shapes=_shapes_of_models(lambda m: {"rows": m.num_heads * m.tokens, "width": m.tokens}),
    ),
    Op(
        name="attention",
        reference=attention_reference,
        compiled=attention,
        operands=attention_operands,
        cost=attention_cost,
        check_shapes=(
            {"batch": 1, "queries": 1, "keys": 1, "width": 1, "num_heads": 1},
            {"batch": 3, "queries": 5, "keys": 5, "width": 33, "num_heads": 3, "return_attention": True},
            {"batch": 2, "queries": 1, "keys": 19, "width": 144, "num_heads": 2, "return_attention": True},
        ),
        model_shapes=_shapes_of_models(
            lambda m: {
                "batch": 1,
                "queries": m.tokens,
                "keys": m.tokens,
                "width": m.hidden_size,
                "num_heads": m.num_heads,
            }
        ),
    ),
    Op(
        name="attention_pooling",
        reference=attention_pooling_reference,
        compiled=attention_pooling,
        operands=attention_pooling_operands,
        cost=attention_pooling_cost,
        check_shapes=(
            {"batch": 1, "tokens": 1, "width": 1, "num_heads": 1},
            {"batch": 3, "tokens": 7, "width": 33, "num_heads": 3, "return_attention": True},
        ),
        model_shapes=_shapes_of_models(
            lambda m: {"batch": 1, "tokens": m.tokens, "width": m.hidden_size, "num_heads": m.num_heads}
        ),
    ),
    Op(
        name="mean_pooling",
        reference=mean_pooling_reference,
        compiled=mean_pooling,
        operands=mean_pooling_operands,
        cost=mean_pooling_cost,
        check_shapes=(
            {"batch": 1, "tokens": 1, "width": 1},
            {"batch": 3, "tokens": 7, "width": 33},
        ),
        model_shapes=_shapes_of_models(lambda m: {"batch": 1, "tokens": m.tokens, "width": m.hidden_size}),
    ),
    Op(
        name="encoder_layer",
        reference=encoder_layer_reference,
        compiled=encoder_layer,
        operands=encoder_layer_operands,
        cost=encoder_layer_cost,
        check_shapes=(
            {**_LAYER_CHECK, "batch": 1, "tokens": 1, "width": 2, "num_heads": 1},
            {**_LAYER_CHECK, "batch": 3, "tokens": 5, "width": 33, "num_heads": 3},
        ),
        model_shapes=_shapes_of_models(
            lambda m: {
                "batch": 1,
                "tokens": m.tokens,
                "width": m.hidden_size,
                "intermediate_size": m.intermediate_size,
                "num_heads": m.num_heads,
                "activation": "gelu_pytorch_tanh",
            }
        ),
    ),
    Op(
        name="encoder",
        reference=encoder_reference,
        compiled=encoder,
        operands=encoder_operands,
        cost=encoder_cost,
        check_shapes=(
            {**_LAYER_CHECK, "batch": 1, "tokens": 1, "width": 2, "num_heads": 1, "num_layers": 1},
            {**_LAYER_CHECK, "batch": 3, "tokens": 5, "width": 33, "num_heads": 3, "num_layers": 3},
        ),
        model_shapes=_shapes_of_models(
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
    ),
    Op(
        name="gelu_tanh",
        reference=gelu_tanh_reference,
        compiled=_activation_of("gelu_pytorch_tanh"),
        operands=elements_operands,
        cost=gelu_tanh_cost,
        check_shapes=({"elements": 1}, {"elements": 101}),
        model_shapes=_shapes_of_models(lambda m: {"elements": m.tokens * m.intermediate_size}),
    ),
    Op(
        name="gelu_exact",
        reference=gelu_exact_reference,
        compiled=_activation_of("gelu"),
        operands=elements_operands,
        cost=gelu_exact_cost,
        check_shapes=({"elements": 1}, {"elements": 101}),
        model_shapes=_shapes_of_models(lambda m: {"elements": m.tokens * m.intermediate_size}),
    ),
    Op(
        name="activation",
        reference=activation_reference,
        compiled=activation,
        operands=activation_operands,
        cost=activation_cost,
        check_shapes=({"elements": 1, "name": "relu"}, {"elements": 101, "name": "quick_gelu"}),
        model_shapes=_shapes_of_models(
            lambda m: {"elements": m.tokens * m.intermediate_size, "name": "quick_gelu"}
        ),
    ),
    Op(
        name="token_embedding",
        reference=token_embedding_reference,
        compiled=token_embedding,
        operands=token_embedding_operands,
        cost=token_embedding_cost,
        check_shapes=(
            {"batch": 1, "tokens": 1, "vocab_size": 1, "width": 1},
            {"batch": 3, "tokens": 5, "vocab_size": 7, "width": 33},
        ),
        model_shapes=_shapes_of_models(
            lambda m: {"batch": 1, "tokens": 64, "vocab_size": 32000, "width": m.hidden_size}
        ),
    ),
    Op(
        name="l2_normalize",
        reference=l2_normalize_reference,
        compiled=l2_normalize,
        operands=rows_operands,
        cost=l2_normalize_cost,
        check_shapes=({"rows": 1, "width": 1}, {"rows": 9, "width": 7}, {"rows": 2, "width": 1152}),
        model_shapes=_shapes_of_models(lambda m: {"rows": 64, "width": m.hidden_size}),
    ),
    Op(
        name="similarity",
        reference=similarity_reference,
        compiled=similarity,
        operands=similarity_operands,
        cost=similarity_cost,
        check_shapes=(
            {"rows": 1, "columns": 1, "width": 1},
            {"rows": 5, "columns": 3, "width": 33},
            {"rows": 17, "columns": 50, "width": 20},
        ),
        model_shapes=_shapes_of_models(lambda m: {"rows": 64, "columns": 1000, "width": m.hidden_size}),
    ),
    Op(
        name="sigmoid_loss",
        reference=sigmoid_loss_reference,
        compiled=sigmoid_loss,
        operands=sigmoid_loss_operands,
        cost=sigmoid_loss_cost,
        check_shapes=({"rows": 1}, {"rows": 9}, {"rows": 33}),
        model_shapes={"a batch of 256": {"rows": 256}},
    ),
)
