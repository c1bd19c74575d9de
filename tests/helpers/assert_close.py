"""The one way in which tests compare arrays of floats."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_close(
    actual: Any, expected: Any, *, relative: float, name: str = "array", same_dtype: bool = True
) -> None:
    """Fail unless two arrays agree in shape, dtype and, within a tolerance, in every element.

    The tolerance is relative to the largest magnitude of ``expected``, so an ``expected`` of zeros asks
    for zeros. Values that are not finite have to stand at the same places with the same value.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, expected {expected.shape}"
    if same_dtype:
        assert actual.dtype == expected.dtype, f"{name}: dtype {actual.dtype}, expected {expected.dtype}"
    finite = np.isfinite(expected)
    same_nonfinite = np.array_equal(actual[~finite], expected[~finite], equal_nan=True)
    if not same_nonfinite or not np.isfinite(actual[finite]).all():
        where = tuple(int(i) for i in np.argwhere(np.isfinite(actual) != finite)[:1].ravel())
        raise AssertionError(f"{name}: NaN or infinity at other places than expected, first at {where}")
    if not finite.any():
        return
    wide = expected.astype(np.float64)
    difference = np.where(finite, np.abs(np.where(finite, actual, 0) - np.where(finite, wide, 0)), 0)
    magnitude = np.abs(wide[finite]).max()
    if difference.max() > relative * magnitude:
        worst = np.unravel_index(difference.argmax(), difference.shape)
        raise AssertionError(
            f"{name}: {actual[worst]!r} instead of {expected[worst]!r} at {tuple(map(int, worst))}; "
            f"the difference is {difference.max() / (magnitude or 1):.3g} of the largest magnitude "
            f"{magnitude:.6g}, allowed is {relative:g}"
        )
