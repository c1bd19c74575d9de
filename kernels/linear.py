"""An affine map of the last axis, with an activation and a residual in the same breath.

    y[..., n] = activation(sum_k x[..., k] * weight[n, k] + bias[n]) + residual[..., n]

Every matrix product of the model is this one call. Weights are prepared once, when a model is
loaded, and are opaque afterwards: a backend may keep them as they are, pack them into panels or
quantise them, and the code that calls ``linear`` does not change.

Operands
    x           (..., in_features), any float dtype
    weight      (out_features, in_features), C order, the layout of ``torch.nn.Linear``
    bias        (out_features,) or None
    activation  a name from ``activations.ACTIVATIONS`` or None
    residual    an array that broadcasts to the result, or None; it is added after the activation
Result
    (..., out_features), the dtype of ``x``, C order. No operand is changed. Any size of any axis
    is allowed, nobody pads.
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

import functools
import math
from typing import NamedTuple

import numpy as np

from .activations import IDENTITY, activate, activation_code, activation_flops, activation_reference
from .compilation import kernel, part
from .cost import Cost, float32_traffic
from .packing import PackedLinear, pack_rows, round_up, row_place
from .runtime import NOTHING, Runtime, flat
from .threads import (
    add_to_counter,
    finish_task,
    next_task,
    pause,
    read_counter,
    thread_number,
    wait_for_tasks,
)
from .tile import BLOCK, Tile, multiply_tile, tile_of_this_machine
from .vector import LANES, load, load_part, store, store_part


class LinearWeights(NamedTuple):
    """Weights as the reference uses them: untouched, so that they may stay memory-mapped."""

    weight: np.ndarray
    """(out_features, in_features)"""
    bias: np.ndarray | None
    """(out_features,) or None"""


def prepare_linear_reference(weight: np.ndarray, bias: np.ndarray | None = None) -> LinearWeights:
    """Prepare weights for `linear_reference`: nothing to do but to keep them together.

    Parameters
    ----------
    weight : ndarray of shape (out_features, in_features)
    bias : ndarray of shape (out_features,), optional

    Examples
    --------
    >>> import numpy as np
    >>> prepare_linear_reference(np.ones((2, 3))).weight.shape
    (2, 3)
    """
    return LinearWeights(weight, bias)


def linear_reference(
    x: np.ndarray,
    weights: LinearWeights,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Multiply by the transposed weight, add the bias, activate, add the residual.

    Parameters
    ----------
    x : ndarray of shape (..., in_features)
    weights : LinearWeights
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

_LARGEST_DEPTH = 1152
"""K is cut into blocks of at most this: one block of a weight panel and its successor, which is fetched
meanwhile, then take half a megabyte of the second level of cache, and leave room for a block of rows."""

_ROW_BLOCK_FLOATS = 230_000
"""Rows are cut into blocks of about this many numbers, to stay in the second level of cache."""


class Plan(NamedTuple):
    """How one product is cut into tasks; nothing in the result depends on it."""

    tile_rows: int
    columns: int
    """Of a weight panel."""
    row_panels: int
    panels_per_block: int
    """Panels of rows that a task goes through."""
    row_blocks: int
    depth: int
    """K of one task, a multiple of 16."""
    depths: int
    """Blocks of K."""
    weight_panels: int
    row_size: int
    """K rounded up to 16, what a packed row takes."""
    packed_size: int
    """Floats of all packed rows."""

    def own_size(self, threads: int) -> int:
        """Floats that a product works in: packed rows and tiles of sums."""
        tiles = threads if self.depths == 1 else self.row_panels * self.weight_panels
        return self.packed_size + tiles * self.tile_rows * self.columns


@functools.lru_cache(maxsize=256)
def plan_product(rows: int, in_features: int, out_features: int, tile: Tile) -> Plan:
    """Cut a product into tasks that fit the caches.

    Examples
    --------
    >>> plan = plan_product(196, 3072, 768, Tile(rows=8, vectors=3))
    >>> plan.row_blocks, plan.depths, plan.depth, plan.weight_panels
    (1, 3, 1024, 16)
    """
    row_size = round_up(in_features, BLOCK)
    depths = max(1, -(-row_size // _LARGEST_DEPTH))
    depth = round_up(-(-row_size // depths), BLOCK)
    row_panels = -(-rows // tile.rows)
    row_blocks = max(1, -(-rows * depth // _ROW_BLOCK_FLOATS))
    panels_per_block = max(1, -(-row_panels // row_blocks))
    return Plan(
        tile.rows,
        tile.columns,
        row_panels,
        panels_per_block,
        -(-row_panels // panels_per_block),
        depth,
        -(-row_size // depth) or 1,
        -(-out_features // tile.columns),
        row_size,
        row_panels * tile.rows * row_size,
    )


def linear(
    runtime: Runtime,
    x: np.ndarray,
    weights: PackedLinear,
    activation: str | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Compute `linear_reference` on packed weights, in float32.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., in_features)
    weights : PackedLinear
        Made by ``pack_linear``.
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
    >>> from numpy_siglip.kernels.runtime import Runtime
    >>> from numpy_siglip.kernels.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> weights = pack_linear(runtime, np.array([[1.0, 2.0]]), np.array([-10.0]))
    >>> linear(runtime, np.array([[3.0, 4.0]]), weights, residual=np.array([[0.5]])).tolist()
    [[1.5]]
    """
    if x.shape[-1] != weights.in_features:
        raise ValueError(f"x has shape {x.shape}, but the weights take {weights.in_features} features")
    rows = math.prod(x.shape[:-1])
    out = runtime.empty(*x.shape[:-1], weights.out_features)
    if not rows:
        return out
    added = flat(residual) if residual is not None else NOTHING
    if residual is not None and (residual.shape[-1] != weights.out_features or out.size % added.size):
        raise ValueError(f"residual has shape {residual.shape}, the result {out.shape}")
    plan = plan_product(rows, weights.in_features, weights.out_features, tile_of_this_machine())
    runtime.run(
        multiply,
        flat(x),
        0,
        rows,
        weights.in_features,
        weights.panels,
        weights.bias,
        weights.out_features,
        activation_code(activation),
        added,
        out.reshape(-1),
        weights.out_features,
        1,
        runtime.empty(plan.own_size(runtime.threads)),
        np.zeros(plan.row_blocks * plan.weight_panels if plan.depths > 1 else 1, np.int64),
        plan,
    )
    return out


