"""The ``numpy-siglip`` command.

What each command takes and does is told in the files of `commands`.
"""

from __future__ import annotations

import argparse
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TextIO

from ..common.progress import write_line
from ..errors import SiglipError, on_one_line
from ..version import __version__
from . import classify, convert, embed, inspect, quantize, validate, visualize, warmup
from .arguments import settle_model
from .output import ERROR, SUCCESS, Terminated, drop_output, interrupted_status

_MEMORY_ADVICE = "embed fewer images at a time (--batch-size), or look for a wrong size in the model's files"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is success; 1 means that some image was left out or that validation found a difference; 2
    is an error, told in one line on standard error (below the usage, if that is what was wrong); 130 is
    an interruption by Ctrl-C, and 128 + n one by the signal n.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Examples
    --------
    >>> main(["inspect", "--published"])  # doctest: +ELLIPSIS
    | checkpoint | family | image | patch | tokens | width | layers | parameters | GFLOP per image |
    ...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        with _ended_in_order(), warnings.catch_warnings():
            # Pillow refuses an image of twice this size by itself, and what it accepts is no news.
            warnings.filterwarnings("ignore", message=r"Image size \(.*decompression bomb")
            warnings.showwarning = _show_warning
            settle_model(options)
            _keep_quiet(getattr(options, "quiet", False))
            status: int = options.run(options)
    except SiglipError as error:
        write_line(f"numpy-siglip: error: {error}")
        return ERROR
    except BrokenPipeError:  # the reader of our output left, as head does; that is no error of ours
        drop_output()
        return SUCCESS
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        write_line(f"numpy-siglip: error: {place}{error.strerror or error}")
        return ERROR
    except MemoryError as error:
        write_line(f"numpy-siglip: error: not enough memory: {error or 'none is left'}; {_MEMORY_ADVICE}")
        return ERROR
    except KeyboardInterrupt as interruption:
        write_line("numpy-siglip: interrupted")
        return interrupted_status(interruption)
    return status


def _keep_quiet(quiet: bool) -> None:
    """Let no line tell that kernels are being compiled, if none is wanted."""
    if quiet:
        from ..kernels.machine.compile_notice import NOTICE

        NOTICE.is_wanted = False


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Keep what is finished when the system, or a closing terminal, ends the process, as after Ctrl-C."""
    replaced = {}
    if threading.current_thread() is threading.main_thread():  # others may not set signals
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
                replaced[number] = signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once is enough, and what is finished is being written
    raise Terminated(number)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell a warning on one line, without the place in the code that it comes from."""
    write_line(f"numpy-siglip: warning: {message}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(on_one_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="numpy-siglip",
        description="SigLIP embeddings of images and texts on the CPU, in NumPy, equal to transformers.",
    )
    parser.add_argument("--version", action="version", version=f"numpy-siglip {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for command in (embed, classify, inspect, validate, visualize, convert, quantize, warmup):
        command.add_to(commands)
    return parser
