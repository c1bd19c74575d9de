"""What a command gives back: its exit status, and results on standard output."""

from __future__ import annotations

import errno
import os
import sys

from ..errors import SiglipError, on_one_line

SUCCESS, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130


class Terminated(KeyboardInterrupt):
    """The system, or a closing terminal, ends the process: it stops as after Ctrl-C, with its own status.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def interrupted_status(interruption: KeyboardInterrupt) -> int:
    """The exit status that says how the command was interrupted.

    Examples
    --------
    >>> interrupted_status(KeyboardInterrupt()), interrupted_status(Terminated(15))
    (130, 143)
    """
    return 128 + interruption.number if isinstance(interruption, Terminated) else INTERRUPTED


def print_result(text: str, *, end: str = "\n") -> None:
    """Write a result to standard output: all of it, at once, in characters that it can show.

    Raises
    ------
    SiglipError
        If it cannot be written.

    Examples
    --------
    >>> print_result("a cat")
    a cat
    """
    if sys.stdout is None:
        raise SiglipError("standard output is closed, and the result goes there")
    text = "\n".join(map(on_one_line, text.split("\n")))  # names from a file may hold control characters
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as cause:
        if os.name == "nt" and cause.errno == errno.EINVAL:  # what a closed pipe is called there
            raise BrokenPipeError(*cause.args) from cause
        drop_output()
        raise SiglipError(f"standard output: {cause.strerror or cause}") from cause


def drop_output() -> None:
    """Keep Python from trying again, when it exits, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
