"""Operations that make the first hidden state of pixels and token ids."""

from __future__ import annotations

from ..inputs.image_to_patches import image_to_patches, image_to_patches_cost, image_to_patches_reference
from ..inputs.patch_embedding import patch_embedding, patch_embedding_cost, patch_embedding_reference
from ..inputs.position_embedding import (
    position_embedding,
    position_embedding_cost,
    position_embedding_reference,
)
from ..inputs.token_embedding import token_embedding, token_embedding_cost, token_embedding_reference
from .operation import ModelSizes, Operands, Shape, operation, shapes_of_models
from .sampling import Sampler


def _image_shape(m: ModelSizes) -> Shape:
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


@operation(
    image_to_patches_reference,
    image_to_patches,
    image_to_patches_cost,
    check_shapes=_IMAGE_CHECKS,
    model_shapes=shapes_of_models(_image_shape),
)
def image_to_patches_operands(
    draw: Sampler, *, batch: int, channels: int, height: int, width: int, patch_size: int
) -> Operands:
    return {"pixels": draw.array(batch, channels, height, width), "patch_size": patch_size}


@operation(
    patch_embedding_reference,
    patch_embedding,
    patch_embedding_cost,
    check_shapes=tuple({**shape, "hidden_size": 2 * i + 1} for i, shape in enumerate(_IMAGE_CHECKS)),
    model_shapes=shapes_of_models(lambda m: {**_image_shape(m), "hidden_size": m.hidden_size}),
)
def patch_embedding_operands(
    draw: Sampler, *, batch: int, channels: int, height: int, width: int, patch_size: int, hidden_size: int
) -> Operands:
    tokens = (height // patch_size) * (width // patch_size)
    return {
        "pixels": draw.array(batch, channels, height, width),
        "weights": draw.linear(hidden_size, channels * patch_size**2),
        "position": draw.array(tokens, hidden_size),
        "patch_size": patch_size,
    }


@operation(
    position_embedding_reference,
    position_embedding,
    position_embedding_cost,
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
    model_shapes=shapes_of_models(
        lambda m: {
            "side": m.side,
            "rows": m.side + 2,
            "columns": m.side + 9,
            "hidden_size": m.hidden_size,
        }
    ),
)
def position_embedding_operands(
    draw: Sampler, *, side: int, rows: int, columns: int, hidden_size: int, interpolation: str = "bicubic"
) -> Operands:
    return {
        "position": draw.array(side * side, hidden_size),
        "rows": rows,
        "columns": columns,
        "interpolation": interpolation,
    }


@operation(
    token_embedding_reference,
    token_embedding,
    token_embedding_cost,
    check_shapes=(
        {"batch": 1, "tokens": 1, "vocab_size": 1, "width": 1},
        {"batch": 3, "tokens": 5, "vocab_size": 7, "width": 33},
    ),
    model_shapes=shapes_of_models(
        lambda m: {"batch": 1, "tokens": 64, "vocab_size": 32000, "width": m.hidden_size}
    ),
)
def token_embedding_operands(
    draw: Sampler, *, batch: int, tokens: int, vocab_size: int, width: int
) -> Operands:
    return {
        "ids": draw.ids(batch, tokens, below=vocab_size),
        "table": draw.array(vocab_size, width),
        "position": draw.array(tokens, width),
    }
