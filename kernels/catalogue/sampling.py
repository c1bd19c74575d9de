"""Random operands for every operation, drawn at any shape.

Each ``<operation>_operands(draw, **shape)`` returns the keyword arguments of the operation. Its
shape takes the same names as ``<operation>_cost``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..attention.attention_pooling import fold_attention_pooling, prepare_attention_pooling_reference
from ..layers.encoder import PackedEncoder, prepare_encoder_reference
from ..layers.encoder_layer import EncoderLayerWeights, LayerNormWeights
from ..machine.runtime import Runtime
from ..products.linear import LinearWeights, prepare_linear_reference
from ..products.quantized_linear import prepare_quantized_linear_reference
from ..rows.quantization import quantize_rows_reference
from ..tiles.integer_packing import pack_integers
from ..tiles.packing import pack_linear

Operands = dict[str, Any]


class Sampler:
    """Draws operands: seeded, normally distributed, of one dtype, weights prepared.

    Parameters
    ----------
    seed : int
    dtype : numpy dtype
    runtime : Runtime, optional
        Prepare weights for the compiled operations, with this; otherwise for the references.

    Examples
    --------
    >>> Sampler(seed=0).array(2, 3).shape
    (2, 3)
    """

    def __init__(self, seed: int, dtype: Any = np.float32, runtime: Runtime | None = None) -> None:
        self._generator = np.random.default_rng(seed)
        self._dtype = np.dtype(dtype)
        self._runtime = runtime

    def array(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Normally distributed numbers of this standard deviation."""
        return (self._generator.standard_normal(shape) * scale).astype(self._dtype)

    def ids(self, *shape: int, below: int) -> np.ndarray:
        """Whole numbers from 0 on, all below a limit alike."""
        return self._generator.integers(below, size=shape)

    def affine(self, out_features: int, in_features: int) -> LinearWeights:
        """Weights that keep the size of what they multiply, and a bias."""
        weight = self.array(out_features, in_features, scale=in_features**-0.5)
        return LinearWeights(weight, self.array(out_features))

    def linear(self, out_features: int, in_features: int) -> Any:
        """The same, prepared."""
        weights = self.affine(out_features, in_features)
        if self._runtime is None:
            return prepare_linear_reference(*weights)
        return pack_linear(self._runtime, *weights)

    def quantized_linear(self, out_features: int, in_features: int) -> Any:
        """Weights as `affine` draws them, quantised and prepared."""
        weight, bias = self.affine(out_features, in_features)
        q, scale = quantize_rows_reference(weight)
        if self._runtime is None:
            return prepare_quantized_linear_reference(q, scale, bias)
        return pack_integers(self._runtime, q, scale, bias)

    def encoder(self, layers: list[EncoderLayerWeights]) -> Any:
        """A stack of layers whose linear maps are prepared."""
        return prepare_encoder_reference(layers) if self._runtime is None else PackedEncoder(layers)

    def attention_pooling(self, width: int, num_heads: int) -> Any:
        """A probe and projections, prepared."""
        parts = (self.array(width), self.affine(3 * width, width), self.affine(width, width))
        if self._runtime is None:
            return prepare_attention_pooling_reference(*parts, num_heads)
        return fold_attention_pooling(self._runtime, *parts, num_heads)


def image_to_patches_operands(
    draw: Sampler, *, batch: int, channels: int, height: int, width: int, patch_size: int
) -> Operands:
    return {"pixels": draw.array(batch, channels, height, width), "patch_size": patch_size}


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


def position_embedding_operands(
    draw: Sampler, *, side: int, rows: int, columns: int, hidden_size: int, interpolation: str = "bicubic"
) -> Operands:
    return {
        "position": draw.array(side * side, hidden_size),
        "rows": rows,
        "columns": columns,
        "interpolation": interpolation,
    }


def layer_norm_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {
        "x": draw.array(rows, width, scale=3.0),
        "weight": draw.array(width),
        "bias": draw.array(width),
        "eps": 1e-6,
    }


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


def quantized_linear_operands(
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
        "weights": draw.quantized_linear(out_features, in_features),
        "activation": activation,
        "residual": draw.array(rows, out_features) if residual else None,
    }


def softmax_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {"x": draw.array(rows, width, scale=5.0)}


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


def attention_pooling_operands(
    draw: Sampler, *, batch: int, tokens: int, width: int, num_heads: int, return_attention: bool = False
) -> Operands:
    return {
        "hidden": draw.array(batch, tokens, width),
        "weights": draw.attention_pooling(width, num_heads),
        "num_heads": num_heads,
        "return_attention": return_attention,
    }


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


def mean_pooling_operands(draw: Sampler, *, batch: int, tokens: int, width: int) -> Operands:
    return {"x": draw.array(batch, tokens, width)}


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


def quantized_encoder_layer_operands(draw: Sampler, **shape: Any) -> Operands:
    """Operands of `encoder_layer_operands` whose linear maps are quantised."""
    operands = encoder_layer_operands(draw, **shape)
    weights = _encoder_layer_weights(draw, shape["width"], shape["intermediate_size"], quantized=True)
    return {**operands, "weights": weights}


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


def token_embedding_operands(
    draw: Sampler, *, batch: int, tokens: int, vocab_size: int, width: int
) -> Operands:
    return {
        "ids": draw.ids(batch, tokens, below=vocab_size),
        "table": draw.array(vocab_size, width),
        "position": draw.array(tokens, width),
    }


def rows_operands(draw: Sampler, *, rows: int, width: int) -> Operands:
    return {"x": draw.array(rows, width, scale=3.0)}


def similarity_operands(draw: Sampler, *, rows: int, columns: int, width: int) -> Operands:
    x, y = draw.array(rows, width, scale=width**-0.5), draw.array(columns, width, scale=width**-0.5)
    return {"x": x, "y": y, "scale": 10.0, "bias": -3.0}


def sigmoid_loss_operands(draw: Sampler, *, rows: int) -> Operands:
    return {"logits": draw.array(rows, rows, scale=5.0)}


def elements_operands(draw: Sampler, *, elements: int) -> Operands:
    return {"x": draw.array(elements, scale=3.0)}


def activation_operands(draw: Sampler, *, elements: int, name: str) -> Operands:
    return {"x": draw.array(elements, scale=3.0), "name": name}
