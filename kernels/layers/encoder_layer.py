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
    (batch, tokens, width), the dtype of ``hidden``, C order. Nobody pads.
Cost
    The flops of its parts; hidden state and weights are read once, the result is written once.
NaN
    Spreads over its image.
Source
    Xiong et al., 2020, https://arxiv.org/abs/2002.04745; ``SiglipEncoderLayer`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..attention.attention import attention, attention_cost, attention_reference
from ..cost import Cost, float32_traffic
from ..machine.addresses import table_of
from ..machine.runtime import Runtime
from ..products.integer_product import PackedIntegers
from ..products.linear import linear, linear_cost, linear_reference
from ..rows.layer_norm import layer_norm, layer_norm_cost, layer_norm_reference
from .layer_kernel import layer_operands, run_layers
from .quantized_layer_kernel import quantized_layer_operands, run_quantized_layers


class LayerNormWeights(NamedTuple):
    """Scale and shift of a layer norm."""

    weight: np.ndarray
    """(width,)"""
    bias: np.ndarray
    """(width,)"""


class EncoderLayerWeights(NamedTuple):
    """One pre-norm transformer layer. Linear maps are as the backend prepared them."""

    layer_norm1: LayerNormWeights
    query_key_value: Any
    """(width) -> (3 * width): the three projections, stacked in this order"""
    out_proj: Any
    """(width) -> (width)"""
    layer_norm2: LayerNormWeights
    fc1: Any
    """(width) -> (intermediate_size)"""
    fc2: Any
    """(intermediate_size) -> (width)"""


def encoder_layer_reference(
    hidden: np.ndarray, weights: EncoderLayerWeights, num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Run one layer: its parts one after the other.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    weights : EncoderLayerWeights
    num_heads : int
    activation : str
    eps : float

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
    normed = layer_norm_reference(hidden, *weights.layer_norm1, eps)
    query, key, value = np.split(linear_reference(normed, weights.query_key_value), 3, axis=-1)
    heads, _ = attention_reference(query, key, value, num_heads)
    hidden = linear_reference(heads, weights.out_proj, residual=hidden)
    normed = layer_norm_reference(hidden, *weights.layer_norm2, eps)
    activated = linear_reference(normed, weights.fc1, activation=activation)
    return linear_reference(activated, weights.fc2, residual=hidden)


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
    run, operands = choose_program(weights)
    if run is None:
        return _encoder_layer_by_parts(runtime, hidden, weights, num_heads, activation, eps)
    return run(runtime, hidden, table_of([operands]), num_heads, activation, eps)


def choose_program(weights: EncoderLayerWeights) -> tuple[Callable[..., np.ndarray] | None, Any]:
    """What computes a layer in one call, and the arrays for its table.

    Nothing does, and both are None, if only some of its maps are quantised.

    Examples
    --------
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> norm, some = LayerNormWeights(np.ones(2), np.zeros(2)), pack_linear(runtime, np.zeros((2, 2)))
    >>> choose_program(EncoderLayerWeights(norm, some, some, norm, some, some))[0].__name__
    'run_layers'
    """
    maps = (weights.query_key_value, weights.out_proj, weights.fc1, weights.fc2)
    quantised = [isinstance(linear_map, PackedIntegers) for linear_map in maps]
    if all(quantised):
        return run_quantized_layers, quantized_layer_operands(weights)
    return (None, None) if any(quantised) else (run_layers, layer_operands(weights))


def _encoder_layer_by_parts(
    runtime: Runtime,
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    num_heads: int,
    activation: str,
    eps: float,
) -> np.ndarray:
    """Call the operations one by one, with the same result."""
    width = hidden.shape[-1]
    normed = layer_norm(runtime, hidden, *weights.layer_norm1, eps)
    projected = linear(runtime, normed, weights.query_key_value)
    query, key, value = (projected[..., first : first + width] for first in (0, width, 2 * width))
    heads, _ = attention(runtime, query, key, value, num_heads)
    hidden = linear(runtime, heads, weights.out_proj, residual=hidden)
    normed = layer_norm(runtime, hidden, *weights.layer_norm2, eps)
    return linear(runtime, linear(runtime, normed, weights.fc1, activation), weights.fc2, residual=hidden)
