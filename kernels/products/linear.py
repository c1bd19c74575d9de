"""An affine map of the last axis, with an activation and a residual in the same breath.

    y[..., n] = activation(sum_k x[..., k] * weight[n, k] + bias[n]) + residual[..., n]

Every matrix product of the model is this one call. Weights are prepared once, when a model is
loaded, and are opaque afterwards: a backend may keep them as they are or pack them into panels, and the code
that calls ``linear`` does not change. Quantised weights are taken too; see `quantized_linear`.

Operands
    x           (..., in_features), any float dtype
    weight      (out_features, in_features), C order, the layout of ``torch.nn.Linear``
    bias        (out_features,) or None
    activation  a name from ``activations.ACTIVATIONS`` or None
    residual    an array that broadcasts to the result, or None; it is added after the activation
Result
    (..., out_features), the dtype of ``x``, C order. No operand is changed. Any size of any axis
    is allowed; no padding is needed.
Cost
    2 * M * N * K flops for M rows, plus one for each bias and residual element and those of the
    activation; weight, bias, input, residual and output are each touched once.
NaN
    Spreads over the row of the input, or the column of the weight, that holds it.
Source
    ``torch.nn.functional.linear``; the fusion is that of the projections in
    ``SiglipEncoderLayer``, where each residual branch ends in a linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.runtime import Runtime, flat
from ..rows.activations import activation_code, activation_flops, activation_reference
from ..tiles.integer_packing import PackedIntegers
from ..tiles.packing import PackedLinear
from ..tiles.tile import tile_of_this_machine
from .affine import prepare_affine
from .matrix_product import multiply, plan_product
from .quantized_linear import QuantizedWeights, quantized_linear, quantized_linear_reference


class LinearWeights(NamedTuple):
    """Weights as the reference uses them: untouched."""

    weight: np.ndarray
    """(out_features, in_features)"""
    bias: np.ndarray | None
    """(out_features,) or None"""


def prepare_linear_reference(
    weight: np.ndarray | Sequence[np.ndarray], bias: np.ndarray | None = None
) -> LinearWeights:
    """Prepare weights for `linear_reference`: nothing to do but to keep them together.

    Parameters
    ----------
    weight : ndarray of shape (out_features, in_features), or sequence of ndarray
        Several are stacked, the output features of one after those of the other.
    bias : ndarray of shape (out_features,), optional

    Examples
    --------
    >>> import numpy as np
    >>> prepare_linear_reference(np.ones((2, 3))).weight.shape
    (2, 3)
    """
    return LinearWeights(weight if isinstance(weight, np.ndarray) else np.concatenate(weight), bias)


def linear_reference(
    x: np.ndarray,
    weights: LinearWeights | QuantizedWeights,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Multiply by the transposed weight, add the bias, activate, add the residual.

    Parameters
    ----------
    x : ndarray of shape (..., in_features)
    weights : LinearWeights or QuantizedWeights
    activation : str, optional
        A name from ``activations.ACTIVATIONS``.
    residual : ndarray that broadcasts to (..., out_features), optional

    Returns
    -------
    ndarray of shape (..., out_features)

    Examples
    --------
    >>> import numpy as np
    >>> weights = prepare_linear_reference(np.array([[1.0, 2.0]]), np.array([-10.0]))
    >>> linear_reference(np.array([[3.0, 4.0]]), weights, residual=np.array([[0.5]]))
    array([[1.5]])
    >>> linear_reference(np.array([[1.0, 1.0]]), weights, activation="relu")
    array([[0.]])
    """
    if isinstance(weights, QuantizedWeights):
        return quantized_linear_reference(x, weights, activation, residual)
    y = x @ weights.weight.T  # (..., K) @ (K, N) -> (..., N)
    if weights.bias is not None:
        y = y + weights.bias
    if activation is not None:
        y = activation_reference(y, activation)
    if residual is not None:
        y = y + residual
    return y


def linear_cost(
    *,
    rows: int,
    in_features: int,
    out_features: int,
    activation: str | None = None,
    residual: bool = False,
) -> Cost:
    """Cost of one call on ``rows`` vectors."""
    outputs = rows * out_features
    epilogue = 1 + int(residual) + (activation_flops(activation) if activation else 0)
    return Cost(
        flops=2 * outputs * in_features + outputs * epilogue,
        bytes=float32_traffic(
            rows * in_features,
            out_features * in_features,
            out_features,
            outputs * (1 + int(residual)),
        ),
    )


# ----------------------------------------------------------------------------------------- compiled


def linear(
    runtime: Runtime,
    x: np.ndarray,
    weights: PackedLinear | PackedIntegers,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Compute `linear_reference` on packed weights, in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., in_features)
    weights : PackedLinear or PackedIntegers
        Made by ``pack_linear`` or ``pack_integers``.
    activation : str, optional
        A name from ``activations.ACTIVATIONS``.
    residual : ndarray of shape (..., out_features), optional
        Of as many rows as ``x``, or of a number that divides it, and is then repeated.

    Returns
    -------
    ndarray of shape (..., out_features)

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> weights = pack_linear(runtime, np.array([[1.0, 2.0]]), np.array([-10.0]))
    >>> linear(runtime, np.array([[3.0, 4.0]]), weights, residual=np.array([[0.5]])).tolist()
    [[1.5]]
    """
    if isinstance(weights, PackedIntegers):
        return quantized_linear(runtime, x, weights, activation, residual)
    rows, out, added = prepare_affine(runtime, x, weights, residual)
    if not rows:
        return out
    tile = tile_of_this_machine()
    plan = plan_product(rows, weights.in_features, weights.out_features, tile, runtime.threads)
    runtime.run(
        multiply,
        flat(x),
        0,
        rows,
        weights,
        activation_code(activation),
        added,
        out.reshape(-1),
        weights.out_features,
        1,
        runtime.empty(runtime.threads * plan.tiles_size + plan.packed_size),
        plan,
    )
    return out
