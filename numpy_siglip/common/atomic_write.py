"""Writing files so that a reader finds the old ones or the new ones, never half of either.

Files are written into a hidden folder beside their places, and take their names when all of them are
complete. If the process is killed before that, the next one that writes there removes the hidden folder; if
it is killed while names are taken, the next one gives the rest of them theirs. Where several files belong
together, all but the first give up their names before the first takes its own: what a reader then finds may
be incomplete, and is never a mixture.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_PREFIX = f".numpy-siglip-{{}}-{_HOST}-"
_STAGING = re.compile(rf"\.numpy-siglip-(\d+)-{_HOST}-.+\.(new|ready)")
_REPLACED = "replaced"
"""Folder inside the hidden one for what gives up its name."""

_OWN: set[Path] = set()
"""The hidden folders of this process, without their suffixes."""

Writers = Mapping[Path, Callable[[BinaryIO], object]]


def atomic_write(writers: Writers) -> None:
    """Write files that take their names only when every one of them is on disk.

    If one of them cannot take its name, those before it give theirs back. A link is written through: what it
    leads to is replaced, and the link stays.

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
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "out.txt"
    >>> atomic_write({path: lambda stream: stream.write(b"whole")})
    >>> path.read_bytes()
    b'whole'
    """
    stagings: dict[Path, Path] = {}
    asked = {Path(os.path.realpath(path)): path for path in writers}
    try:
        for target, write in zip(asked, writers.values(), strict=True):
            with _errors_name(asked[target]):
                if target.parent not in stagings:
                    sweep(target.parent)
                    stagings[target.parent] = _make_staging(target.parent)
                _write(stagings[target.parent] / target.name, write, _mode_of(target))
        for folder, staging in stagings.items():
            stagings[folder] = staging.rename(staging.with_suffix(".ready"))
        _take_names({target: stagings[target.parent] / target.name for target in asked}, asked)
    finally:
        for staging in stagings.values():
            shutil.rmtree(staging, ignore_errors=True)


def atomic_write_folder(folder: Path, writers: Mapping[str, Callable[[BinaryIO], object]]) -> list[Path]:
    """Write files into a folder.

    A folder that is missing or empty is made beside its place, and appears with all of its files at once;
    into one that holds something the files are written as `atomic_write` does it.

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
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> [file.name for file in atomic_write_folder(folder, {"a.txt": lambda stream: stream.write(b"a")})]
    ['a.txt']
    """
    target = Path(os.path.realpath(folder))
    if target.is_dir() and any(target.iterdir()):
        atomic_write({folder / name: write for name, write in writers.items()})
    else:
        _write_new_folder(folder, target, writers)
    return [folder / name for name in writers]


def _write_new_folder(
    folder: Path, target: Path, writers: Mapping[str, Callable[[BinaryIO], object]]
) -> None:
    made = _make(target.parent, folder)
    staging = None
    try:
        with _errors_name(folder):
            if os.path.lexists(target) and not target.is_dir():
                raise _not_a_folder(folder)
            sweep(target.parent)
            staging = _make_staging(target.parent)
            staging.chmod(_mode_of(target) or _ordinary_mode(0o777))
        for name, write in writers.items():
            with _errors_name(folder / name):
                _write(staging / name, write, None)
        with suppress(OSError):  # a system that renames onto no folder, be it empty
            target.rmdir()
        try:
            with _errors_name(folder):
                staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # another process was sooner: its files are replaced as those of any folder are
            shutil.rmtree(staging, ignore_errors=True)
            atomic_write({folder / name: write for name, write in writers.items()})
    except BaseException:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for empty in made:
            with suppress(OSError):  # somebody else may have put something into it
                empty.rmdir()
        raise


def _make(parent: Path, folder: Path) -> list[Path]:
    """Make the folder above, and return it and those above it that had to be made, innermost first."""
    missing = [place for place in (parent, *parent.parents) if not place.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _not_a_folder(folder) from None
    return missing


def _not_a_folder(folder: Path) -> NotADirectoryError:
    message = "cannot be made a folder, since a file or a link to nothing is in its way; name another"
    return NotADirectoryError(errno.ENOTDIR, message, str(folder))


def check_writable(path: Path) -> None:
    """Find out whether `atomic_write` will be able to write a file, and leave nothing behind.

    What a killed process left there is put in order first.

    Raises
    ------
    OSError
        If a folder is in the way, or the folder it goes to is missing or cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> check_writable(Path(tempfile.mkdtemp()) / "out.txt")
    """
    target = Path(os.path.realpath(path))
    with _errors_name(path):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder of this name is in the way")
        sweep(target.parent)
        staging = _make_staging(target.parent)
        try:
            (staging / target.name).touch()
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Put in order what processes left in a folder that were killed while they wrote.

    Incomplete files are removed, complete ones get their names unless somebody has written such a file
    since. What belongs to a process that lives, or that ran on another machine, is left alone.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    for entry in list(os.scandir(folder)):
        found = _STAGING.fullmatch(entry.name)
        staging = Path(entry.path)
        if found is None or _is_in_use(staging, int(found[1])):
            continue
        if found[2] == "ready":
            with _lock(folder):
                for file in [file for file in staging.iterdir() if file.is_file()]:
                    target = folder / file.name
                    if not target.exists() or target.stat().st_mtime_ns <= file.stat().st_mtime_ns:
                        with suppress(OSError):  # it is not ours to say what is in its way
                            file.replace(target)
        shutil.rmtree(staging, ignore_errors=True)


def _is_in_use(staging: Path, process: int) -> bool:
    if process == os.getpid():  # in a container, processes one after the other have the same number
        return staging.with_suffix("") in _OWN
    return process_lives(process)


def process_lives(process: int) -> bool:
    """Whether there is a process of this number, of whatever user.

    Examples
    --------
    >>> process_lives(os.getpid())
    True
    """
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        import ctypes

        limited_information, access_denied = 0x1000, 5
        handle = ctypes.windll.kernel32.OpenProcess(limited_information, False, process)
        if not handle:
            return bool(ctypes.windll.kernel32.GetLastError() == access_denied)
        ctypes.windll.kernel32.CloseHandle(handle)
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _make_staging(folder: Path) -> Path:
    """A hidden folder, whose name says whose it is."""
    staging = folder / f"{_PREFIX.format(os.getpid())}{secrets.token_hex(4)}.new"
    _OWN.add(staging.with_suffix(""))  # before it is there: other threads sweep what belongs to nobody
    staging.mkdir(mode=0o700)
    return staging


def _write(file: Path, write: Callable[[BinaryIO], object], mode: int | None) -> None:
    with file.open("xb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    if mode is not None:
        file.chmod(mode)


def _take_names(staged: Mapping[Path, Path], asked: Mapping[Path, Path]) -> None:
    """Rename every file or none: what a file replaces is kept until the last one has its name."""
    kept: dict[Path, Path | None] = {}
    taken: list[Path] = []
    first, *others = staged
    with ExitStack() as locks:
        for folder in sorted({target.parent for target in staged}):
            locks.enter_context(_lock(folder))
        try:
            for target in (*others, first):
                with _errors_name(asked[target]):
                    if target.is_dir():
                        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                    kept[target] = _keep(target, staged[target], by_link=target == first)
            for target in staged:
                with _errors_name(asked[target]):
                    staged[target].replace(target)
                    taken.append(target)
        except BaseException:
            for target, old in kept.items():
                with suppress(OSError):  # the first error is the one to tell
                    if old is not None:
                        old.replace(target)
                    elif target in taken:
                        target.unlink()
            raise


def _keep(target: Path, staged: Path, *, by_link: bool) -> Path | None:
    """Put a file that is to be replaced aside, and say where; None if there is none.

    By a link it keeps its name too until it is replaced, where a file system allows a file two names.
    """
    if not target.exists():
        return None
    aside = staged.parent / _REPLACED
    aside.mkdir(exist_ok=True)
    old = aside / target.name
    if by_link:
        with suppress(OSError, NotImplementedError):
            os.link(target, old)
            return old
    target.replace(old)
    return old


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time take names in a folder, where the system has such locks."""
    with ExitStack() as closing:
        with suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            closing.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Let errors of the system name this path, which the user knows, and not a temporary one."""
    try:
        yield
    except OSError as cause:
        raise OSError(cause.errno, cause.strerror or str(cause), str(path)) from cause


def _mode_of(path: Path) -> int | None:
    """Permissions of what is replaced; None if there is nothing, and the system's own are right."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None


def _ordinary_mode(most: int) -> int:
    """Permissions that anything new would get."""
    mask = os.umask(0)
    os.umask(mask)
    return most & ~mask
