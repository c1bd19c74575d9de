"""How one axis of a grid is resampled: which old cells each new cell is mixed from, and by what weights.

Place ``i`` of a new grid of ``n`` cells lies, on the old grid of ``m`` cells, at

    s = (i + 0.5) * m / n - 0.5

since corners of the two grids are aligned, and not the centres of their outermost cells. Two ways
to mix the cells around that place:

``bicubic``
    The four cells floor(s) - 1 ... floor(s) + 2, weighted by the cubic convolution kernel

        w(d) = (a + 2) |d|^3 - (a + 3) |d|^2 + 1              for |d| <= 1
             = a |d|^3 - 5 a |d|^2 + 8 a |d| - 4 a            for 1 < |d| < 2,    a = -0.75

    where cells beyond the edge repeat the edge. Nothing is smoothed when the grid shrinks.
``antialiased_bilinear``
    All cells under a triangle,

        w(d) = max(0, 1 - |d| / r),    r = max(1, m / n)

    which is as wide as a new cell when the grid shrinks, so that no old cell is passed over. Cells
    beyond the edge have no weight, and the weights of each place are divided by their sum.

Cost
    None to speak of: a few weights for each row and each column.
Source
    ``torch.nn.functional.interpolate(align_corners=False)`` with ``mode="bicubic"``, and with
    ``mode="bilinear", antialias=True``. The cubic kernel is that of Keys, 1981,
    https://doi.org/10.1109/TASSP.1981.1163711; the triangle is how image libraries reduce.
"""

from __future__ import annotations

import math

import numpy as np

CUBIC_COEFFICIENT = -0.75
INTERPOLATIONS = ("bicubic", "antialiased_bilinear")


def cubic_convolution_weight(distance: np.ndarray) -> np.ndarray:
    """Weight of a cell at this distance, in cells, from the place that is looked at.

    Examples
    --------
    >>> import numpy as np
    >>> cubic_convolution_weight(np.array([0.0, 0.5, 1.0, 1.5, 2.0])).tolist()
    [1.0, 0.59375, 0.0, -0.09375, 0.0]
    """
    a = CUBIC_COEFFICIENT
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def bicubic_resize_matrix(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) that resamples one axis; its rows sum to one.

    Examples
    --------
    >>> bicubic_resize_matrix(2, 3).round(4).tolist()
    [[1.0868, -0.0868], [0.5, 0.5], [-0.0868, 1.0868]]
    """
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(centre).astype(np.int64) - 1
    matrix = np.zeros((new, old))
    for tap in range(4):
        cell = first + tap
        # Cells outside the grid repeat the border, so their weight falls on the border cell.
        np.add.at(
            matrix,
            (np.arange(new), np.clip(cell, 0, old - 1)),
            cubic_convolution_weight(centre - cell),
        )
    return matrix


def antialiased_bilinear_resize_matrix(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) that resamples one axis; its rows sum to one.

    Examples
    --------
    >>> antialiased_bilinear_resize_matrix(4, 2).round(4).tolist()
    [[0.4286, 0.4286, 0.1429, 0.0], [0.0, 0.1429, 0.4286, 0.4286]]
    >>> antialiased_bilinear_resize_matrix(2, 3).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    centre = (np.arange(new)[:, None] + 0.5) * (old / new) - 0.5
    distance = np.abs(np.arange(old) - centre)
    weights = np.maximum(0, 1 - distance / max(1, old / new))
    return weights / weights.sum(axis=1, keepdims=True)


def resize_matrix(old: int, new: int, interpolation: str) -> np.ndarray:
    """The matrix (new, old) of an interpolation of this name.

    Examples
    --------
    >>> resize_matrix(3, 1, "antialiased_bilinear").round(4).tolist()
    [[0.2857, 0.4286, 0.2857]]
    >>> resize_matrix(3, 1, "nearest")
    Traceback (most recent call last):
        ...
    ValueError: unknown interpolation 'nearest'; there are: bicubic, antialiased_bilinear
    """
    _check(interpolation)
    make = bicubic_resize_matrix if interpolation == "bicubic" else antialiased_bilinear_resize_matrix
    return make(old, new)


# ----------------------------------------------------------------------------------------- compiled


def resize_taps(old: int, new: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """The few cells that each new place is mixed from, and their weights: a matrix without its zeros.

    Parameters
    ----------
    old, new : int
        Cells of the axis.
    interpolation : str
        One of ``INTERPOLATIONS``.

    Returns
    -------
    cells : ndarray of int64, shape (new, taps)
    weights : ndarray of float32, shape (new, taps)

    Examples
    --------
    >>> cells, weights = resize_taps(2, 1, "bicubic")
    >>> cells.tolist(), weights.tolist()
    ([[0, 0, 1, 1]], [[-0.09375, 0.59375, 0.59375, -0.09375]])
    """
    _check(interpolation)
    reach = 2.0 if interpolation == "bicubic" else max(1.0, old / new)
    taps = math.ceil(2 * reach)  # as many cells as an open interval of that length can hold
    centre = (np.arange(new)[:, None] + 0.5) * (old / new) - 0.5
    cells = np.floor(centre - reach).astype(np.int64) + np.arange(1, taps + 1)
    inside = np.clip(cells, 0, old - 1)
    if interpolation == "bicubic":
        weights = cubic_convolution_weight(centre - cells)
    else:
        weights = np.where(cells == inside, np.maximum(0, 1 - np.abs(centre - cells) / reach), 0)
        weights /= weights.sum(axis=1, keepdims=True)
    return inside, weights.astype(np.float32)


def _check(interpolation: str) -> None:
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"unknown interpolation {interpolation!r}; there are: {', '.join(INTERPOLATIONS)}")
