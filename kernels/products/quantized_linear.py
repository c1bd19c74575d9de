"""An affine map whose weights, and whose input as it comes, are integers of 8 bits.

    q, scale = quantize_rows(x)
    y[..., n] = activation(sum_k q[..., k] * weight[n, k] * weight_scale[n] * scale[...] + bias[n])
                + residual[..., n]

The sum is one of whole numbers and exact. This is `linear` to callers: which of the two runs depends on
the weights they hand over.

Operands
    x           (..., in_features), any float dtype
    weight      (out_features, in_features), int8, with weight_scale (out_features,)
    bias        (out_features,) or None
    activation  a name from ``activations.ACTIVATIONS`` or None
    residual    an array that broadcasts to the result, or None; it is added after the activation
Result
    (..., out_features), the dtype of ``x``, C order. Any size of any axis is allowed, without padding;
    in_features is at most 66311.
Cost
    2 * M * N * K operations on integers for M rows and, in floats, 3 for each element of x and 3 for each of
    the result, plus residual and activation. Weights take one byte each.
NaN
    NaN and infinity in x spread over their row. Weights are finite.
Source
    Dettmers et al., 2022, https://arxiv.org/abs/2208.07339, section 2, "row-wise quantization".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import counters_of_a_kernel
from ..rows.activations import activation_code, activation_flops, activation_reference
from ..rows.quantization import quantize, quantize_rows_cost, quantize_rows_reference
from ..tiles.integer_packing import PackedIntegers
from ..tiles.integer_tile import zero_point
from .affine import prepare_affine
from .integer_product import multiply_integers, plan_integer_product
from .matrix_product import Plan


class QuantizedWeights(NamedTuple):
    """Weights as the reference uses them."""

    weight: np.ndarray
    """(out_features, in_features), int8"""
    scale: np.ndarray
    """(out_features,)"""
    bias: np.ndarray | None
    """(out_features,) or None"""


def prepare_quantized_linear_reference(
    weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None
) -> QuantizedWeights:
    """Prepare weights for `quantized_linear_reference`: nothing to do but to keep them together.

    Parameters
    ----------
    weight : ndarray of int8, shape (out_features, in_features)
    scale : ndarray of shape (out_features,)
    bias : ndarray of shape (out_features,), optional

    Examples
    --------
    >>> prepare_quantized_linear_reference(np.ones((2, 3), np.int8), np.ones(2)).weight.shape
    (2, 3)
    """
    return QuantizedWeights(weight, scale, bias)


def quantized_linear_reference(
    x: np.ndarray,
    weights: QuantizedWeights,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Quantise each row, multiply integers, and scale what comes out.

    Parameters
    ----------
    x : ndarray of shape (..., in_features)
    weights : QuantizedWeights
    activation : str, optional
        A name from ``activations.ACTIVATIONS``.
    residual : ndarray that broadcasts to (..., out_features), optional

    Returns
    -------
    ndarray of shape (..., out_features)

    Examples
    --------
    >>> weights = QuantizedWeights(np.array([[100, -2]], np.int8), np.array([0.01]), np.array([0.5]))
    >>> quantized_linear_reference(np.array([[1.0, 0.0]]), weights).round(6).tolist()
    [[1.5]]
    """
    q, scale = quantize_rows_reference(x)
    # Sums of whole numbers, which float64 holds exactly, so that BLAS may add them in any order.
    sums = q.astype(np.float64) @ weights.weight.T.astype(np.float64)  # (..., K) @ (K, N) -> (..., N)
    y = sums.astype(x.dtype) * weights.scale.astype(x.dtype) * scale[..., None].astype(x.dtype)
    if weights.bias is not None:
        y = y + weights.bias
    if activation is not None:
        y = activation_reference(y, activation)
    if residual is not None:
        y = y + residual
    return y


def quantized_linear_cost(
    *,
    rows: int,
    in_features: int,
    out_features: int,
    activation: str | None = None,
    residual: bool = False,
) -> Cost:
    """Cost of one call on ``rows`` vectors; operations on integers count as flops."""
    outputs = rows * out_features
    epilogue = 3 + int(residual) + (activation_flops(activation) if activation else 0)
    traffic = float32_traffic(rows * in_features, 2 * out_features, outputs * (1 + int(residual)))
    return Cost(
        flops=2 * outputs * in_features
        + quantize_rows_cost(rows=rows, width=in_features).flops
        + outputs * epilogue,
        bytes=traffic + out_features * in_features,
    )


# ----------------------------------------------------------------------------------------- compiled


def quantized_linear(
    runtime: Runtime,
    x: np.ndarray,
    weights: PackedIntegers,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Compute `quantized_linear_reference` on packed weights, in float32; the integers are the same.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., in_features)
    weights : PackedIntegers
        Made by ``pack_integers``.
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
    >>> from numpy_siglip.kernels.tiles.integer_packing import pack_integers
    >>> runtime = Runtime(threads=1)
    >>> weights = pack_integers(runtime, np.array([[100, -2]], np.int8), np.array([0.01]), np.array([0.5]))
    >>> quantized_linear(runtime, np.array([[1.0, 0.0]]), weights).round(6).tolist()
    [[1.5]]
    """
    rows, out, added = prepare_affine(runtime, x, weights, residual)
    if not rows:
        return out
    plan = plan_integer_product(rows, weights.in_features, weights.out_features, runtime.threads)
    runtime.run(
        _quantize_and_multiply,
        flat(x),
        runtime.empty(plan.packed_size),
        runtime.empty(rows),
        rows,
        weights,
        activation_code(activation),
        added,
        out.reshape(-1),
        runtime.empty(runtime.threads * plan.tiles_size),
        plan,
        kernels=2,
    )
    return out


@kernel
def _quantize_and_multiply(
    x: np.ndarray,
    packed: np.ndarray,
    scales: np.ndarray,
    rows: int,
    weights: PackedIntegers,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> int:
    """One kernel after the other."""
    taken = counters_of_a_kernel(counters[0])
    quantize(
        x, weights.in_features, zero_point(), packed, plan.row_size, plan.tile_rows, scales, counters, thread
    )
    counters = counters[taken:]
    multiply_integers(
        packed, scales, rows, weights, activation, residual, out, scratch, plan, counters, thread
    )  # fmt: skip
    counters = counters[taken:]
    return counters.size // taken
