"""What `linear` and `quantized_linear` do before they multiply: check the operands, and make room."""

from __future__ import annotations

import math

import numpy as np

from ..machine.runtime import NOTHING, Runtime, flat
from ..tiles.integer_packing import PackedIntegers
from ..tiles.packing import PackedLinear


def prepare_affine(
    runtime: Runtime, x: np.ndarray, weights: PackedLinear | PackedIntegers, residual: np.ndarray | None
) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of rows, room for the result, and the residual as compiled code takes it.

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> weights = pack_linear(runtime, np.ones((3, 2), np.float32))
    >>> rows, out, added = prepare_affine(runtime, np.ones((4, 2), np.float32), weights, None)
    >>> rows, out.shape, added.size
    (4, (4, 3), 0)
    """
    if x.shape[-1] != weights.in_features:
        raise ValueError(f"x has shape {x.shape}, but the weights take {weights.in_features} features")
    rows = math.prod(x.shape[:-1])
    out = runtime.empty(*x.shape[:-1], weights.out_features)
    if residual is None or not rows:
        return rows, out, NOTHING
    added = flat(residual)
    if residual.shape[-1] != weights.out_features or out.size % added.size:
        raise ValueError(f"residual has shape {residual.shape}, the result {out.shape}")
    return rows, out, added
