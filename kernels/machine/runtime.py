"""What compiled operations share: a team of threads and memory for results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import tuning
from .threads import Team, available_threads
from .workspace import Workspace

NOTHING = np.empty(0, np.float32)
"""Stands for an operand that is not there."""


class Runtime:
    """Threads to work with and memory to write to.

    Parameters
    ----------
    threads : int, optional
        Threads of one call, by default `available_threads`.

    Raises
    ------
    ValueError
        If the number of threads is not a positive integer.

    Examples
    --------
    >>> Runtime(threads=1).empty(2, 3).shape
    (2, 3)
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is None:
            threads = available_threads()
        if (
            isinstance(threads, bool)
            or not isinstance(threads, int)
            or not 1 <= threads <= tuning.MOST_THREADS
        ):
            raise ValueError(
                f"threads is {threads!r}; it must be a positive integer up to {tuning.MOST_THREADS}"
            )
        self.team = Team(threads)
        self.workspace = Workspace()

    def __reduce__(self) -> tuple[Any, ...]:
        return Runtime, (self.threads,)  # as many threads elsewhere, and memory of their own

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return self.team.threads

    def empty(self, *shape: int) -> np.ndarray:
        """Make an uninitialised float32 array; see `Workspace.empty`."""
        return self.workspace.empty(*shape)

    def run(
        self, kernel: Callable[..., Any], *operands: Any, kernels: int = 1, keeping: object = None
    ) -> None:
        """Run a kernel on all threads; see `Team.run`."""
        self.team.run(kernel, *operands, kernels=kernels, keeping=keeping)


def flat(x: np.ndarray) -> np.ndarray:
    """An operand as compiled code takes it: float32, C order, one axis, writable.

    Compiled code is specialised for what it is called with, and a read-only array counts as another
    type. Rather than to compile everything twice, such an array is copied.

    Examples
    --------
    >>> import numpy as np
    >>> flat(np.ones((2, 3))).shape
    (6,)
    """
    flags = x.flags
    if x.dtype != np.float32 or not (flags.c_contiguous and flags.writeable):
        x = np.require(x, np.float32, ["C", "W"])
    return x.reshape(-1)
