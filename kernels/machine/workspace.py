"""Memory for results, used again when nobody holds it any more.

A large array that is made anew comes from the operating system page by page, and touching each page
for the first time costs more than the arithmetic that fills it. A forward pass makes the same
arrays over and over, so the memory of one that was dropped is handed out again.
"""

from __future__ import annotations

import math
import sys
import threading

import numpy as np

from . import tuning
from .forks import start_over_in_children
from .vector import LANES


def aligned_empty(size: int) -> np.ndarray:
    """Flat float32 memory that starts at a cache line.

    Examples
    --------
    >>> aligned_empty(5).ctypes.data % 64
    0
    """
    memory = np.empty(size + LANES, np.float32)
    start = -(memory.ctypes.data // memory.itemsize) % LANES
    return memory[start : start + size]


class _Buffer:
    """Memory that can be handed out again."""

    __slots__ = ("last_request", "memory", "owner")

    def __init__(self, size: int) -> None:
        self.memory = aligned_empty(size)
        self.owner = self.memory.base
        """What every view of the memory refers to, so that its references tell whether there are any."""
        self.last_request = 0


class Workspace:
    """A source of float32 arrays of any content.

    Examples
    --------
    >>> workspace = Workspace()
    >>> first = workspace.empty(100, 30)
    >>> address = first.ctypes.data
    >>> address % 64
    0
    >>> workspace.empty(100, 30).ctypes.data == address  # the first is still held
    False
    >>> del first
    >>> workspace.empty(3000).ctypes.data == address
    True
    """

    def __init__(self) -> None:
        self.start_over()
        start_over_in_children(self)
        unused = _Buffer(1)
        self._idle = sys.getrefcount(unused.owner)

    def start_over(self) -> None:
        """Forget all buffers: in a forked child, those that other threads held would never be free."""
        self._lock = threading.Lock()
        self._buffers: dict[int, list[_Buffer]] = {}
        self._requests = 0

    def empty(self, *shape: int) -> np.ndarray:
        """Make an uninitialised C-ordered float32 array; it starts at a cache line.

        Parameters
        ----------
        *shape : int
        """
        elements = math.prod(shape)
        grains = elements // tuning.GRAIN + 1
        with self._lock:
            self._requests += 1
            if self._requests % tuning.PATIENCE == 0:
                self._give_back()
            buffers = self._buffers.get(grains)
            if buffers is None:
                buffers = self._buffers[grains] = []
            for buffer in buffers:
                if sys.getrefcount(buffer.owner) == self._idle:
                    break
            else:
                buffer = _Buffer(grains * tuning.GRAIN)
                buffers.append(buffer)
            buffer.last_request = self._requests
            # The view is made before the lock is released: from here on the buffer counts as held.
            return buffer.memory[:elements].reshape(shape)

    def _give_back(self) -> None:
        recent = self._requests - tuning.PATIENCE
        kept = {
            grains: [
                buffer
                for buffer in buffers
                if buffer.last_request >= recent or sys.getrefcount(buffer.owner) != self._idle
            ]
            for grains, buffers in self._buffers.items()
        }
        self._buffers = {grains: buffers for grains, buffers in kept.items() if buffers}
