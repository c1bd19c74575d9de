"""What becomes of sums of integers: numbers, with bias, activation and residual; see `integer_product`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import IDENTITY, activate
from .compilation import part
from .integer_tile import load_sums
from .vector import LANES, fma, load, load_part, store, store_part


@part
def finish_rows(
    own: np.ndarray,
    tile: int,
    columns: int,
    begin: int,
    end: int,
    row_scales: np.ndarray,
    weights: Any,
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
    whole = features & -LANES
    rest = features - whole
    added_row = (first_row + begin) % residual_rows if residual_rows > 0 else 0
    if features == 2 * LANES:  # the panels of a matrix unit: two vectors, whose constants stay in registers
        f, g = first_feature, first_feature + LANES
        scale_f, scale_g, bias_f, bias_g = load(scale, f), load(scale, g), load(bias, f), load(bias, g)
        for r in range(begin, end):
            row_scale = row_scales[first_row + r]
            target = (first_row + r) * out_features + first_feature
            place = tile + r * columns
            y = fma(load_sums(own, place, correction, f) * scale_f, row_scale, bias_f)
            z = fma(load_sums(own, place + LANES, correction, g) * scale_g, row_scale, bias_g)
            if activation != IDENTITY:
                y, z = activate(activation, y), activate(activation, z)
            if residual_rows > 0:
                added = added_row * out_features + first_feature
                y, z = y + load(residual, added), z + load(residual, added + LANES)
                added_row = added_row + 1 if added_row + 1 < residual_rows else 0
            store(out, target, y)
            store(out, target + LANES, z)
        return
    for r in range(begin, end):
        row_scale = row_scales[first_row + r]
        target = (first_row + r) * out_features + first_feature
        added = added_row * out_features + first_feature
        for j in range(0, whole, LANES):
            f = first_feature + j
            y = load_sums(own, tile + r * columns + j, correction, f) * load(scale, f)
            y = fma(y, row_scale, load(bias, f))
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load(residual, added + j)
            store(out, target + j, y)
        if rest:
            f = first_feature + whole
            y = load_sums(own, tile + r * columns + whole, correction, f) * load_part(scale, f, rest)
            y = fma(y, row_scale, load_part(bias, f, rest))
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load_part(residual, added + whole, rest)
            store_part(out, target + whole, y, rest)
        added_row += 1
        if added_row == residual_rows:
            added_row = 0
