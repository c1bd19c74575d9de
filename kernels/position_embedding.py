"""Stretch a square grid of learned positions over another grid, by bicubic interpolation.

Along one axis, place ``i`` of the new grid of ``n`` cells looks at the old grid of ``m`` cells
around

    s = (i + 0.5) * m / n - 0.5

and mixes the four cells floor(s) - 1 ... floor(s) + 2 with the cubic convolution kernel

    w(d) = (a + 2) |d|^3 - (a + 3) |d|^2 + 1              for |d| <= 1
         = a |d|^3 - 5 a |d|^2 + 8 a |d| - 4 a            for 1 < |d| < 2,    a = -0.75

where cells beyond the edge repeat the edge. Both axes are such a map, so the whole is two small
matrices around the table: ``R @ table @ C.T``. There is no smoothing when the grid shrinks
(no antialias), and corners are not aligned; both are part of what the model was trained with.

Operands
    position  (side * side, hidden_size), row by row, any float dtype
    rows, columns  the new grid
Result
    (rows * columns, hidden_size), the dtype of ``position``, C order. The matrices are made in
    float64 and rounded once to that dtype.
Cost
    2 * rows * side * side * hidden_size flops for R, then 2 * rows * columns * side *
    hidden_size for C; the table is read once and the result written once.
NaN
    A NaN cell spoils every new cell of the rows and columns that the dense matrices let touch it.
Source
    ``torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`` as called by
    ``SiglipVisionEmbeddings.interpolate_pos_encoding``; the kernel is that of Keys, 1981,
    https://doi.org/10.1109/TASSP.1981.1163711.
"""

from __future__ import annotations

import math

import numpy as np

from .compilation import kernel, part
from .cost import Cost, float32_traffic
from .runtime import Runtime, flat
from .threads import finish_task, next_task, wait_for_tasks
from .vector import LANES, Vector, fill, fma, load, load_part, store, store_part

CUBIC_COEFFICIENT = -0.75


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


def position_embedding_reference(position: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Resample a square table of positions to a grid of ``rows`` by ``columns``.

    Parameters
    ----------
    position : ndarray of shape (side ** 2, hidden_size)
    rows, columns : int

    Returns
    -------
    ndarray of shape (rows * columns, hidden_size)

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[0.0], [0.0], [8.0], [8.0]])  # two rows: 0, 0 and 8, 8
    >>> position_embedding_reference(table, rows=1, columns=3).ravel()
    array([4., 4., 4.])
    """
    side = math.isqrt(position.shape[0])
    down = bicubic_resize_matrix(side, rows).astype(position.dtype)
    across = bicubic_resize_matrix(side, columns).astype(position.dtype)
    table = position.reshape(side, side, -1)
    tall = np.tensordot(down, table, axes=(1, 0))  # (rows, side, D)
    grid = np.matmul(across, tall)  # (columns, side) @ (rows, side, D) -> (rows, columns, D)
    return grid.reshape(rows * columns, -1)


def position_embedding_cost(*, side: int, rows: int, columns: int, hidden_size: int) -> Cost:
    """Cost of one call with dense matrices."""
    return Cost(
        flops=2 * rows * side * hidden_size * (side + columns),
        bytes=float32_traffic(side * side * hidden_size, rows * columns * hidden_size),
    )


# ----------------------------------------------------------------------------------------- compiled

TAPS = 4


def position_embedding(runtime: Runtime, position: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Compute `position_embedding_reference` in float32, from the four cells that have a weight.

    Parameters
    ----------
    runtime : Runtime
    position : ndarray of shape (side ** 2, hidden_size)
    rows, columns : int

    Returns
    -------
    ndarray of shape (rows * columns, hidden_size)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.runtime import Runtime
    >>> table = np.array([[0.0], [0.0], [8.0], [8.0]])
    >>> position_embedding(Runtime(threads=1), table, rows=1, columns=3).ravel().round(4).tolist()
    [4.0, 4.0, 4.0]
    """
    side = math.isqrt(position.shape[0])
    width = position.shape[1]
    out = runtime.empty(rows * columns, width)
    runtime.run(
        interpolate,
        flat(position),
        *cubic_taps(side, rows),
        *cubic_taps(side, columns),
        out.reshape(-1),
        side,
        width,
    )
    return out


def cubic_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells of one axis that each new place looks at, and their weights: two flat arrays of 4 * new.

    Examples
    --------
    >>> cells, weights = cubic_taps(2, 1)
    >>> cells.tolist(), weights.tolist()
    ([0, 0, 1, 1], [-0.09375, 0.59375, 0.59375, -0.09375])
    """
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    cells = np.floor(centre).astype(np.int64)[:, None] + np.arange(-1, TAPS - 1)
    weights = cubic_convolution_weight(centre[:, None] - cells)
    return np.clip(cells, 0, old - 1).ravel(), weights.astype(np.float32).ravel()


@kernel
def interpolate(
    position: np.ndarray,
    row_cells: np.ndarray,
    row_weights: np.ndarray,
    column_cells: np.ndarray,
    column_weights: np.ndarray,
    out: np.ndarray,
    side: int,
    width: int,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Compute one row of the new grid a task: for each place four sums across of four cells down."""
    rows, columns = row_cells.size // TAPS, column_cells.size // TAPS
    whole = width & -LANES
    while True:
        row = next_task(progress, 0, rows, thread)
        if row < 0:
            break
        for column in range(columns):
            place = (row * columns + column) * width
            for i in range(0, width, LANES):
                count = min(LANES, width - i)
                total = fill(np.float32(0))
                for across in range(TAPS):
                    tap = column * TAPS + across
                    cell = column_cells[tap] * width + i
                    down = _weigh_down(position, row_cells, row_weights, row, cell, side * width, count)
                    total = fma(down, column_weights[tap], total)
                if i < whole:
                    store(out, place + i, total)
                else:
                    store_part(out, place + i, total, count)
        finish_task(progress, 0)
    wait_for_tasks(progress, 0, rows)


@part
def _weigh_down(
    position: np.ndarray,
    row_cells: np.ndarray,
    row_weights: np.ndarray,
    row: int,
    cell: int,
    stride: int,
    count: int,
) -> Vector:
    total = fill(np.float32(0))
    for tap in range(row * TAPS, row * TAPS + TAPS):
        place = row_cells[tap] * stride + cell
        numbers = load(position, place) if count == LANES else load_part(position, place, count)
        total = fma(numbers, row_weights[tap], total)
    return total
