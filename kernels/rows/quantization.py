"""Rows of float32 as rows of 8-bit integers, each with a scale of its own.

    scale[r] = max_k |x[r, k]| / 127
    q[r, k] = the whole number nearest to x[r, k] * (127 / max_k |x[r, k]|), halves to even

so that q * scale is x, but for an error of at most half a scale. Symmetric: 0 stays 0, and -128 does not
occur. Activations are quantised by rows, that is by tokens, when they have been computed, weights by rows,
that is by output features, when a model is loaded.

Operand
    x  (..., width), any float dtype; rounded to float32 first, in which all of this is computed
Result
    q      (..., width), int8, C order
    scale  (...), float32
Cost
    3 flops an element: maximum, product, rounding. Read once; written once in a quarter of the bytes.
NaN
    A row that holds NaN or an infinity gets the scale NaN, so that whatever is computed from it is NaN. A
    row whose largest magnitude is below 2^-100 becomes 0 with the scale 0.
Source
    Dettmers et al., 2022, https://arxiv.org/abs/2208.07339, section 2, "absmax quantization", by rows.
"""

from __future__ import annotations

import math

import numpy as np

from ..cost import FLOAT32_BYTES, Cost
from ..machine import tuning
from ..machine.compilation import kernel, part
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, absolute, fill, fma, load, load_part, max_lanes, select, sum_lanes
from ..tiles.integer_packing import words_of
from ..tiles.integer_tile import PAIRS, neighbours_of_word, store_integers, word_of_this_machine
from ..tiles.packing import row_offset
from ..tiles.tile import BLOCK

LARGEST_INTEGER = 127
_SMALLEST = np.float32(2.0**-100)
"""A row that is smaller than this is nothing but zeros, for 127 divided by it may not fit a float32."""


def quantize_rows_reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantise each row by its largest magnitude.

    Parameters
    ----------
    x : ndarray of shape (..., width)

    Returns
    -------
    q : ndarray of int8, shape (..., width)
    scale : ndarray of float32, shape (...)

    Examples
    --------
    >>> q, scale = quantize_rows_reference(np.array([[1.0, -2.54, 0.03], [0.0, 0.0, 0.0]]))
    >>> q.tolist(), scale.round(4).tolist()
    ([[50, -127, 2], [0, 0, 0]], [0.019999999552965164, 0.0])
    """
    x = x.astype(np.float32)
    limit = np.float32(LARGEST_INTEGER)
    finite = np.isfinite(x).all(axis=-1)
    largest = np.where(finite, np.abs(x).max(axis=-1), 0)
    large_enough = largest >= _SMALLEST
    divisor = np.where(large_enough, largest, 1)
    inverse = np.where(large_enough, limit / divisor, 0).astype(np.float32)
    scale = np.where(large_enough, largest / limit, 0).astype(np.float32)
    q = np.rint(np.where(finite[..., None], x, 0) * inverse[..., None]).astype(np.int8)
    return q, np.where(finite, scale, np.float32(np.nan))


def quantize_rows_cost(*, rows: int, width: int) -> Cost:
    """Cost of one call on ``rows`` vectors."""
    elements = rows * width
    return Cost(flops=3 * elements, bytes=FLOAT32_BYTES * (elements + rows) + elements)


# ----------------------------------------------------------------------------------------- compiled

_ZERO, _ONE, _LIMIT, _NAN = np.float32(0), np.float32(1), np.float32(LARGEST_INTEGER), np.float32(np.nan)
_TO_WHOLE = np.float32(1.5 * 2**23)
"""Added to a small number, it leaves the nearest whole number in the lowest bits."""


def quantize_rows(runtime: Runtime, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute `quantize_rows_reference`, the same integers.

    Parameters
    ----------
    runtime : Runtime
    x : ndarray of shape (..., width)

    Examples
    --------
    >>> q, scale = quantize_rows(Runtime(threads=1), np.array([[1.0, -2.54, 0.03]]))
    >>> q.tolist()
    [[50, -127, 2]]
    """
    width = x.shape[-1]
    rows = math.prod(x.shape[:-1])
    row_size = words_of(width)
    words = np.empty(rows * row_size, np.float32)
    scales = np.empty(x.shape[:-1], np.float32)
    if rows:
        runtime.run(quantize, flat(x), width, 0, words, row_size, 1, scales.reshape(-1))
    integers = words.view(np.int16 if word_of_this_machine() == PAIRS else np.int8)
    q = integers.reshape(*x.shape[:-1], -1)[..., :width]
    return np.ascontiguousarray(q, np.int8), scales


@kernel
def quantize(
    x: np.ndarray,
    width: int,
    zero_point: int,
    words: np.ndarray,
    row_size: int,
    panel_rows: int,
    scales: np.ndarray,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Quantise some rows a task.

    The zero point is added to every integer. The result is plain or packed, as ``row_size`` and
    ``panel_rows`` say; see `packing.row_offset`, and `integer_tile` for words.
    """
    rows = x.size // width
    tasks = (rows + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * tuning.ROWS_OF_TASK, min((task + 1) * tuning.ROWS_OF_TASK, rows)):
            offset = row_offset(row, row_size, panel_rows)
            scales[row] = quantize_row(x, row * width, width, zero_point, words, offset, panel_rows)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)


@part
def quantize_row(
    x: np.ndarray, start: int, width: int, zero_point: int, words: np.ndarray, offset: int, panel_rows: int
) -> float:
    """Quantise one row; its scale is returned."""
    whole = width & -LANES
    rest = width - whole
    # Two of each, so that one need not wait for the other. Times 0, all but NaN and infinity is 0.
    largest, other = fill(_ZERO), fill(_ZERO)
    poison, other_poison = fill(_ZERO), fill(_ZERO)
    pairs = width & -(2 * LANES)
    for k in range(0, pairs, 2 * LANES):
        a, b = load(x, start + k), load(x, start + k + LANES)
        poison, other_poison = fma(a, _ZERO, poison), fma(b, _ZERO, other_poison)
        a, b = absolute(a), absolute(b)
        largest, other = select(a > largest, a, largest), select(b > other, b, other)
    for k in range(pairs, whole, LANES):
        a = load(x, start + k)
        poison = fma(a, _ZERO, poison)
        a = absolute(a)
        largest = select(a > largest, a, largest)
    if rest:
        a = load_part(x, start + whole, rest)
        poison = fma(a, _ZERO, poison)
        a = absolute(a)
        largest = select(a > largest, a, largest)
    most = max_lanes(select(other > largest, other, largest))
    inverse, scale = _ZERO, _ZERO
    if most >= _SMALLEST:
        inverse, scale = _LIMIT / most, most / _LIMIT
    if sum_lanes(poison + other_poison) != _ZERO:
        inverse, scale = _ZERO, _NAN

    # A product and a sum, not one multiply-add: the product is rounded as everybody else would round it.
    shift = fill(_TO_WHOLE + np.float32(zero_point))
    for k in range(0, whole, LANES):
        store_integers(words, offset + word_offset(k, panel_rows), load(x, start + k) * inverse + shift)
    if rest:
        last = load_part(x, start + whole, rest) * inverse + shift
        store_integers(words, offset + word_offset(whole, panel_rows), last)
    return scale


@part
def word_offset(k: int, panel_rows: int) -> int:
    """How many words behind the first one of its row number ``k`` lies, a multiple of 16."""
    word = k // neighbours_of_word()
    return word // BLOCK * BLOCK * panel_rows + word % BLOCK
