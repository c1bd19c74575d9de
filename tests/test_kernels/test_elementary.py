"""exp, tanh, erfc ... against float64, in units in the last place, over all of float32."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numpy_siglip.kernels.machine import elementary
from numpy_siglip.kernels.machine.compilation import kernel
from numpy_siglip.kernels.machine.elementary import (
    erfc,
    exp_flushed,
    exp_of_negative,
    log1p_small,
    tanh,
)
from numpy_siglip.kernels.machine.vector import LANES, load, store

SMALLEST_NORMAL = 2.0**-126


@kernel
def _exp_flushed(x, y):
    for i in range(0, x.size, LANES):
        store(y, i, exp_flushed(load(x, i)))


@kernel
def _exp_of_negative(x, y):
    for i in range(0, x.size, LANES):
        store(y, i, exp_of_negative(load(x, i)))


@kernel
def _tanh(x, y):
    for i in range(0, x.size, LANES):
        store(y, i, tanh(load(x, i)))


@kernel
def _erfc(x, y):
    for i in range(0, x.size, LANES):
        store(y, i, erfc(load(x, i)))


@kernel
def _log1p_small(x, y):
    for i in range(0, x.size, LANES):
        store(y, i, log1p_small(load(x, i)))


def _by_python(function):
    """A function of the standard library on float64 arrays; slow, and of nobody's vector code."""
    return np.frompyfunc(lambda value: function(value), 1, 1)


FUNCTIONS = {
    # compiled, float64, lowest and highest argument, largest error: those of the table in elementary.py
    "exp_flushed": (_exp_flushed, np.exp, math.log(SMALLEST_NORMAL), 127 * math.log(2), 1.1),
    "exp_of_negative": (_exp_of_negative, np.exp, math.log(SMALLEST_NORMAL), 0, 1.1),
    "tanh": (_tanh, np.tanh, -math.inf, math.inf, 1.4),
    "erfc": (_erfc, _by_python(math.erfc), -math.inf, 9.19, 6.0),
    "log1p_small": (_log1p_small, np.log1p, 0, 1, 2.0),
}


def _largest_error(name: str, x: np.ndarray) -> float:
    compiled, exact, low, high, _ = FUNCTIONS[name]
    x = x[(x >= low) & (x <= high)]
    x = np.ascontiguousarray(x[: x.size // LANES * LANES])
    y = np.empty_like(x)
    compiled(x, y)
    with np.errstate(over="ignore", under="ignore"):
        expected = np.asarray(exact(x.astype(np.float64)), np.float64)
        rounded = expected.astype(np.float32)
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(y[infinite], rounded[infinite])
    unit = np.spacing(np.abs(rounded[~infinite])).astype(np.float64)
    return float((np.abs(y[~infinite] - expected[~infinite]) / unit).max(initial=0))


def _floats(first: int, last: int, step: int) -> np.ndarray:
    """Every step-th float32, by the number that its bits are."""
    return np.arange(first, last, step, dtype=np.uint32).view(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_over_all_of_float32(name):
    slow_oracle = name == "erfc"
    x = _floats(0, 2**32 - 1, 65_537 if slow_oracle else 4_099)
    near_one = _floats(0x3C000000, 0x42000000, 1_021 if slow_oracle else 97)  # 2^-7 to 2^5
    x = np.concatenate([x[np.isfinite(x)], near_one, -near_one, [np.inf, -np.inf]]).astype(np.float32)
    error = _largest_error(name, np.sort(x))
    assert error <= FUNCTIONS[name][4]
    assert error > 0.5  # no function of float32 is that good: the test would be comparing nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp_flushed", "exp_of_negative", "tanh", "log1p_small"])
def test_errors_of_every_single_float32(name):
    worst = 0.0
    for first in range(0, 2**32, 2**24):
        x = _floats(first, min(first + 2**24, 2**32 - 1), 1)
        worst = max(worst, _largest_error(name, x[np.isfinite(x)]))
    assert worst <= FUNCTIONS[name][4]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan(name):
    x = np.full(LANES, np.nan, np.float32)
    x[3] = 0.5
    y = np.empty_like(x)
    FUNCTIONS[name][0](x, y)
    assert np.isnan(np.delete(y, 3)).all()
    assert np.isfinite(y[3])


def test_ends():
    x = np.array([np.inf, -np.inf, 0, -0.0, 1e-30, -1e-30, 200, -200, *[0] * 8], np.float32)
    y = np.empty_like(x)
    expected = {
        _exp_flushed: [np.inf, 0, 1, 1, 1, 1, np.inf, 0],
        _exp_of_negative: [None, 0, 1, 1, None, 1, None, 0],
        _tanh: [1, -1, 0, -0.0, 1e-30, -1e-30, 1, -1],
        _erfc: [0, 2, 1, 1, 1, 1, 0, 2],
    }
    for compiled, values in expected.items():
        compiled(x, y)
        known = [i for i, value in enumerate(values) if value is not None]
        np.testing.assert_array_equal(y[known], np.array(values, object)[known].astype(np.float32))


def test_every_function_of_the_table_is_tested():
    public = {
        name
        for name, value in vars(elementary).items()
        if getattr(value, "__module__", "") == elementary.__name__
    }
    assert {name for name in public if not name.startswith("_")} == set(FUNCTIONS)
    for name, (*_, error) in FUNCTIONS.items():
        (line,) = (line for line in elementary.__doc__.splitlines() if line.startswith(f"{name} "))
        assert float(line.split()[1]) == error


def test_plain_python_agrees(monkeypatch):
    """The same source, run by Python on NumPy arrays, as where compilation is disabled."""
    x = np.linspace(-9, 9, LANES).astype(np.float32)
    for name, (compiled, *_) in FUNCTIONS.items():
        if name == "log1p_small":
            x = np.linspace(0, 1, LANES).astype(np.float32)
        elif name == "exp_of_negative":
            x = np.linspace(-9, 0, LANES).astype(np.float32)
        y = np.empty_like(x)
        compiled(x, y)
        # a part calls parts by their global names, so these are made plain functions first
        plain = {
            key: value._function for key, value in vars(elementary).items() if hasattr(value, "_function")
        }
        for key, function in plain.items():
            monkeypatch.setattr(elementary, key, function)
        np.testing.assert_allclose(plain[name](x), y, rtol=3e-7, atol=1e-38)
        monkeypatch.undo()
