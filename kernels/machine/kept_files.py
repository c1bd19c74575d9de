"""Files that are run when they are read: whole, and written by nobody else.

Compiled code is kept as a pickle with machine code in it. Whoever can write such a file can let this process
do anything, so files and folders that others may write to are not used. Against damage each file begins with
a digest of what follows, which is compared before anything else is looked at. The digest is no protection
against somebody who means it: who can write the file can write its digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from .sources import SOURCES

_MARK = b"numpy-siglip kernel 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


class DamagedFileError(Exception):
    """A file is not what was written; the message says what is wrong."""


def write_whole(file: Path, content: bytes, temporary: Path) -> None:
    """Write a file that appears at once, and that nobody else may write.

    Parameters
    ----------
    file : Path
    content : bytes
    temporary : Path
        Where it is until it is complete.

    Raises
    ------
    OSError

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.kernel", b"code", folder / "a.new")
    >>> [file.name for file in folder.iterdir()]
    ['a.kernel']
    """
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary.write_bytes(_MARK + hashlib.sha256(content).digest() + content)
    temporary.chmod(0o644)
    temporary.replace(file)


def read_whole(file: Path) -> bytes:
    """What `write_whole` was given.

    Raises
    ------
    DamagedFileError
        If the file is not whole.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.kernel"
    >>> write_whole(file, b"code", file.with_suffix(".new"))
    >>> read_whole(file)
    b'code'
    """
    content = file.read_bytes()
    begin = len(_MARK) + _DIGEST_BYTES
    if not content.startswith(_MARK):
        raise DamagedFileError("it has no digest")
    if hashlib.sha256(content[begin:]).digest() != content[len(_MARK) : begin]:
        raise DamagedFileError("its digest is that of another content")
    return content[begin:]


def why_not_to_trust(path: Path, source: Path = SOURCES) -> str:
    """Why a file or folder is not to be used, or nothing if it is.

    Parameters
    ----------
    path : Path
    source : Path
        Of the code that is running, whose owner is trusted as well.

    Raises
    ------
    OSError
        If one of them is not there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> why_not_to_trust(folder, folder)
    ''
    >>> folder.chmod(0o777)
    >>> why_not_to_trust(folder, folder)
    'others may write to it'
    """
    if not hasattr(os, "getuid"):
        return ""
    status = path.stat()
    if status.st_uid not in (os.getuid(), 0, source.stat().st_uid):
        return "it belongs to another user"
    if status.st_mode & stat.S_IWOTH:
        return "others may write to it"
    if status.st_mode & stat.S_IWGRP and not _has_no_other_members(status.st_gid, status.st_uid):
        return "its group may write to it"
    return ""


def _has_no_other_members(group: int, owner: int) -> bool:
    """Whether a group is the owner's own, as many systems make one for every user."""
    if group == 0:
        return True
    try:
        import grp
        import pwd

        members = set(grp.getgrgid(group).gr_mem)
        user = pwd.getpwuid(owner)
    except (ImportError, KeyError):
        return False
    return user.pw_gid == group and members <= {user.pw_name}