@kernel
def multiply(
    x: np.ndarray,
    x_is_packed: int,
    rows: int,
    in_features: int,
    panels: np.ndarray,
    bias: np.ndarray,
    out_features: int,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    own: np.ndarray,
    finished: np.ndarray,
    plan: Plan,
    progress: np.ndarray,
) -> None:
    """Pack the rows, then multiply: one task is one panel of weights, on one block of rows and of K.

    ``own`` holds the packed rows, and behind them one tile for each thread or, if K is cut, every tile of
    the result, where sums over one block of K wait for the next. ``finished`` counts for each panel and
    block of rows the blocks of K that are done. Tasks of one block of K come before those of the next, so
    that who has to wait for a sum waits for a thread that is about to finish it.

    The result is plain or packed, as ``out_row_size`` and ``out_panel_rows`` say; see `packing.row_place`.
    """
    while x_is_packed == 0:
        panel = next_task(progress, 0)
        if panel >= plan.row_panels:
            break
        first = panel * plan.tile_rows
        pack_rows(
            x, first * in_features, in_features, min(plan.tile_rows, rows - first), in_features,
            own, first * plan.row_size, plan.tile_rows,
        )  # fmt: skip
        finish_task(progress, 0)
    packed, tiles = x, 0
    if x_is_packed == 0:
        wait_for_tasks(progress, 0, plan.row_panels)
        packed, tiles = own, plan.packed_size

    tile_size = plan.tile_rows * plan.columns
    own_tile = tiles + thread_number(progress) * tile_size
    tasks = plan.row_blocks * plan.depths * plan.weight_panels
    task = next_task(progress, 1)
    while task < tasks:
        following = next_task(progress, 1)  # taken early, to know what to fetch meanwhile
        row_block, depth_block, weight_panel = _task_place(task, plan)
        place = row_block * plan.weight_panels + weight_panel
        if plan.depths > 1:
            while read_counter(finished, place) < depth_block:
                pause()
        weights_here = _weight_place(depth_block, weight_panel, in_features, out_features, plan)
        ahead = weights_here
        if following < tasks:
            _, next_depth_block, next_weight_panel = _task_place(following, plan)
            ahead = _weight_place(next_depth_block, next_weight_panel, in_features, out_features, plan)

        first_feature = weight_panel * plan.columns
        features = min(plan.columns, out_features - first_feature)
        steps = (min(plan.depth, in_features - depth_block * plan.depth) + 3) // 4
        first_panel = row_block * plan.panels_per_block
        for panel in range(first_panel, min(first_panel + plan.panels_per_block, plan.row_panels)):
            first = panel * plan.tile_rows
            height = min(plan.tile_rows, rows - first)
            tile = own_tile
            if plan.depths > 1:
                tile = tiles + (weight_panel * plan.row_panels + panel) * tile_size
            multiply_tile(
                height, (features + LANES - 1) // LANES,
                packed, first * plan.row_size + depth_block * plan.depth * plan.tile_rows,
                panels, weights_here, steps,
                own, tile, plan.columns, LANES, depth_block,
                panels, min(ahead + (panel - first_panel) * steps * LANES, panels.size - steps * LANES),
            )  # fmt: skip
            if depth_block == plan.depths - 1:
                _finish_tile(
                    own, tile, plan.columns, height, bias, first_feature, features,
                    activation, residual, out, first, out_features, out_row_size, out_panel_rows,
                )  # fmt: skip
        if plan.depths > 1:
            add_to_counter(finished, place, 1)
        finish_task(progress, 1)
        task = following
    wait_for_tasks(progress, 1, tasks)


