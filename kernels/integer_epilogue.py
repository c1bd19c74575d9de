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
    out: np.ndarray,
    first_row: int,
) -> None:
    """Finish some rows of a tile, and store the result."""
    scale, correction, bias = weights.scale, weights.correction, weights.bias
    out_features = weights.out_features
    residual_rows = residual.size // out_features
    whole = features & -LANES
    rest = features - whole
    for r in range(begin, end):
        row_scale = row_scales[first_row + r]
        target = (first_row + r) * out_features + first_feature
        added = 0
        if residual_rows > 0:
            added = (first_row + r) % residual_rows * out_features + first_feature
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
