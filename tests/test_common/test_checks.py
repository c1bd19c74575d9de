from __future__ import annotations

import numpy as np
import pytest

from numpy_siglip import ConfigError
from numpy_siglip.common.checks import check_integer, is_finite, shown


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7)])
def test_whole_numbers_become_pythons(value):
    assert check_integer("n", value, largest=7) == value
    assert type(check_integer("n", value, largest=7)) is int


@pytest.mark.parametrize("value", [0, -1, 8, 2.0, "7", True, np.True_, None, [7], 10**400, float("nan")])
def test_anything_else_is_one_short_error(value):
    with pytest.raises(ConfigError, match=r"^n is .*; it must be a positive integer up to 7$") as caught:
        check_integer("n", value, largest=7)
    assert len(str(caught.value)) < 200


def test_a_number_that_python_refuses_to_write_out_is_an_error_too():
    with pytest.raises(ConfigError, match=r"^n is an int too long to show; it must be"):
        check_integer("n", 10**5000, largest=7)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        (-2.5, True),
        (np.float32(1), True),
        (np.int64(3), True),
        (1e38, True),
        (1e39, False),
        (10**400, False),
        (-(10**400), False),
        (float("inf"), False),
        (np.float32("nan"), False),
        (True, False),
        (np.True_, False),
        ("1", False),
        (1j, False),
        (None, False),
    ],
)
def test_is_finite(value, expected):
    assert is_finite(value) is expected


def test_values_are_shown_on_one_short_line():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    for value in ("a\nb", "x" * 10_000, nested, 10**10_000, {"a": ["b"] * 1000}):
        assert "\n" not in shown(value)
        assert len(shown(value)) < 100
    while nested:  # taken apart by hand: freeing it all at once would recurse as well
        nested = nested[0]
