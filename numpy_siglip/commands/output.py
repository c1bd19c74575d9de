"""What a command gives back: its exit status, and results on standard output."""

from __future__ import annotations

import os
import sys

from ..errors import SiglipError, on_one_line

SUCCESS, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130


def print_result(text: str) -> None:
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
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as cause:
        drop_output()
        raise SiglipError(f"standard output: {cause.strerror or cause}") from cause


def drop_output() -> None:
    """Keep Python from trying again, when it exits, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