@part
def _task_place(task: int, plan: Plan) -> tuple[int, int, int]:
    """Block of rows, block of K and panel of weights of a task."""
    per_block = plan.depths * plan.weight_panels
    return task // per_block, task % per_block // plan.weight_panels, task % plan.weight_panels


@part
def _weight_place(
    depth_block: int, weight_panel: int, in_features: int, out_features: int, plan: Plan
) -> int:
    """Where the packed weights of a panel and a block of K begin."""
    first_feature = weight_panel * plan.columns
    features = min(plan.columns, out_features - first_feature)
    width = features + LANES - 1 & -LANES
    return first_feature * (in_features + 3 & -4) + depth_block * plan.depth * width


@part
def _finish_tile(
    own: np.ndarray,
    tile: int,
    columns: int,
    height: int,
    bias: np.ndarray,
    first_feature: int,
    features: int,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    first_row: int,
    out_features: int,
    out_row_size: int,
    out_panel_rows: int,
) -> None:
    """Add the bias to the sums of a tile, activate, add the residual, and put the result in its place."""
    residual_rows = residual.size // out_features
    whole = features & -LANES
    for r in range(height):
        row = first_row + r
        target = row_place(row, out_row_size, out_panel_rows) + first_feature * out_panel_rows
        added = first_feature
        if residual_rows > 0:
            added += row % residual_rows * out_features
        for j in range(0, whole, LANES):
            y = load(own, tile + r * columns + j) + load(bias, first_feature + j)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load(residual, added + j)
            store(out, target + j * out_panel_rows, y)
        if whole < features:
            count = features - whole
            y = load(own, tile + r * columns + whole) + load_part(bias, first_feature + whole, count)
            if activation != IDENTITY:
                y = activate(activation, y)
            if residual_rows > 0:
                y = y + load_part(residual, added + whole, count)
            if out_panel_rows == 1:
                store_part(out, target + whole, y, count)
            else:  # a packed row is filled up with what is finite
                store(out, target + whole * out_panel_rows, y)
