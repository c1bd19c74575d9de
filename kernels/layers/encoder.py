"""A stack of transformer layers in one call.

    x[0] = hidden
    x[i + 1] = encoder_layer(x[i], layers[i])

For compiled code this is one call instead of a dozen or more, between which every core would wait for
Python. To get the hidden states in between, call `encoder_layer` for each layer; the bits are the same.

Operands
    hidden     (batch, tokens, width), any float dtype
    layers     made by ``prepare_encoder`` of a sequence of `EncoderLayerWeights`
    num_heads  divides width
    activation a name from ``activations.ACTIVATIONS``
    eps        of all layer norms
Result
    (batch, tokens, width), the dtype of ``hidden``, C order. No padding is needed.
Cost
    The flops of the layers; hidden states and all weights are read once, the result is written once.
NaN
    Spreads over its image.
Source
    ``SiglipEncoder`` in transformers' ``modeling_siglip``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.runtime import Runtime
from .encoder_layer import (
    EncoderLayerWeights,
    encoder_layer,
    encoder_layer_cost,
    encoder_layer_reference,
    layer_table,
    type_of_maps,
)
from .layer_kernel import LayerTable, run_layers


def prepare_encoder_reference(layers: Sequence[EncoderLayerWeights]) -> tuple[EncoderLayerWeights, ...]:
    """Prepare the weights of a stack: nothing is to be done.

    Examples
    --------
    >>> prepare_encoder_reference([])
    ()
    """
    return tuple(layers)


def encoder_reference(
    hidden: np.ndarray, layers: Sequence[EncoderLayerWeights], num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Run the layers one after the other.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    layers : sequence of EncoderLayerWeights
    num_heads : int
    activation : str
    eps : float

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    >>> encoder_reference(np.ones((1, 1, 2)), [], num_heads=1, activation="relu", eps=0.1).tolist()
    [[[1.0, 1.0]]]
    """
    for layer in layers:
        hidden = encoder_layer_reference(hidden, layer, num_heads, activation, eps)
    return hidden


def encoder_cost(
    *,
    batch: int,
    tokens: int,
    width: int,
    intermediate_size: int,
    num_layers: int,
    num_heads: int,
    activation: str,
) -> Cost:
    """Cost of one call."""
    layer = encoder_layer_cost(
        batch=batch,
        tokens=tokens,
        width=width,
        intermediate_size=intermediate_size,
        num_heads=num_heads,
        activation=activation,
    )
    between = float32_traffic(2 * batch * tokens * width)  # results of one layer that the next reads
    return Cost(flops=num_layers * layer.flops, bytes=num_layers * layer.bytes - (num_layers - 1) * between)


# ----------------------------------------------------------------------------------------- compiled


class _Run(NamedTuple):
    """Neighbouring layers that are computed alike."""

    layers: list[EncoderLayerWeights]
    table: LayerTable | None
    """For one call of them all; None where each layer has to be computed by itself"""


class PackedEncoder:
    """Packed layers and the tables by which compiled code finds them.

    Parameters
    ----------
    layers : sequence of EncoderLayerWeights
        Linear maps made by ``pack_linear`` or ``pack_integers``.
    """

    def __init__(self, layers: Sequence[EncoderLayerWeights]) -> None:
        self.layers = tuple(layers)
        self.runs: list[_Run] = []
        for maps, some in itertools.groupby(layers, key=type_of_maps):
            group = list(some)
            self.runs.append(_Run(group, None if maps is None else layer_table(group)))

    def __iter__(self) -> Iterator[EncoderLayerWeights]:
        return iter(self.layers)

    def __reduce__(self) -> tuple[type[PackedEncoder], tuple[tuple[EncoderLayerWeights, ...]]]:
        return PackedEncoder, (self.layers,)  # in a copy, the addresses would be those of the original


def encoder(
    runtime: Runtime, hidden: np.ndarray, layers: PackedEncoder, num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Compute `encoder_reference` in float32, on packed weights.

    Parameters
    ----------
    runtime : Runtime
    hidden : ndarray of shape (batch, tokens, width)
    layers : PackedEncoder
    num_heads : int
    activation : str
    eps : float

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    >>> from numpy_siglip.kernels.layers.encoder_layer import LayerNormWeights
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> norm, zero = LayerNormWeights(np.ones(2), np.zeros(2)), pack_linear(runtime, np.zeros((2, 2)))
    >>> layer = EncoderLayerWeights(norm, pack_linear(runtime, np.ones((6, 2))), zero, norm, zero, zero)
    >>> encoder(runtime, np.array([[[1.0, 2.0]]]), PackedEncoder([layer, layer]), 1, "relu", 0.1).tolist()
    [[[1.0, 2.0]]]
    """
    for run in layers.runs:
        if run.table is not None:
            hidden = run_layers(runtime, hidden, run.table, num_heads, activation, eps)
            continue
        for layer in run.layers:
            hidden = encoder_layer(runtime, hidden, layer, num_heads, activation, eps)
    return hidden
