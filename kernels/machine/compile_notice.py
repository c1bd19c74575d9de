"""One line on the terminal while kernels are compiled, so that nobody wonders what the process is at.

    compiling encode for x86-64-v3, once on this machine (about 10 s for a first embedding): 3.4 s

It is written over with every function that has been compiled, and wiped out in the end. Where standard
error is no terminal, the log says it once, at the level INFO.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from .instruction_level import instruction_level

_LOG = logging.getLogger("numpy_siglip")


class _Notice:
    """What is being compiled, and since when."""

    def __init__(self) -> None:
        self.is_wanted = True
        self._kernel: str | None = None
        self._begin = self._spent = 0.0
        self._length = 0
        self._was_logged = False

    @contextlib.contextmanager
    def of(self, kernel: str) -> Iterator[None]:
        """Show the line while one kernel is compiled; Numba compiles one at a time."""
        self._kernel = kernel
        self._begin = time.perf_counter() - self._spent
        self.step()
        try:
            yield
        finally:
            self._kernel = None
            self._spent = time.perf_counter() - self._begin
            self._show("")

    def step(self) -> None:
        """Say how long it has taken so far, if a kernel is being compiled."""
        if self._kernel is None:
            return
        text = f"compiling {self._kernel} for {instruction_level().name}"
        if not self._was_logged and not _is_terminal():
            self._was_logged = True
            _LOG.info("%s; the code of kernels is kept, so that this is done once", text)
        seconds = time.perf_counter() - self._begin
        self._show(f"{text}, once on this machine (about 10 s for a first embedding): {seconds:.1f} s")

    def _show(self, text: str) -> None:
        if not self.is_wanted or not _is_terminal() or not (text or self._length):
            return
        with contextlib.suppress(OSError, ValueError):  # a terminal that has gone
            sys.stderr.write("\r" + text.ljust(self._length) + ("" if text else "\r"))
            sys.stderr.flush()
        self._length = len(text)


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it is closed
        return False


NOTICE = _Notice()
"""The line of this process."""
