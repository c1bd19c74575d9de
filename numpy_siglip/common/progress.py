"""A progress bar, if one is wanted and tqdm is installed, and lines that do not break it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..errors import on_one_line
from .checks import check_flag

Item = TypeVar("Item")


def with_progress(
    items: Iterable[Item], show: bool, *, total: int | None = None, unit: str = "image"
) -> Iterator[Item]:
    """Pass items through, counting them on standard error if ``show`` is set.

    Parameters
    ----------
    items : iterable
    show : bool
        Has no effect where tqdm is not installed. It is what calls have as ``progress``.
    total : int, optional
        Number of items, where ``items`` cannot tell.
    unit : str
        What an item is called.

    Raises
    ------
    ConfigError
        If ``show`` is no truth value.

    Examples
    --------
    >>> list(with_progress([1, 2], show=False))
    [1, 2]
    """
    if check_flag("progress", show):
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            items = tqdm(items, total=total, unit=f" {unit}")
    yield from items


def write_line(text: str) -> None:
    """Write one line to standard error, above the progress bar if there is one."""
    if sys.stderr is None:  # closed by whoever started this process
        return
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None:
        tqdm.tqdm.write(on_one_line(text), file=sys.stderr)
    else:
        print(on_one_line(text), file=sys.stderr)
