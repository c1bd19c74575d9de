"""Where the code of kernels is found and kept: first in packs, which are only read, then in a cache folder.

The cache folder is Numba's: ``NUMBA_CACHE_DIR``, or ``__pycache__`` beside the source, or the user's cache
folder. Two things differ from ``njit(cache=True)``. A kernel is made of parts in other files, so the name
of a file of code includes a digest of every source file of this package, and no change of a part can leave
stale code behind. And each signature has a file of its own, so that processes that fill an empty cache at
the same time cannot mix up their entries. Where no folder can be written, kernels are compiled again in
each process, and one line in the log says so.

The name of a file also depends on all else that its code does: the level of instructions, the versions of
Python, Numba and LLVM, and the settings of Numba that change what it makes. Code that does not fit is not
found.

This file is imported when the first kernel is used; it builds on the inside of Numba. See `compilation`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl
from numba.core.compiler import CompileResult
from numba.core.runtime._nrt_python import c_helpers as runtime_functions
from numba.core.serialize import dumps

from .instruction_level import instruction_level
from .kept_files import read_whole, why_not_to_trust, write_whole
from .packs import folders_of_packs, pack_being_made
from .sources import source_digest

_LOG = logging.getLogger("numpy_siglip")
_WARNED: set[str] = set()


class KernelCache:
    """The code of one kernel on disk, as Numba asks for it.

    Parameters
    ----------
    function : callable
        The kernel in Python.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        code = function.__code__
        name = f"{Path(code.co_filename).stem}.{function.__qualname__}-{code.co_firstlineno}"
        version = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        self._name = f"{name}.{version}".replace("<", "").replace(">", "")
        self._function = function
        self.cache_path = _folder_of(function)
        """Where code is written, if there is a place for it"""

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Read compiled code, or None if there is none that is whole and to be trusted.

        What it calls is loaded before: the C functions of Numba's runtime. Numba itself would first load
        everything that compiling takes: a third of the time from the start of a process to its first result,
        and 45 MB.
        """
        for name, address in runtime_functions.items():
            llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
        file_name = self._file_name(signature)
        for folder in self._folders():
            data = _read(folder, file_name)
            if data is None:
                continue
            try:
                return CompileResult._rebuild(target, *data)
            except Exception as damage:  # what was read is whole, and not what Numba keeps
                _LOG.info(
                    "%s: compiled anew, since its file holds something else (%s)",
                    self._function.__name__,
                    damage,
                )
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write compiled code, and remove that of other versions of the source."""
        if self.cache_path is None or result.library.has_dynamic_globals:
            return
        folder = Path(self.cache_path)
        file = folder / self._file_name(signature)
        temporary = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            if folder.exists() and why_not_to_trust(folder):
                return
            write_whole(file, dumps(result._reduce()), temporary)
        except OSError as cause:
            sooner = isinstance(cause, PermissionError) and file.exists()
            if not sooner:  # than another process, whose file Windows keeps while somebody reads it
                _warn_that_nothing_is_kept(str(cause.strerror), folder)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        for old in folder.glob(f"{self._name}.*.kernel"):
            if f".{source_digest()}." not in old.name:
                with contextlib.suppress(OSError):  # gone, or in use
                    old.unlink()

    def flush(self) -> None:
        """Forget nothing: files are replaced one by one."""

    def _folders(self) -> list[Path]:
        own = [] if self.cache_path is None else [Path(self.cache_path)]
        return own if pack_being_made() else [*folders_of_packs(), *own]

    def _file_name(self, signature: Any) -> str:
        key = (self._function.__module__, self._function.__code__.co_code, _closure(self._function))
        level = instruction_level()
        everything = repr((signature, key, level.name, level.cpu, level.added, _compiler()))
        digest = hashlib.sha256(everything.encode()).hexdigest()[:16]
        return f"{self._name}.{source_digest()}.{digest}.kernel"


@functools.cache
def _compiler() -> tuple[Any, ...]:
    """What Numba's code depends on besides its source and the instructions that it may use."""
    versions = (numba.__version__, llvmlite.__version__, llvmlite.binding.get_process_triple())
    settings = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")
    return (*versions, *(str(getattr(config, name, None)) for name in settings))


def _closure(function: Callable[..., Any]) -> bytes:
    """What a function holds of the one in which it was defined."""
    cells: tuple[Any, ...] = function.__closure__ or ()
    return dumps(tuple(cell.cell_contents for cell in cells)) if cells else b""


def _folder_of(function: Callable[..., Any]) -> str | None:
    """The folder in which Numba would keep the code of a function; None if there is no place."""
    pack = pack_being_made()
    if pack is not None:
        return str(pack)
    try:
        folder: str = CompileResultCacheImpl(function).locator.get_cache_path()
    except RuntimeError:  # Numba's "no locator available"
        if not folders_of_packs():
            _warn_that_nothing_is_kept("no folder for them can be written")
        return None
    return folder


def _read(folder: Path, name: str) -> Any:
    """Read compiled code, or None if there is none that is whole and to be trusted."""
    file = folder / name
    try:
        for path in (folder, file):
            reason = why_not_to_trust(path)
            if reason:
                if folder in folders_of_packs():
                    _LOG.warning("%s: compiled code that is not used: %s", path, reason)
                else:
                    _warn_that_nothing_is_kept(reason, folder)
                return None
        return pickle.loads(read_whole(file))
    except OSError:
        return None
    except Exception as damage:  # whatever a damaged pickle raises, it is compiled anew
        _LOG.info("%s: compiled anew, since the file is damaged (%s)", file, damage)
        return None


def _warn_that_nothing_is_kept(reason: str, folder: Path | None = None) -> None:
    """Say each reason once, with the first folder: kernels of each source folder have one of their own."""
    if reason not in _WARNED:
        _WARNED.add(reason)
        _LOG.warning(
            "compiled kernels cannot be kept on disk (%s), so every process compiles them again; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            reason if folder is None else f"{folder}: {reason}",
        )
