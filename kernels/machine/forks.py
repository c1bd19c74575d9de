"""What a forked child must not inherit: locks that threads of its parent hold, and what they were at.

A fork copies the thread that calls it, and no other. A lock that another one held stays shut in the child for
ever, and whatever that thread was changing stays half changed. So whatever has such state starts over in the
child, and a fork waits while code is compiled, for a compiler cannot start over.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol


class StartsOver(Protocol):
    """An object with state that does not survive a fork."""

    def start_over(self) -> None:
        """Forget that state, in a child in which no other thread runs."""


_OBJECTS: weakref.WeakSet[Any] = weakref.WeakSet()
_LOCKS: list[Callable[[], Any]] = []
_HELD: list[Any] = []


def start_over_in_children(what: StartsOver) -> None:
    """Let an object start over in every child that is forked while it lives.

    Examples
    --------
    >>> class Counter:
    ...     def __init__(self):
    ...         self.calls = 3
    ...         start_over_in_children(self)
    ...     def start_over(self):
    ...         self.calls = 0
    >>> counter = Counter()
    >>> child = os.fork()
    >>> if child == 0:
    ...     os._exit(counter.calls)
    >>> os.waitpid(child, 0)[1], counter.calls
    (0, 3)
    """
    _OBJECTS.add(what)


def wait_before_forks(lock: Callable[[], Any]) -> None:
    """Let every fork wait for a lock, and both processes go on with the lock as it was before.

    Parameters
    ----------
    lock : callable
        Gives the lock, or None while there is none. It has to be one that a thread may take twice. Those that
        are named first are taken first.

    Examples
    --------
    >>> import threading
    >>> lock = threading.RLock()
    >>> wait_before_forks(lambda lock=lock: lock)
    """
    _LOCKS.append(lock)


def _before() -> None:
    for lock in [found for found in (give() for give in _LOCKS) if found is not None]:
        lock.acquire()
        _HELD.append(lock)  # of one thread at a time, the one that holds the first of them


def _after() -> None:
    while _HELD:
        _HELD.pop().release()


def _after_in_child() -> None:
    _after()
    for what in list(_OBJECTS):
        what.start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
