"""Several threads on one kernel, without a threading layer.

Every kernel cuts its work into numbered tasks. Each thread has a share of them, which it goes through in
order; then it takes what is left in the shares of others. So the caller of a kernel never waits for a helper
to wake up. It only waits for tasks that somebody is already working on: alone it would do them all. And
since a thread has the same share in one operation after the other, it finds in its own cache what it wrote. A
result does not depend on who computed which task.

    while True:
        task = next_task(counters, PHASE, tasks, thread)
        if task < 0:
            break
        ...
        finish_task(counters, PHASE)
    wait_for_tasks(counters, PHASE, tasks)

A kernel may have several phases, with counters of their own. A kernel that calls others one after the other
hands each of them counters of its own, and says in the end how many it has left:

    taken = counters_of_a_kernel(counters[0])
    first(..., counters, thread)
    counters = counters[taken:]
    second(..., counters, thread)
    counters = counters[taken:]
    return counters.size // taken

The caller in Python has to know how many that are. Whether it does is checked at every call.

Numba's own ``prange`` is not used. Its threading layers belong to the whole process and abort it when two
threads call at once (workqueue) or after a fork (GNU OpenMP). The helpers here are ordinary Python
threads that call the same kernel, which releases the GIL: concurrent callers are safe, since whoever
finds the helpers taken works alone; a forked child simply has new ones.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import tuning
from .compilation import instruction, jit_is_disabled, kernel, part
from .forks import start_over_in_children
from .processor import ask_apple

_LOG = logging.getLogger("numpy_siglip")
PHASES = 2
_LINE = 16
"""Counters are this many int64 apart, two cache lines, so that they do not disturb one another."""

_CONTROL_GROUPS = Path("/sys/fs/cgroup")


@instruction
def add_to_counter(counters: np.ndarray, index: int, amount: int) -> int:
    """Add atomically and return what was there before."""
    before = int(counters[index])
    counters[index] += amount
    return before


@instruction
def read_counter(counters: np.ndarray, index: int) -> int:
    """Read what other threads may be writing."""
    return int(counters[index])


@instruction
def pause() -> None:
    """Tell the processor that this is a loop that waits."""


@part
def counters_of_a_kernel(threads: int) -> int:
    """Length of the counters that one kernel takes: for each phase one of what is done and one a share."""
    return _LINE * (1 + PHASES * (1 + threads))


@part
def share_begin(share: int, shares: int, total: int) -> int:
    """Where a share begins, if a total is split as evenly as whole numbers allow."""
    return share * total // shares


@part
def next_task(counters: np.ndarray, phase: int, tasks: int, thread: int) -> int:
    """A number that no thread has taken, from the thread's own share if it has any left; -1 if none has."""
    shares = counters[0]
    done = _LINE * (1 + phase * (1 + shares))
    for turn in range(shares):
        share = (thread + turn) % shares
        begin, end = share_begin(share, shares, tasks), share_begin(share + 1, shares, tasks)
        if begin < end:
            task = begin + add_to_counter(counters, done + (1 + share) * _LINE, 1)
            if task < end:
                return task
    return -1


@part
def finish_task(counters: np.ndarray, phase: int) -> None:
    """Count a task as done; everything written for it is visible to who sees the count."""
    add_to_counter(counters, _LINE * (1 + phase * (1 + counters[0])), 1)


@part
def wait_for_tasks(counters: np.ndarray, phase: int, tasks: int) -> None:
    """Return once this many tasks of a phase are done."""
    done = _LINE * (1 + phase * (1 + counters[0]))
    while read_counter(counters, done) < tasks:
        pause()


@kernel
def _wait_for_bell(bell: np.ndarray, heard: int, spins: int) -> bool:
    """Look for a change of the bell for a while."""
    for _ in range(spins):
        if read_counter(bell, 0) != heard:
            return True
        pause()
    return False


@functools.cache
def _spins_of(seconds: float) -> int:
    """How often one can look for a change of the bell in so long, with a pause as long as it is here."""
    bell, spins = np.zeros(1, np.int64), 1000
    shortest = float("inf")
    for _ in range(4):  # the first compiles, others may be interrupted
        start = time.perf_counter()
        _wait_for_bell(bell, 0, spins)
        shortest = min(shortest, time.perf_counter() - start)
    return max(1, int(spins * seconds / shortest))


def compile_waiting() -> None:
    """Compile what idle helpers run.

    Examples
    --------
    >>> compile_waiting()
    """
    _wait_for_bell(np.zeros(1, np.int64), 0, 0)


def available_threads() -> int:
    """Threads to use by default: the processors this process may use.

    The least of the processor affinity (on a Mac, the number of fast cores), the container's CPU quota and
    ``NUMBA_NUM_THREADS``.

    Examples
    --------
    >>> available_threads() >= 1
    True
    """
    limits = [_processors(), *_quota()]
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) >= 1:
        limits.append(int(wanted))
    return min(limits)


