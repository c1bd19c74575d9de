"""A file of weights that is read piece by piece, for as long as it is the file that was opened.

Nothing is mapped into memory: a map shows whatever the file becomes, a mixture of two models if it is written
over, and to touch it beyond the end of a file that was cut short ends the process. What is read here is a
copy, and is compared with the file's length, time and number before and after.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import CheckpointError


class FileIdentity(NamedTuple):
    """By what a file is known again. Who changes bytes in place and puts its time back is not found out."""

    size: int
    modified_ns: int
    inode: int | None
    """None in another process, which may see a copy of the file"""

    def elsewhere(self) -> FileIdentity:
        """As another process may see it, perhaps on another machine."""
        return self._replace(inode=None)

    def is_that_of(self, other: FileIdentity) -> bool:
        """Whether two are those of one file that did not change in between.

        Examples
        --------
        >>> FileIdentity(8, 100, 3).is_that_of(FileIdentity(8, 100, 3))
        True
        >>> FileIdentity(8, 100, 3).is_that_of(FileIdentity(8, 100, 4))
        False
        """
        if None in (self.inode, other.inode):
            return self[:2] == other[:2]
        return self == other


def identity_of(stream: BinaryIO) -> FileIdentity:
    """What an open file is known by."""
    status = os.fstat(stream.fileno())
    return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)


@contextmanager
def opened(file: Path, identity: FileIdentity | None) -> Iterator[BinaryIO]:
    """Open a file to read from it, and be sure afterwards that it was the right one all the time.

    Parameters
    ----------
    file : Path
    identity : FileIdentity, optional
        What it was known by when its header was read; without it, nothing is compared.

    Raises
    ------
    CheckpointError
        If it is not that file any more, or cannot be read.
    """
    try:
        with file.open("rb", buffering=0) as stream:
            _compare(file, stream, identity)
            yield stream
            _compare(file, stream, identity)
    except OSError as cause:
        if identity is not None and not os.path.lexists(file):
            raise _changed(file) from cause
        raise CheckpointError(f"{file}: cannot be read ({cause.strerror or cause})") from cause


def read_bytes(file: Path, stream: BinaryIO, offset: int, size: int) -> np.ndarray:
    """Some neighbouring bytes of an open file, as an array of uint8.

    Raises
    ------
    CheckpointError
        If the file ends before them.
    OSError
        If it cannot be read.
    """
    content = np.empty(size, np.uint8)
    _fill(file, stream, offset, content)
    return content


def read_rows(file: Path, stream: BinaryIO, offset: int, row_bytes: int, indices: np.ndarray) -> np.ndarray:
    """Rows of equal length, as an array of uint8 of shape (..., row_bytes); each is read once.

    Raises
    ------
    CheckpointError, OSError
        As `read_bytes`.
    """
    different, places = np.unique(indices, return_inverse=True)
    rows = np.empty((different.size, row_bytes), np.uint8)
    for row, index in zip(rows, different.tolist(), strict=True):
        _fill(file, stream, offset + index * row_bytes, row)
    return rows[places.reshape(np.shape(indices))]


def _fill(file: Path, stream: BinaryIO, offset: int, content: np.ndarray) -> None:
    target = content.data
    stream.seek(offset)
    filled = 0
    while filled < len(target):
        count = stream.readinto(target[filled:])  # type: ignore[attr-defined]
        if not count:
            raise _changed(file)
        filled += count


def _compare(file: Path, stream: BinaryIO, identity: FileIdentity | None) -> None:
    if identity is not None and not identity_of(stream).is_that_of(identity):
        raise _changed(file)


def _changed(file: Path) -> CheckpointError:
    return CheckpointError(f"{file}: was changed or removed after it was opened; load the model again")
