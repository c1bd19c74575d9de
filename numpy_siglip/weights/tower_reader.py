"""Tensors of a tower as operands: read, stacked where one map computes several, quantised where asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError
from ..kernels.backend import Backend
from ..kernels.layers.encoder_layer import EncoderLayerWeights, LayerNormWeights
from ..kernels.products.linear import LinearWeights
from .tower_weights import Tensors, require_layers, stays_float


class TowerReader:
    """Reads the tensors of a tower that was found in a checkpoint, and prepares them for a backend.

    Parameters
    ----------
    checkpoint : Tensors
    names : dict of str to str
        As `find_tensors` returns them.
    ops : Backend
        Prepares the weights for itself.
    """

    def __init__(self, checkpoint: Tensors, names: Mapping[str, str], ops: Backend) -> None:
        self.ops = ops
        self._checkpoint = checkpoint
        self._names = names
        require_layers(ops.float32_layers, checkpoint)

    def tensor(self, name: str) -> np.ndarray:
        """A tensor in float32."""
        return self._checkpoint.tensor(self._names[name])

    def stored(self, name: str) -> np.ndarray:
        """A tensor as it is stored."""
        return self._checkpoint.stored(self._names[name])

    def rows(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Some rows of a tensor in float32, read now; the others are not."""
        return self._checkpoint.rows(self._names[name], indices)

    def raw(self, name: str, separator: str = ".") -> LinearWeights:
        """The tensors of an affine map as they are."""
        return LinearWeights(self.tensor(f"{name}{separator}weight"), self.tensor(f"{name}{separator}bias"))

    def linear(self, name: str) -> Any:
        """An affine map, prepared."""
        return self.ops.prepare_linear(*self.raw(name))

    def layer_norm(self, name: str) -> LayerNormWeights:
        """A layer norm."""
        return LayerNormWeights(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def encoder_layers(self, count: int) -> Any:
        """All layers of the encoder, prepared; one can iterate over them."""
        layers = [self._encoder_layer(f"encoder.layers.{index}") for index in range(count)]
        return self.ops.prepare_encoder(layers)

    def _encoder_layer(self, name: str) -> EncoderLayerWeights:
        # self_attn.{q,k,v}_proj, each (D, D), become one map with the rows of q, then k, then v.
        projections = [f"{name}.self_attn.{projection}_proj" for projection in "qkv"]
        return EncoderLayerWeights(
            layer_norm1=self.layer_norm(f"{name}.layer_norm1"),
            query_key_value=self._layer_map(*projections),
            out_proj=self._layer_map(f"{name}.self_attn.out_proj"),
            layer_norm2=self.layer_norm(f"{name}.layer_norm2"),
            fc1=self._layer_map(f"{name}.mlp.fc1"),
            fc2=self._layer_map(f"{name}.mlp.fc2"),
        )

    def _layer_map(self, *names: str) -> Any:
        """A map of a layer, of several whose results are wanted side by side, prepared in its dtype."""
        bias = _stack([self.tensor(f"{name}.bias") for name in names])
        if all(self._is_quantized(name) for name in names):
            parts = [self._quantized(f"{name}.weight") for name in names]
            weight, scale = (_stack(list(arrays)) for arrays in zip(*parts, strict=True))
            try:
                return self.ops.prepare_quantized_linear(weight, scale, bias)
            except ValueError as cause:
                raise CheckpointError(
                    f"{self._checkpoint.source}: tensor {names[0]}.weight: {cause}"
                ) from None
        return self.ops.prepare_linear([self.tensor(f"{name}.weight") for name in names], bias)

    def _is_quantized(self, name: str) -> bool:
        """Whether a map is, or is to be."""
        stored = self._names[f"{name}.weight"]
        if self._checkpoint[stored].dtype == "I8":
            return True
        return self.ops.dtype == "int8" and not stays_float(stored, self.ops.float32_layers)

    def _quantized(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A weight as integers, and the scale of each output feature."""
        stored = self._names[name]
        if self._checkpoint[stored].dtype == "I8":
            return self._checkpoint.stored(stored), self._checkpoint.scales(stored)
        weight, scale = self.ops.quantize_rows(self.tensor(name))
        if not np.isfinite(scale).all():
            raise CheckpointError(
                f"{self._checkpoint.source}: tensor {stored} holds NaN or infinity, which cannot be "
                "quantised; fetch the file again, or leave dtype at float32"
            )
        return weight, scale


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
