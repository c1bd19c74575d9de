"""Operands of a matrix product in the order in which register tiles read them.

    product[m, n] = sum_k rows[m, k] * weight[n, k]

The weight is packed once, when a model is loaded; the rows are packed at every call.

Packed weight: panels of ``tile.columns`` output features, one after the other. A panel holds for each k
its features side by side, so that a tile reads it from front to back. The last panel is as many vectors
wide as it needs; features and k that do not exist are zero. With 48 columns:

    panel p, feature j of it, step k:   p * (48 * K4) + k * width + j          width = 48, 32 or 16

Packed rows: panels of ``tile.rows`` rows. A panel holds blocks of 16 k, in each its rows one after the
other, so that packing copies whole vectors and nothing has to be transposed:

    panel p, row r of it, step k:       p * (rows * K16) + (k // 16) * (rows * 16) + r * 16 + k % 16

In the second formula a panel of one row, with K itself for K16, is a plain row. Operations whose result is
read by a product alone write it by that formula (`row_offset`), and then nothing has to be packed.

K4 and K16 are K rounded up to a multiple of 4 and of 16. Arithmetic runs to K4: the zeros in between add
nothing, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..machine.compilation import kernel, part
from ..machine.runtime import Runtime
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, load, load_part, store, transpose_block
from ..machine.workspace import aligned_empty
from .tile import BLOCK, tile_of_this_machine


class PackedLinear(NamedTuple):
    """An affine map in the order of register tiles."""

    panels: np.ndarray
    """Packed weight, flat."""
    bias: np.ndarray
    """(out_features,), zeros if there is none."""
    in_features: int
    out_features: int


def round_up(size: int, unit: int) -> int:
    """The next multiple of ``unit``.

    Examples
    --------
    >>> round_up(17, 16), round_up(16, 16)
    (32, 16)
    """
    return -(-size // unit) * unit


def pack_linear(
    runtime: Runtime, weight: np.ndarray | Sequence[np.ndarray], bias: np.ndarray | None = None
) -> PackedLinear:
    """Pack the weight of an affine map.

    Parameters
    ----------
    runtime : Runtime
    weight : ndarray of shape (out_features, in_features), or sequence of ndarray
        Several are stacked, the output features of one after those of the other.
    bias : ndarray of shape (out_features,), optional

    Examples
    --------
    >>> packed = pack_linear(Runtime(threads=1), np.ones((2, 3), np.float32))
    >>> packed.in_features, packed.out_features, packed.bias.tolist()
    (3, 2, [0.0, 0.0])
    """
    tile = tile_of_this_machine()
    parts = [weight] if isinstance(weight, np.ndarray) else list(weight)
    if any(len(rows) % tile.columns for rows in parts[:-1]):  # a panel would hold the end of one and the next
        parts = [np.concatenate(parts)]
    out_features, in_features = sum(map(len, parts)), parts[0].shape[1]
    panels = aligned_empty(round_up(out_features, LANES) * round_up(in_features, 4))
    offset = 0
    for rows in parts:
        # A read-only array is a type of its own to Numba, for which this one kernel is compiled too, rather
        # than to copy every weight.
        source = np.require(rows, np.float32, ["C"]).reshape(-1)
        panel_count = -(-len(rows) // tile.columns)
        runtime.run(pack_weight, source, panels[offset:], len(rows), in_features, tile.columns, panel_count)
        offset += len(rows) * round_up(in_features, 4)
    bias = np.zeros(out_features, np.float32) if bias is None else np.array(bias, np.float32)
    return PackedLinear(panels, bias, in_features, out_features)


@kernel
def pack_weight(
    weight: np.ndarray,
    panels: np.ndarray,
    out_features: int,
    in_features: int,
    columns: int,
    panel_count: int,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Pack (out_features, in_features) into panels; each panel is a task."""
    while True:
        task = next_task(counters, 0, panel_count, thread)
        if task < 0:
            break
        first = task * columns
        pack_panel(
            weight, first * in_features, in_features, min(columns, out_features - first), in_features,
            panels, first * (in_features + 3 & -4),
        )  # fmt: skip
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, panel_count)


@part
def pack_panel(
    source: np.ndarray, index: int, stride: int, features: int, depth: int, panel: np.ndarray, offset: int
) -> None:
    """Transpose ``features`` rows of ``depth`` numbers, so that the features lie side by side."""
    width = features + LANES - 1 & -LANES
    padded_depth = depth + 3 & -4
    whole_features, whole_depth = features & -LANES, depth & -LANES
    for j in range(0, whole_features, LANES):
        for k in range(0, whole_depth, LANES):
            transpose_block(source, index + j * stride + k, stride, panel, offset + k * width + j, width)
        for k in range(whole_depth, padded_depth):
            for lane in range(LANES):
                value = source[index + (j + lane) * stride + k] if k < depth else np.float32(0)
                panel[offset + k * width + j + lane] = value
    if whole_features < width:
        for k in range(padded_depth):
            for j in range(whole_features, width):
                inside = j < features and k < depth
                panel[offset + k * width + j] = source[index + j * stride + k] if inside else np.float32(0)


@part
def row_offset(row: int, row_size: int, panel_rows: int) -> int:
    """Where a row begins; its k, a multiple of 16, lies ``k * panel_rows`` further on.

    Plain rows are panels of one row, and ``row_size`` is then their width.
    """
    return row // panel_rows * panel_rows * row_size + row % panel_rows * BLOCK


@part
def pack_rows(
    source: np.ndarray,
    index: int,
    stride: int,
    rows: int,
    depth: int,
    panel: np.ndarray,
    offset: int,
    panel_rows: int,
) -> None:
    """Copy ``rows`` rows into a panel of ``panel_rows``; the others become zero."""
    whole = depth & -LANES
    for k in range(0, whole, LANES):
        block = offset + k * panel_rows
        for r in range(rows):
            store(panel, block + r * BLOCK, load(source, index + r * stride + k))
        for r in range(rows, panel_rows):
            store(panel, block + r * BLOCK, fill(np.float32(0)))
    if whole < depth:
        block = offset + whole * panel_rows
        for r in range(panel_rows):
            if r < rows:
                tail = load_part(source, index + r * stride + whole, depth - whole)
                store(panel, block + r * BLOCK, tail)
            else:
                store(panel, block + r * BLOCK, fill(np.float32(0)))
