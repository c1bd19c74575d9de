"""A comparator that cannot fail would make every other test worthless."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.assert_close import assert_close

EXPECTED = np.linspace(-3, 5, 24, dtype=np.float32).reshape(2, 3, 4)


def _with(value, index=(1, 2, 3)):
    changed = EXPECTED.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    "actual",
    [EXPECTED, EXPECTED.tolist(), EXPECTED + np.float32(1e-5), _with(5 - 4e-5), EXPECTED.astype(float)],
)
def test_equal_enough_passes(actual):
    assert_close(actual, EXPECTED, relative=1e-5, same_dtype=False)


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (np.zeros_like(EXPECTED), "instead of"),
        (EXPECTED + 1e-3, "instead of"),
        (_with(5.001), r"instead of np.float32\(5.0\) at \(1, 2, 3\)"),
        (-EXPECTED, "instead of"),
        (_with(np.nan), r"NaN or infinity.*first at \(1, 2, 3\)"),
        (_with(np.inf), "NaN or infinity"),
        (np.full_like(EXPECTED, np.nan), "NaN or infinity"),
        (EXPECTED[:1], "shape"),
        (EXPECTED.reshape(2, 12), "shape"),
        (EXPECTED[..., None], "shape"),
    ],
)
def test_anything_else_fails(actual, message):
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, EXPECTED, relative=1e-5, same_dtype=False)


def test_other_dtypes_fail():
    with pytest.raises(AssertionError, match="dtype float64, expected float32"):
        assert_close(EXPECTED.astype(np.float64), EXPECTED, relative=1)


def test_zeros_ask_for_zeros():
    zeros = np.zeros(3)
    assert_close(zeros, zeros, relative=1)
    with pytest.raises(AssertionError):
        assert_close(zeros + 1e-300, zeros, relative=1)


def test_values_that_are_not_finite_have_their_places():
    expected = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert_close(expected.copy(), expected, relative=0)
    for wrong in (
        [1.0, np.inf, -np.inf, np.nan],
        [np.nan, -np.inf, np.inf, 1.0],
        [np.nan, np.inf, -np.inf, 1.1],
    ):
        with pytest.raises(AssertionError):
            assert_close(np.array(wrong), expected, relative=0.01)
    with pytest.raises(AssertionError):
        assert_close(np.array([0.0, np.nan]), np.array([np.nan, np.nan]), relative=1)


def test_a_small_difference_beside_a_large_number_is_small():
    assert_close(np.array([1e6, 1.0]), np.array([1e6, 1.5]), relative=1e-6)
    with pytest.raises(AssertionError):
        assert_close(np.array([1e6, 1.0]), np.array([1e6, 2.5]), relative=1e-6)


def test_empty_arrays_are_equal():
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)), relative=0)
