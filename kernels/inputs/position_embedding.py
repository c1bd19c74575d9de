"""Stretch a square grid of learned positions over another grid.

Each axis is a linear map, whose weights `resampling` derives, so the whole is two small matrices
around the table:

    new = R @ table @ C.T

Operands
    position  (side * side, hidden_size), row by row, any float dtype
    rows, columns  the new grid
    interpolation  a name from ``resampling.INTERPOLATIONS``
Result
    (rows * columns, hidden_size), the dtype of ``position``, C order. The matrices are made in
    float64 and rounded once to that dtype.
Cost
    2 * rows * side * side * hidden_size flops for R, then 2 * rows * columns * side *
    hidden_size for C; the table is read once and the result written once.
NaN
    A NaN cell spoils every new cell of the rows and columns that the dense matrices let touch it.
Source
    ``torch.nn.functional.interpolate`` as called by
    ``SiglipVisionEmbeddings.interpolate_pos_encoding`` (bicubic) and by
    ``Siglip2VisionEmbeddings.resize_positional_embeddings`` (bilinear with antialias). The latter, on a
    CPU and up to torch 2.13 at least, gives all rows of a grid of one column the position of the first;
    torch itself does not where channels are last in memory, and this does not.
"""

from __future__ import annotations

import math

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel, part
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, Vector, fill, fma, load, load_part, store, store_part
from .resampling import resize_matrix, resize_taps


def position_embedding_reference(
    position: np.ndarray, rows: int, columns: int, interpolation: str = "bicubic"
) -> np.ndarray:
    """Resample a square table of positions to a grid of ``rows`` by ``columns``.

    Parameters
    ----------
    position : ndarray of shape (side ** 2, hidden_size)
    rows, columns : int
    interpolation : str
        A name from ``resampling.INTERPOLATIONS``.

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
    down = resize_matrix(side, rows, interpolation).astype(position.dtype)
    across = resize_matrix(side, columns, interpolation).astype(position.dtype)
    table = position.reshape(side, side, -1)
    tall = np.tensordot(down, table, axes=(1, 0))  # (rows, side, D)
    grid = np.matmul(across, tall)  # (columns, side) @ (rows, side, D) -> (rows, columns, D)
    return grid.reshape(rows * columns, -1)


def position_embedding_cost(
    *, side: int, rows: int, columns: int, hidden_size: int, interpolation: str = "bicubic"
) -> Cost:
    """Cost of one call with dense matrices, whatever the interpolation."""
    return Cost(
        flops=2 * rows * side * hidden_size * (side + columns),
        bytes=float32_traffic(side * side * hidden_size, rows * columns * hidden_size),
    )


# ----------------------------------------------------------------------------------------- compiled


def position_embedding(
    runtime: Runtime, position: np.ndarray, rows: int, columns: int, interpolation: str = "bicubic"
) -> np.ndarray:
    """Compute `position_embedding_reference` in float32, from the few cells that have a weight.

    Parameters
    ----------
    runtime : Runtime
    position : ndarray of shape (side ** 2, hidden_size)
    rows, columns : int
    interpolation : str
        A name from ``resampling.INTERPOLATIONS``.

    Returns
    -------
    ndarray of shape (rows * columns, hidden_size)

    Raises
    ------
    ValueError
        If the positions are not those of a square.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> table = np.array([[0.0], [0.0], [8.0], [8.0]])
    >>> position_embedding(Runtime(threads=1), table, rows=1, columns=3).ravel().round(4).tolist()
    [4.0, 4.0, 4.0]
    """
    side = math.isqrt(position.shape[0])
    width = position.shape[1]
    if side * side != position.shape[0]:
        raise ValueError(f"position has shape {position.shape}, and {position.shape[0]} is no square")
    out = runtime.empty(rows * columns, width)
    runtime.run(
        interpolate,
        flat(position),
        *resize_taps(side, rows, interpolation),
        *resize_taps(side, columns, interpolation),
        out.reshape(-1),
        side,
        width,
    )
    return out


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
    counters: np.ndarray,
    thread: int,
) -> None:
    """Compute one row of the new grid a task: for each place a sum across of sums down."""
    rows = row_cells.shape[0]
    columns, column_taps = column_cells.shape
    whole = width & -LANES
    while True:
        row = next_task(counters, 0, rows, thread)
        if row < 0:
            break
        for column in range(columns):
            offset = (row * columns + column) * width
            for i in range(0, width, LANES):
                count = min(LANES, width - i)
                total = fill(np.float32(0))
                for tap in range(column_taps):
                    cell = column_cells[column, tap] * width + i
                    down = _weigh_down(position, row_cells, row_weights, row, cell, side * width, count)
                    total = fma(down, column_weights[column, tap], total)
                if i < whole:
                    store(out, offset + i, total)
                else:
                    store_part(out, offset + i, total, count)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, rows)


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
    for tap in range(row_cells.shape[1]):
        offset = row_cells[row, tap] * stride + cell
        numbers = load(position, offset) if count == LANES else load_part(position, offset, count)
        total = fma(numbers, row_weights[row, tap], total)
    return total
