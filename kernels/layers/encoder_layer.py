"""A whole pre-norm transformer layer in one call.

    h = x + attention(layer_norm_1(x))        with query, key and value from one stacked projection
    y = h + mlp(layer_norm_2(h))              mlp(z) = fc2(activation(fc1(z)))

Nothing is computed here that the other files do not compute. What is saved is the way from one operation
to the next: some ten thousand instructions of Python, which find the caches full of weights and take
as long as 50 microseconds while every core waits. In one call, threads pass from one operation to
the next inside compiled code. The bits are those of the operations called one by one.

Operands
    hidden     (batch, tokens, width), any float dtype
    weights    `EncoderLayerWeights`, linear maps made by ``prepare_linear``
    num_heads  divides width
    activation a name from ``activations.ACTIVATIONS``
    eps        of both layer norms
Result
    (batch, tokens, width), the dtype of ``hidden``, C order. No padding is needed.
Cost
    The flops of its parts; hidden state and weights are read once, the result is written once.
NaN
    Spreads over its image.
Source
    Xiong et al., 2020, https://arxiv.org/abs/2002.04745; ``SiglipEncoderLayer`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..attention.attention import attention, attention_cost, attention_reference
from ..cost import Cost, float32_traffic
from ..machine.addresses import table_of
from ..machine.runtime import Runtime, flat
from ..products.linear import LinearWeights, linear, linear_cost, linear_reference
from ..products.quantized_linear import QuantizedWeights
from ..rows.layer_norm import layer_norm, layer_norm_cost, layer_norm_reference
from ..tiles.integer_packing import PackedIntegers
from ..tiles.packing import PackedLinear
from .layer_kernel import LayerTable, run_layers


class LayerNormWeights(NamedTuple):
    """Scale and shift of a layer norm."""

    weight: np.ndarray
    """(width,)"""
    bias: np.ndarray
    """(width,)"""


LinearMap = LinearWeights | QuantizedWeights | PackedLinear | PackedIntegers
"""What a backend may prepare the weights of a linear map as: the first two for references."""


class EncoderLayerWeights(NamedTuple):
    """One pre-norm transformer layer. Linear maps are as the backend prepared them."""

    layer_norm1: LayerNormWeights
    query_key_value: LinearMap
    """(width) -> (3 * width): the three projections, stacked in this order"""
    out_proj: LinearMap
    """(width) -> (width)"""
    layer_norm2: LayerNormWeights
    fc1: LinearMap
    """(width) -> (intermediate_size)"""
    fc2: LinearMap
    """(intermediate_size) -> (width)"""

    @property
    def linear_maps(self) -> tuple[LinearMap, ...]:
        """Its four linear maps, in the order in which they are used."""
        return self.query_key_value, self.out_proj, self.fc1, self.fc2


class LayerOperations(NamedTuple):
    """The operations that a layer is made of, in one of their forms."""

    layer_norm: Callable[..., np.ndarray]
    """(x, weight, bias, eps) -> y"""
    linear: Callable[..., np.ndarray]
    """(x, weights, activation=None, residual=None) -> y"""
    attention: Callable[..., tuple[np.ndarray, np.ndarray | None]]
    """(query, key, value, num_heads) -> output, None"""


REFERENCES = LayerOperations(layer_norm_reference, linear_reference, attention_reference)


def encoder_layer_reference(
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    num_heads: int,
    activation: str,
    eps: float,
    operations: LayerOperations = REFERENCES,
) -> np.ndarray:
    """Run one layer: its parts one after the other.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    weights : EncoderLayerWeights
    num_heads : int
    activation : str
    eps : float
    operations : LayerOperations
        The references, or what computes the same.

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    A layer whose last maps are zero adds nothing:

    >>> import numpy as np
    >>> from numpy_siglip.kernels.products.linear import LinearWeights
    >>> norm, zero = LayerNormWeights(np.ones(2), np.zeros(2)), LinearWeights(np.zeros((2, 2)), None)
    >>> stacked = LinearWeights(np.ones((6, 2)), None)
    >>> weights = EncoderLayerWeights(norm, stacked, zero, norm, zero, zero)
    >>> encoder_layer_reference(np.array([[[1.0, 2.0]]]), weights, num_heads=1, activation="relu", eps=0.1)
    array([[[1., 2.]]])
    """
    layer_norm, linear, attention = operations
    normed = layer_norm(hidden, *weights.layer_norm1, eps)  # (B, T, D)
    query, key, value = np.split(linear(normed, weights.query_key_value), 3, axis=-1)  # (B, T, D) each
    heads, _ = attention(query, key, value, num_heads)
    hidden = linear(heads, weights.out_proj, residual=hidden)
    normed = layer_norm(hidden, *weights.layer_norm2, eps)
    activated = linear(normed, weights.fc1, activation)  # (B, T, F)
    return linear(activated, weights.fc2, residual=hidden)


def encoder_layer_cost(
    *, batch: int, tokens: int, width: int, intermediate_size: int, num_heads: int, activation: str
) -> Cost:
    """Cost of one call."""
    rows, f = batch * tokens, intermediate_size
    parts = (
        layer_norm_cost(rows=rows, width=width) * 2,
        linear_cost(rows=rows, in_features=width, out_features=3 * width),
        attention_cost(batch=batch, queries=tokens, keys=tokens, width=width, num_heads=num_heads),
        linear_cost(rows=rows, in_features=width, out_features=width, residual=True),
        linear_cost(rows=rows, in_features=width, out_features=f, activation=activation),
        linear_cost(rows=rows, in_features=f, out_features=width, residual=True),
    )
    weights = 4 * width + 4 * (width * width + width) + 2 * width * f + f + width
    return Cost(flops=sum(part.flops for part in parts), bytes=float32_traffic(2 * rows * width, weights))


# ----------------------------------------------------------------------------------------- compiled


def encoder_layer(
    runtime: Runtime,
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    num_heads: int,
    activation: str,
    eps: float,
) -> np.ndarray:
    """Compute `encoder_layer_reference` in float32, on packed weights.

    Parameters
    ----------
    runtime : Runtime
    hidden : ndarray of shape (batch, tokens, width)
    weights : EncoderLayerWeights
        Linear maps made by ``pack_linear`` or ``pack_integers``.
    num_heads : int
    activation : str
    eps : float

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> runtime = Runtime(threads=1)
    >>> norm, zero = LayerNormWeights(np.ones(2), np.zeros(2)), pack_linear(runtime, np.zeros((2, 2)))
    >>> weights = EncoderLayerWeights(norm, pack_linear(runtime, np.ones((6, 2))), zero, norm, zero, zero)
    >>> encoder_layer(runtime, np.array([[[1.0, 2.0]]]), weights, 1, "relu", eps=0.1).tolist()
    [[[1.0, 2.0]]]
    """
    if type_of_maps(weights) is None:
        operations = LayerOperations(
            partial(layer_norm, runtime), partial(linear, runtime), partial(attention, runtime)
        )
        return encoder_layer_reference(hidden, weights, num_heads, activation, eps, operations)
    return run_layers(runtime, hidden, layer_table([weights]), num_heads, activation, eps)


def type_of_maps(weights: EncoderLayerWeights) -> type[LinearMap] | None:
    """The type of all linear maps of a layer; None if they are of several, as where some are quantised.

    Examples
    --------
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> norm = LayerNormWeights(np.ones(2), np.zeros(2))
    >>> some = pack_linear(Runtime(threads=1), np.ones((2, 2)))
    >>> type_of_maps(EncoderLayerWeights(norm, some, some, norm, some, some)).__name__
    'PackedLinear'
    """
    types = {type(linear_map) for linear_map in weights.linear_maps}
    return types.pop() if len(types) == 1 else None


def layer_table(layers: Sequence[EncoderLayerWeights]) -> LayerTable:
    """The table of some layers whose linear maps are all of one type.

    Examples
    --------
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> norm = LayerNormWeights(np.ones(2), np.zeros(2))
    >>> some = pack_linear(Runtime(threads=1), np.ones((2, 2)))
    >>> table = layer_table([EncoderLayerWeights(norm, some, some, norm, some, some)])
    >>> table.quantized, table.addresses.shape
    (False, (1, 12, 2))
    """
    arrays = []
    for layer in layers:
        norms = [*map(flat, layer.layer_norm1), *map(flat, layer.layer_norm2)]
        fields = [field for linear_map in layer.linear_maps for field in linear_map]
        arrays.append(norms + [field for field in fields if isinstance(field, np.ndarray)])
    return LayerTable(table_of(arrays), type_of_maps(layers[0]) is PackedIntegers, arrays)
