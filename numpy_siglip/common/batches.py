"""Cutting what is to be embedded into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from .checks import check_integer

_LARGEST_BATCH = 2**20

Item = TypeVar("Item")


def check_batch_size(batch_size: Any) -> int:
    """The number of images or texts at a time as Python's int.

    Raises
    ------
    ConfigError
        If it is no positive integer.

    Examples
    --------
    >>> check_batch_size(8)
    8
    """
    return check_integer("batch_size", batch_size, largest=_LARGEST_BATCH)


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut a stream into lists of ``size`` items; the last may be shorter.

    Examples
    --------
    >>> list(in_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
