"""The operations of a layer that differ between float32 and int8, each under one name.

A product reads its rows in an order of its own, and quantised weights want rows of integers, with a scale for
each row. In this form rows are called the *operand* of a product.

    name               with weights of float32                  with quantised weights
    normalize_operand  normalise, write packed                  normalise, and quantise while it is in cache
    make_operand       pack, unless that was done before        quantise
    multiply_operand   `matrix_product.multiply`                `integer_product.multiply_integers`
    result_layout      packed: the operand of the next product  plain: it has to be quantised first
    linear_at          a `PackedLinear`                         a `PackedIntegers`

``row_scales`` tells which: None, or an array with room for the scale of each row. The first three are one
kernel each, and take one set of counters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import tuning
from ..machine.addresses import array_at
from ..machine.compilation import Part, dispatch, routine
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES
from ..products.integer_product import multiply_integers
from ..products.matrix_product import Plan, multiply, pack_panels
from ..rows.layer_norm import normalize_row, normalize_rows
from ..rows.quantization import quantize, quantize_row
from ..tiles.integer_packing import PackedIntegers
from ..tiles.integer_tile import zero_point
from ..tiles.packing import PackedLinear, row_offset


@dispatch
def normalize_operand(row_scales: Any, *others: Any) -> Part:
    """Normalise rows to be the operand of the product whose plan is given."""
    return _normalize if row_scales is None else _normalize_and_quantize


@routine
def _normalize(
    row_scales: None,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    operand: np.ndarray,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    width = weight.size
    normalize_rows(x, weight, bias, eps, operand, width, plan.row_size, plan.tile_rows, counters, thread)


@routine
def _normalize_and_quantize(
    row_scales: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    operand: np.ndarray,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Normalise some rows a task, each into the thread's scratch, from where it is quantised."""
    width = weight.size
    rows = x.size // width
    shift = zero_point()
    normed = thread * (width + LANES - 1 & -LANES)
    tasks = (rows + tuning.ROWS_OF_QUANTIZING_TASK - 1) // tuning.ROWS_OF_QUANTIZING_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(
            task * tuning.ROWS_OF_QUANTIZING_TASK, min((task + 1) * tuning.ROWS_OF_QUANTIZING_TASK, rows)
        ):
            normalize_row(x, weight, bias, eps, row * width, width, scratch, normed, np.int64(1))
            offset, panel_rows = row_offset(row, plan.row_size, plan.tile_rows), plan.tile_rows
            row_scales[row] = quantize_row(scratch, normed, width, shift, operand, offset, panel_rows)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@dispatch
def make_operand(row_scales: Any, *others: Any) -> Part:
    """Make rows the operand of the product whose plan is given, and return where it lies.

    That is in ``operand``, or in ``x`` itself if it is packed: if its panels have more than one row.
    """
    return _pack if row_scales is None else _quantize


@routine
def _pack(
    row_scales: None,
    x: np.ndarray,
    panel_rows: int,
    rows: int,
    width: int,
    operand: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> np.ndarray:
    if panel_rows > 1:
        return x
    pack_panels(x, rows, width, operand, 0, plan, counters, thread)
    return operand


@routine
def _quantize(
    row_scales: np.ndarray,
    x: np.ndarray,
    panel_rows: int,
    rows: int,
    width: int,
    operand: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> np.ndarray:
    quantize(x[: rows * width], width, zero_point(), operand, plan.row_size, plan.tile_rows, row_scales,
             counters, thread)  # fmt: skip
    return operand


@dispatch
def multiply_operand(row_scales: Any, *others: Any) -> Part:
    """Compute `linear` of an operand. Where `result_layout` says so, the result is the next operand."""
    return _multiply if row_scales is None else _multiply_integers


@routine
def _multiply(
    row_scales: None,
    operand: np.ndarray,
    rows: int,
    weights: PackedLinear,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    packed = np.int64(1)
    multiply(operand, packed, rows, weights, activation, residual, out, out_row_size, out_panel_rows,
             scratch, plan, counters, thread)  # fmt: skip


@routine
def _multiply_integers(
    row_scales: np.ndarray,
    operand: np.ndarray,
    rows: int,
    weights: PackedIntegers,
    activation: int,
    residual: np.ndarray,
    out: np.ndarray,
    out_row_size: int,
    out_panel_rows: int,
    scratch: np.ndarray,
    plan: Plan,
    counters: np.ndarray,
    thread: int,
) -> None:
    multiply_integers(operand, row_scales, rows, weights, activation, residual, out, scratch, plan,
                      counters, thread)  # fmt: skip


@dispatch
def result_layout(row_scales: Any, *others: Any) -> Part:
    """The row size, and the rows of a panel, in which to write what the product with this plan reads."""
    return _packed_layout if row_scales is None else _plain_layout


@routine
def _packed_layout(row_scales: None, width: int, plan: Plan) -> tuple[int, int]:
    return plan.row_size, plan.tile_rows


@routine
def _plain_layout(row_scales: np.ndarray, width: int, plan: Plan) -> tuple[int, int]:
    return width, 1


@dispatch
def linear_at(row_scales: Any, *others: Any) -> Part:
    """The packed linear map whose arrays stand in a row of a table, from one column on."""
    return _packed_linear_at if row_scales is None else _packed_integers_at


@routine
def _packed_linear_at(row_scales: None, row: np.ndarray, first: int, in_features: int) -> PackedLinear:
    panels, bias = row[first], row[first + 1]
    return PackedLinear(array_at(panels[0], panels[1]), array_at(bias[0], bias[1]), in_features, bias[1])


@routine
def _packed_integers_at(
    row_scales: np.ndarray, row: np.ndarray, first: int, in_features: int
) -> PackedIntegers:
    panels, scale, correction, bias = row[first], row[first + 1], row[first + 2], row[first + 3]
    return PackedIntegers(
        array_at(panels[0], panels[1]),
        array_at(scale[0], scale[1]),
        array_at(correction[0], correction[1]),
        array_at(bias[0], bias[1]),
        in_features,
        bias[1],
    )
