"""Writing files so that a reader finds the old ones or the new ones, never half of either."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast


def atomic_write(writers: Mapping[Path, Callable[[BinaryIO], object]]) -> None:
    """Write files that take their names only when every one of them is on disk.

    If one of them cannot take its name, those before it give theirs back.

    Parameters
    ----------
    writers : dict of Path to callable
        Each is called with a binary file open for writing.

    Raises
    ------
    OSError
        Of the system, with the path that was asked for in place of the temporary one.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "out.txt"
    >>> atomic_write({path: lambda stream: stream.write(b"whole")})
    >>> path.read_bytes()
    b'whole'
    """
    temporaries: dict[Path, Path] = {}
    try:
        for path, write in writers.items():
            with _errors_name(path):
                descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
                temporaries[path] = Path(name)
                with os.fdopen(descriptor, "wb") as stream:
                    write(cast(BinaryIO, stream))
                    stream.flush()
                    os.fsync(stream.fileno())
        _take_names(temporaries)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def atomic_write_folder(folder: Path, writers: Mapping[str, Callable[[BinaryIO], object]]) -> list[Path]:
    """Write files into a folder, which is made if it is missing, and removed again if they cannot be written.

    Parameters
    ----------
    folder : Path
    writers : dict of str to callable
        By the names of the files; see `atomic_write`.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OSError
        As `atomic_write`, and if the folder cannot be made.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> [file.name for file in atomic_write_folder(folder, {"a.txt": lambda stream: stream.write(b"a")})]
    ['a.txt']
    """
    made = _make(folder)
    try:
        atomic_write({folder / name: write for name, write in writers.items()})
    except BaseException:
        for empty in made:
            with suppress(OSError):  # somebody else may have put something into it
                empty.rmdir()
        raise
    return [folder / name for name in writers]


def _make(folder: Path) -> list[Path]:
    """Make a folder, and return it and those above it that had to be made, innermost first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = "cannot be made a folder, since a file or a link to nothing is in its way; name another"
        raise NotADirectoryError(errno.ENOTDIR, message, str(folder)) from None
    return missing


def check_writable(path: Path) -> None:
    """Find out whether `atomic_write` will be able to write a file, and leave nothing behind.

    Raises
    ------
    OSError
        If a folder is in the way, or the folder it goes to is missing or cannot be written to.

    Examples
    --------
    >>> check_writable(Path(tempfile.mkdtemp()) / "out.txt")
    """
    with _errors_name(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder of this name is in the way")
        with tempfile.NamedTemporaryFile(prefix=".", suffix=".new", dir=path.parent):
            pass


def _take_names(temporaries: Mapping[Path, Path]) -> None:
    """Rename every file or none: what a file replaces is kept until the last one has its name."""
    kept: dict[Path, Path | None] = {}
    try:
        for path, temporary in temporaries.items():
            with _errors_name(path):
                temporary.chmod(_ordinary_mode(path))
                kept[path] = _keep(path, temporary.with_suffix(".old")) if len(temporaries) > 1 else None
                temporary.replace(path)
    except BaseException:
        if len(temporaries) > 1:
            for path, old in kept.items():
                with suppress(OSError):  # the first error is the one to tell
                    path.unlink() if old is None else old.replace(path)
        raise
    finally:
        for old in kept.values():
            if old is not None:
                old.unlink(missing_ok=True)


def _keep(path: Path, old: Path) -> Path | None:
    """Give the file at a path a second name, which is returned; None if there is no file."""
    if not os.path.lexists(path) or (path.is_dir() and not path.is_symlink()):
        return None
    try:
        os.link(path, old, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system on which a file has one name only
        path.replace(old)
    return old


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Let errors of the system name this path, which the user knows, and not a temporary one."""
    try:
        yield
    except OSError as cause:
        raise OSError(cause.errno, cause.strerror or str(cause), str(path)) from cause


def _ordinary_mode(path: Path) -> int:
    """Permissions of the file that is replaced, or those that any new file would get."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
