"""What becomes of sums of integers: numbers, with bias, activation and residual; see `integer_product`."""

from __future__ import annotations

import numpy as np

from ..machine.compilation import part
from ..machine.vector import LANES, Vector, fma, load, load_part, store, store_part
from ..rows.activations import GELU_TANH, IDENTITY, activate
from ..rows.gelu import gelu_tanh_vector
from ..tiles.integer_packing import PackedIntegers
from ..tiles.integer_tile import load_sums


@part
def finish_rows(
    scratch: np.ndarray,
    tile: int,
    columns: int,
    begin: int,
    end: int,
    row_scales: np.ndarray,
    weights: PackedIntegers,
    first_feature: int,
    features: int,
    activation: int,
    residual: np.ndarray,
    residual_rows: int,
    out: np.ndarray,
    first_row: int,
) -> None:
    """Finish some rows of a tile, and store the result; rows of the residual are repeated."""
    scale, correction, bias = weights.scale, weights.correction, weights.bias
    out_features = weights.out_features
    first_row += begin
    offset, target = tile + begin * columns, first_row * out_features + first_feature
    rows = end - begin
    added_row = first_row % residual_rows if residual_rows > 0 else 0
    whole = features & -LANES
    rest = features - whole
    for r in range(rows):
        row_scale = row_scales[first_row + r]
        added = added_row * out_features + first_feature
        for j in range(0, whole, LANES):
            f = first_feature + j
            y = scaled(scratch, offset + j, correction, f, load(scale, f), load(bias, f), row_scale)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load(residual, added + j)
            store(out, target + j, y)
        if rest:
            f = first_feature + whole
            scale_f, bias_f = load_part(scale, f, rest), load_part(bias, f, rest)
            y = scaled(scratch, offset + whole, correction, f, scale_f, bias_f, row_scale)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load_part(residual, added + whole, rest)
            store_part(out, target + whole, y, rest)
        offset += columns
        target += out_features
        added_row += 1
        if added_row == residual_rows:
            added_row = 0


@part
def finish_pairs(
    scratch: np.ndarray,
    tile: int,
    columns: int,
    begin: int,
    end: int,
    row_scales: np.ndarray,
    weights: PackedIntegers,
    first_feature: int,
    activation: int,
    residual: np.ndarray,
    residual_rows: int,
    out: np.ndarray,
    first_row: int,
) -> None:
    """`finish_rows` for two whole vectors of features, with a loop for each kind of map in a layer.

    Nothing is decided or called in these loops, so that all that stays the same stays in registers.
    """
    out_features = weights.out_features
    f, g = first_feature, first_feature + LANES
    scale_f, scale_g = load(weights.scale, f), load(weights.scale, g)
    bias_f, bias_g = load(weights.bias, f), load(weights.bias, g)
    first_row += begin
    offset, target = tile + begin * columns, first_row * out_features + first_feature
    if residual_rows > 0:
        row = first_row % residual_rows
        for r in range(first_row, first_row + end - begin):
            y = scaled(scratch, offset, weights.correction, f, scale_f, bias_f, row_scales[r])
            z = scaled(scratch, offset + LANES, weights.correction, g, scale_g, bias_g, row_scales[r])
            store(out, target, y + load(residual, row * out_features + f))
            store(out, target + LANES, z + load(residual, row * out_features + g))
            offset += columns
            target += out_features
            row = row + 1 if row + 1 < residual_rows else 0
    elif activation == GELU_TANH:
        for r in range(first_row, first_row + end - begin):
            y = scaled(scratch, offset, weights.correction, f, scale_f, bias_f, row_scales[r])
            z = scaled(scratch, offset + LANES, weights.correction, g, scale_g, bias_g, row_scales[r])
            store(out, target, gelu_tanh_vector(y))
            store(out, target + LANES, gelu_tanh_vector(z))
            offset += columns
            target += out_features
    else:
        for r in range(first_row, first_row + end - begin):
            y = scaled(scratch, offset, weights.correction, f, scale_f, bias_f, row_scales[r])
            z = scaled(scratch, offset + LANES, weights.correction, g, scale_g, bias_g, row_scales[r])
            store(out, target, y)
            store(out, target + LANES, z)
            offset += columns
            target += out_features


@part
def scaled(
    sums: np.ndarray,
    offset: int,
    correction: np.ndarray,
    feature: int,
    scale: Vector,
    bias: Vector,
    row_scale: float,
) -> Vector:
    """Sixteen sums of a row as numbers, with the bias added."""
    return fma(load_sums(sums, offset, correction, feature) * scale, row_scale, bias)
