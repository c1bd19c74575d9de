"""Random operands of every kind, drawn at any shape; weights are prepared for references or compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..attention.attention_pooling import fold_attention_pooling, prepare_attention_pooling_reference
from ..layers.encoder import PackedEncoder, prepare_encoder_reference
from ..layers.encoder_layer import EncoderLayerWeights
from ..machine.runtime import Runtime
from ..products.linear import LinearWeights, prepare_linear_reference
from ..products.quantized_linear import prepare_quantized_linear_reference
from ..rows.quantization import quantize_rows_reference
from ..tiles.integer_packing import pack_integers
from ..tiles.packing import pack_linear


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
