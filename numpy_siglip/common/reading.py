"""Reading files that a user supplied: regular ones of a bounded size, and errors that name them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SiglipError


def read_regular_file(path: Path, error: type[SiglipError], *, largest: int) -> bytes:
    """Read the whole of a regular file.

    A pipe would wait for a writer that never comes, and a device may have no end: neither is opened.

    Parameters
    ----------
    path : Path
    error : type of SiglipError
        What to raise if the file cannot be read, is none, or is larger than ``largest``.
    largest : int
        Bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file; a link to nothing raises ``error``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = path.write_bytes(b"{}")
    >>> read_regular_file(path, SiglipError, largest=100)
    b'{}'
    >>> read_regular_file(Path("/dev/zero"), SiglipError, largest=100)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.SiglipError: /dev/zero: is no regular file; name one that is
    """
    try:
        require_regular_file(path, error)
        # Not to wait, should a pipe have taken the place of the file since.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            content = stream.read(largest + 1)
    except FileNotFoundError:
        if path.is_symlink():  # as a download leaves it that was broken off
            raise error(f"{path}: is a link to nothing; fetch the file again") from None
        raise
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror or cause})") from cause
    require_no_pointer(path, error, content[:64])
    if len(content) > largest:
        raise error(
            f"{path}: is longer than {largest} bytes, which no file of this kind is; fetch the file again"
        )
    return content


def require_regular_file(path: Path, error: type[SiglipError]) -> None:
    """Refuse what cannot be read from its beginning to its end: a pipe, a socket or a device.

    Parameters
    ----------
    path : Path
    error : type of SiglipError

    Raises
    ------
    OSError
        If there is nothing at the path, or it may not be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the system itself says that it is a folder
        raise error(f"{path}: is no regular file; name one that is")


def require_no_pointer(path: Path, error: type[SiglipError], begin: bytes) -> None:
    """Refuse what git-lfs leaves in the place of a large file that was not fetched.

    Parameters
    ----------
    path : Path
    error : type of SiglipError
    begin : bytes
        With which the file begins.

    Examples
    --------
    >>> require_no_pointer(Path("a.json"), SiglipError, b"{}")
    >>> require_no_pointer(Path("a.json"), SiglipError, b"version https://git-lfs.github.com/spec/v1")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.SiglipError: a.json: is a pointer of git-lfs and not the file itself; run git lfs pull
    """
    if begin.startswith(b"version https://git-lfs"):
        raise error(f"{path}: is a pointer of git-lfs and not the file itself; run git lfs pull")


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """What libraries written in Rust raise where they are at a loss becomes an error like others.

    Theirs is no ``Exception``, so that whoever expects any exception of a library does not catch it
    (https://pyo3.rs, "PanicException").

    Raises
    ------
    RuntimeError
    """
    try:
        yield
    except BaseException as cause:
        if type(cause).__name__ != "PanicException":
            raise
        raise RuntimeError(f"the library gave up: {cause}") from cause


@contextmanager
def unexpected_as(error: type[SiglipError], source: object, advice: str) -> Iterator[None]:
    """Whatever a reader did not expect of a file becomes an error that names the file.

    Files hold values that nobody thought of, and libraries raise what they do not document. The cause is
    chained, for whoever looks for a fault here. Errors that say what is wrong pass through.

    Parameters
    ----------
    error : type of SiglipError
        What to raise.
    source : object
        The file, as messages name it.
    advice : str
        What to do.

    Raises
    ------
    SiglipError
        Of the class ``error``, or what was raised if it is a `SiglipError` already.

    Examples
    --------
    >>> with unexpected_as(SiglipError, "a.json", "fetch it again"):
    ...     {}["size"]
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.SiglipError: a.json: cannot be made sense of (KeyError: 'size'); fetch it again
    """
    try:
        with panics_as_errors():
            yield
    except SiglipError:
        raise
    except MemoryError as cause:
        raise error(f"{source}: asks for more memory than there is; {advice}") from cause
    except OSError as cause:
        raise error(f"{source}: cannot be read ({cause.strerror or cause})") from cause
    except Exception as cause:
        reason = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        raise error(f"{source}: cannot be made sense of ({reason}); {advice}") from cause