def _processors() -> int:
    """Those that this process may use; on a Mac the fast ones, since all wait for the slowest in the end."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    fast = ask_apple("hw.perflevel0.logicalcpu") if sys.platform == "darwin" else 0
    return fast or os.cpu_count() or 1


def _quota() -> list[int]:
    """CPUs that the control group of this process may use, rounded up; nothing if there is no limit."""
    try:
        if (_CONTROL_GROUPS / "cpu.max").exists():
            allowed, period = (_CONTROL_GROUPS / "cpu.max").read_text().split()
        else:
            allowed = (_CONTROL_GROUPS / "cpu/cpu.cfs_quota_us").read_text()
            period = (_CONTROL_GROUPS / "cpu/cpu.cfs_period_us").read_text()
        return [max(1, -(-int(allowed) // int(period)))] if int(allowed) > 0 else []
    except (OSError, ValueError):  # no control groups, or "max"
        return []


class Team:
    """A caller and its helpers.

    Parameters
    ----------
    threads : int
        How many threads work on a kernel, the caller included.

    Examples
    --------
    >>> from numpy_siglip.kernels.machine.threads import Team
    >>> Team(threads=2).threads
    2
    """

    def __init__(self, threads: int) -> None:
        self.threads = 1 if jit_is_disabled() else threads
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        """Forget all helpers; new ones start at the next call. A forked child begins here."""
        self._using: dict[str, _Call] = {}
        self._helpers: list[_Helper] = []

    def run(
        self, kernel: Callable[..., Any], *operands: Any, kernels: int = 1, keeping: object = None
    ) -> None:
        """Call a kernel from every thread with the same operands and new counters.

        Parameters
        ----------
        kernel : callable
            Takes the operands, ``counters`` and the number of the thread, and returns when all its tasks
            are done.
        *operands
            Arrays and numbers.
        kernels : int
            How many other kernels this one calls one after the other; each takes counters of its own. If they
            are several, it returns for how many more there would be counters.
        keeping : object
            What owns memory that operands refer to by its address alone. It lives as long as a helper is at
            work, also if the caller is interrupted and gone by then.

        Raises
        ------
        RuntimeError
            If it called fewer or more. There are counters for one more, so that one too many does no harm.
        """
        threads = self.threads  # which may become fewer meanwhile
        of_one = _LINE * (1 + PHASES * (1 + threads))
        counters = np.zeros((kernels + 1) * of_one, np.int64)
        counters[::of_one] = threads
        left = self._call(kernel, (*operands, counters), keeping)
        if kernels > 1 and left != 1:
            raise RuntimeError(f"{kernels} kernels were to be called, and {left} are left where 1 should be")

    def _call(self, kernel: Callable[..., Any], operands: tuple[Any, ...], keeping: object) -> Any:
        """What a kernel returns in the calling thread, while helpers call it too if they are free.

        An interrupt may come between any two steps here. So the team is not locked: who uses it is written
        down, and counts only as long as that call is running.
        """
        if self.threads == 1:
            return kernel(*operands, 0)
        call = _Call()
        try:
            other = self._using.setdefault("team", call)
            if other is not call and not other.is_running():  # it was interrupted before it could leave
                self._using["team"] = other = call
            if other is call:
                self._start_helpers()
                for number, helper in enumerate(self._helpers, start=1):
                    helper.call((kernel, (*operands, number), keeping))
            result = kernel(*operands, 0)
            if other is call:
                for helper in self._helpers:
                    helper.job = None
            return result
        finally:
            if self._using.get("team") is call:
                self._using.pop("team", None)

    def _start_helpers(self) -> None:
        """Start those that are missing; if the system has no more threads to give, go on with fewer."""
        while len(self._helpers) < self.threads - 1:
            try:
                self._helpers.append(_Helper())
            except (RuntimeError, MemoryError) as cause:  # "can't start new thread"
                _LOG.warning(
                    "%d of %d threads could be started (%s); the work goes on with them",
                    *(1 + len(self._helpers), self.threads, cause),
                )
                self.threads = 1 + len(self._helpers)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_finalizing():  # helpers have been stopped wherever they were, one perhaps with its door shut
            return
        for helper in self.__dict__.get("_helpers", ()):
            helper.dismiss()

    def __reduce__(self) -> tuple[Any, ...]:
        return Team, (self.threads,)


class _Call:
    """A call of a team, known by its thread and its place there."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._frame = id(sys._getframe(1))

    def is_running(self) -> bool:
        """Whether it has not ended yet, in whatever way."""
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            if id(frame) == self._frame and frame.f_code is Team._call.__code__:
                return True
            frame = frame.f_back
        return False


class _Helper:
    """One more thread. It looks for work while work keeps coming, and sleeps when none does.

    What others do to it are single steps: an interrupt between two of them loses at most a job, which the
    caller does alone, and no later one.
    """

    def __init__(self) -> None:
        self.job: Any = None
        self._bell = np.zeros(1, np.int64)
        self._asleep = False
        self._alarms: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=_Helper._work, args=(self,), name="numpy-siglip", daemon=True).start()

    def call(self, job: Any) -> None:
        """Hand over a job, which is not waited for."""
        self.job = job
        self._bell[0] += 1
        if self._asleep:  # which it says before it looks at the bell for the last time
            self._alarms.put(None)

    def dismiss(self) -> None:
        """Let the thread end."""
        self.call(_END)

    def _work(self) -> None:
        heard, spins = 0, _spins_of(tuning.IDLE_SECONDS)
        while True:
            if not _wait_for_bell(self._bell, heard, spins):
                self._asleep = True
                if int(self._bell[0]) == heard:
                    self._alarms.get()
                self._asleep = False
            heard = int(self._bell[0])
            job = self.job
            if job is _END:
                return
            if job is not None:  # None: the work was done before this thread came to it
                kernel, operands, _ = job
                kernel(*operands)
                del kernel, operands, _
            del job


_END = object()
