"""What a series of rounds says: medians, and ratios that a drifting machine cannot spoil.

A shared machine may be twice as slow in one minute as in the next. Contestants therefore take turns within a
round, a ratio is taken of two times of the same round, and what is reported is the median of these ratios,
which is not the ratio of the medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of our time divided by theirs.

    Parameters
    ----------
    ours, theirs : sequence of float
        One time for each round, in the same order.

    Examples
    --------
    >>> median_ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0])  # the machine halted in our third turn
    0.5
    """
    return median(our / their for our, their in zip(ours, theirs, strict=True))


def median_ratio_to_best(ours: Sequence[float], peers: Mapping[str, Sequence[float]]) -> float | None:
    """Median over the rounds of our time divided by that of whoever was fastest in the round.

    Returns
    -------
    float or None
        None if there are no peers.

    Examples
    --------
    >>> median_ratio_to_best([2.0, 2.0, 2.0], {"a": [1.0, 4.0, 4.0], "b": [2.0, 2.0, 1.0]})
    2.0
    """
    if not peers:
        return None
    return median_ratio(ours, [min(times) for times in zip(*peers.values(), strict=True)])


def calls_in_a_turn(seconds: float, turn: float = 0.5, most: int = 5) -> int:
    """How many calls of this length make a turn of about half a second.

    Examples
    --------
    >>> calls_in_a_turn(0.001), calls_in_a_turn(0.17), calls_in_a_turn(8.0)
    (5, 3, 1)
    """
    return max(1, min(most, round(turn / seconds)))


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference between two arrays, relative to the largest magnitude of the expected one.

    Returns
    -------
    float
        Infinite if the shapes differ or either array is not finite everywhere.

    Examples
    --------
    >>> relative_difference(np.array([1.0, 4.0]), np.array([1.5, 5.0]))
    0.2
    >>> relative_difference(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    inf
    """
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    largest = float(np.abs(expected).max())
    # an output of zeros is no output: nothing may agree with it
    return float(np.abs(found - expected).max()) / largest if largest else float("inf")
