"""Where the source of all operations lies, and its digest, by which compiled code is told from older code."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

SOURCES = next(folder for folder in Path(__file__).parents if folder.name == "kernels")
"""The folder of all operations, however deep in it this file lies."""


@functools.cache
def source_digest() -> str:
    """Digest of every source file of this package, in subfolders too; part of the name of compiled code.

    Examples
    --------
    >>> len(source_digest())
    16
    """
    digest = hashlib.sha256()
    for file in sorted(SOURCES.rglob("*.py")):
        digest.update(str(file.relative_to(SOURCES)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
