"""Functions that Numba compiles when they are first called, and what keeps their code on disk.

Five decorators stand above the compiled half of an operation:

    @kernel        an entry point: called from Python, releases the GIL, kept on disk
    @part          a function whose code is put in the place of every call of it in a kernel
    @routine       a longer function that kernels call
    @instruction   a function that becomes machine instructions of our own choice; what it does is
                   its Python body, how it is emitted is a function of the same name in the module
                   beside it: instructions of `vector` are emitted by `vector_emission`
    @dispatch      a function that says which of several functions a call of it is a call of, from
                   the types of the arguments; so one text of a kernel serves several types

All can be imported and decorated without Numba, which is loaded by the first call of a kernel.
With ``NUMBA_DISABLE_JIT=1`` the Python bodies run as they stand.

Compiled code goes where Numba keeps its own: ``NUMBA_CACHE_DIR``, or ``__pycache__`` beside the
source, or the user's cache folder. Two things differ from ``njit(cache=True)``. A kernel is made
of parts in other files, so the name under which its code is kept includes a digest of every source file
of this package, and no change of a part can leave stale code behind. And each signature has a file of its
own, so that processes that fill an empty cache at the same time cannot mix up their entries. Where no
folder can be written, kernels are compiled again in each process, and one line in the log says so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .forks import wait_before_forks
from .kept_files import read_whole, why_not_to_trust, write_whole
from .processor import matrix_unit_is_granted

_LOG = logging.getLogger("numpy_siglip")
_LOCK = threading.RLock()


def _lock_of_numba() -> Any:
    module = sys.modules.get("numba.core.compiler_lock")
    return None if module is None else module.global_compiler_lock


wait_before_forks(_lock_of_numba)  # before ours, as whoever compiles takes them
wait_before_forks(lambda: _LOCK)
KERNELS: list[Kernel] = []
"""Every kernel of this package that has been imported, from whatever subfolder."""

SOURCES = next(folder for folder in Path(__file__).parents if folder.name == "kernels")
"""The folder of all operations, however deep in it this file lies."""


def jit_is_disabled() -> bool:
    """Whether ``NUMBA_DISABLE_JIT`` asks for plain Python.

    Examples
    --------
    >>> jit_is_disabled()
    False
    """
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def require_numba() -> None:
    """Find out now whether Numba is there, and not at the first call of a kernel.

    Raises
    ------
    ImportError
        If it is not installed.

    Examples
    --------
    >>> require_numba()
    """
    importlib.import_module("numba")


def _options(inline: bool) -> dict[str, Any]:
    """How Numba is to compile.

    Nothing is allocated in compiled code, so arrays need not be counted, which several threads would do in
    the same cache line for every call of a part.
    """
    return {"nogil": True, "error_model": "numpy", "_nrt": False, "forceinline": inline}


class Part:
    """A function that is compiled into the kernels that call it."""

    def __init__(self, function: Callable[..., Any], inline: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._inline = inline
        self._dispatcher: Any = None

    @property
    def dispatcher(self) -> Any:
        """Numba's dispatcher, or the function itself where compilation is disabled."""
        if self._dispatcher is None:
            with _LOCK:
                if self._dispatcher is None:
                    self._dispatcher = self._function if jit_is_disabled() else self._compile()
        return self._dispatcher

    @property
    def _numba_type_(self) -> Any:  # Numba asks for this when compiled code names the function
        return self.dispatcher._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled code."""
        return self.dispatcher(*arguments)

    def _compile(self) -> Any:
        import numba

        return numba.njit(**_options(self._inline))(self._function)


class Kernel(Part):
    """An entry point: compiled for the types it is called with and kept on disk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, inline=False)
        if SOURCES in Path(function.__code__.co_filename).parents:
            KERNELS.append(self)

    def _compile(self) -> Any:
        dispatcher = super()._compile()
        cache = _open_cache(self._function)
        if cache is not None:
            dispatcher._cache = cache
        return dispatcher

    def cache_statistics(self) -> tuple[int, int]:
        """How many signatures were read from disk, and how many had to be compiled, in this process."""
        if self._dispatcher is None or jit_is_disabled():
            return 0, 0
        read = sum(self._dispatcher.stats.cache_hits.values())
        return read, len(self._dispatcher.signatures) - read

    def cache_folder(self) -> str | None:
        """Where the code is kept, if it has been used and there is a place for it."""
        if self._dispatcher is None or jit_is_disabled():
            return None
        folder: str | None = self._dispatcher._cache.cache_path
        return folder


class Instruction:
    """A function whose machine code we emit ourselves."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._type: Any = None

    @property
    def _numba_type_(self) -> Any:
        if self._type is None:
            from numba.core.registry import cpu_target

            emission = importlib.import_module(f"{self._function.__module__}_emission")
            context = cpu_target.typing_context
            context.refresh()  # to let it know what the emission has defined
            self._type = context.resolve_value_type(getattr(emission, self._function.__name__))
        return self._type

    def __call__(self, *arguments: Any) -> Any:
        """Do in NumPy what the instruction does."""
        return self._function(*arguments)


class Dispatch:
    """A function whose calls become calls of another, chosen when the caller is compiled."""

    def __init__(self, function: Callable[..., Part]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._type: Any = None

    @property
    def _numba_type_(self) -> Any:
        if self._type is None:
            from numba.core import types
            from numba.core.registry import cpu_target
            from numba.extending import overload

            def choose(*kinds: Any) -> Callable[..., Any]:
                return self._function(*[None if kind is types.none else kind for kind in kinds])._function

            overload(self._function, jit_options=_options(inline=False), strict=False)(choose)
            context = cpu_target.typing_context
            context.refresh()
            self._type = context.resolve_value_type(self._function)
        return self._type

    def __call__(self, *arguments: Any) -> Any:
        """Choose and call."""
        return self._function(*arguments)(*arguments)


def kernel(function: Callable[..., Any]) -> Kernel:
    """Make a function an entry point of compiled code.

    Examples
    --------
    >>> import numpy as np
    >>> @kernel
    ... def total(x):
    ...     s = 0.0
    ...     for value in x:
    ...         s += value
    ...     return s
    >>> total(np.ones(3))
    3.0
    """
    return Kernel(function)


def part(function: Callable[..., Any]) -> Part:
    """Let kernels contain a function.

    Examples
    --------
    >>> @part
    ... def twice(x):
    ...     return x + x
    >>> @kernel
    ... def four_times(x):
    ...     return twice(twice(x))
    >>> four_times(1.5)
    6.0
    """
    return Part(function, inline=True)


def routine(function: Callable[..., Any]) -> Part:
    """Let kernels call a function.

    Examples
    --------
    >>> @routine
    ... def halved(x):
    ...     return x / 2
    >>> halved(3.0)
    1.5
    """
    return Part(function, inline=False)


def dispatch(function: Callable[..., Part]) -> Dispatch:
    """Let the types of its arguments say which routine a call is a call of.

    The function takes what the routines take, and returns one of them. All that it may ask of an argument is
    whether it is None: when it is asked, arguments have types and no values yet.

    Examples
    --------
    >>> import numpy as np
    >>> @routine
    ... def plain_sum(x, weights):
    ...     return x[0] + x[1]
    >>> @routine
    ... def weighted_sum(x, weights):
    ...     return x[0] * weights[0] + x[1] * weights[1]
    >>> @dispatch
    ... def any_sum(x, weights):
    ...     return plain_sum if weights is None else weighted_sum
    >>> @kernel
    ... def half_of_sum(x, weights):
    ...     return any_sum(x, weights) / 2
    >>> x = np.array([1.0, 2.0])
    >>> half_of_sum(x, None), half_of_sum(x, x)
    (1.5, 2.5)
    """
    return Dispatch(function)


def instruction(function: Callable[..., Any]) -> Instruction:
    """Let a function of the same name, in the module whose name adds ``_emission``, provide the machine code.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.vector import fma, fill
    >>> fma(fill(2), fill(3), fill(4))[:3].tolist()  # in plain Python its body runs
    [10.0, 10.0, 10.0]
    """
    return Instruction(function)


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


_WARNED: set[str] = set()


def _warn_that_nothing_is_kept(reason: str, folder: Path | None = None) -> None:
    """Say each reason once, with the first folder: kernels of each source folder have one of their own."""
    if reason not in _WARNED:
        _WARNED.add(reason)
        _LOG.warning(
            "compiled kernels cannot be kept on disk (%s), so every process compiles them again; "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            reason if folder is None else f"{folder}: {reason}",
        )


def _open_cache(function: Callable[..., Any]) -> Any:
    """The cache of one kernel, or None where there is no place for it."""
    try:
        return _cache_class()(function)
    except RuntimeError:  # Numba's "no locator available"
        _warn_that_nothing_is_kept("no folder for them can be written")
    except (ImportError, AttributeError, TypeError):  # Numba changed its inside, which we build on
        _warn_that_nothing_is_kept("this version of Numba keeps its cache in another way")
    return None


@functools.cache
def _cache_class() -> Any:
    import llvmlite.binding
    import numba
    from numba.core.caching import FunctionCache
    from numba.core.runtime._nrt_python import c_helpers as runtime_functions
    from numba.core.serialize import dumps

    class KernelFiles:
        """Files of compiled code, one for each signature and processor."""

        def __init__(self, folder: str, name: str) -> None:
            self._folder = Path(folder)
            self._name = name

        def _file(self, key: Any) -> Path:
            # The last is no feature of the processor: the system may refuse what the processor has.
            versions = (numba.__version__, llvmlite.__version__, matrix_unit_is_granted())
            signature = hashlib.sha256(repr((key, versions)).encode()).hexdigest()[:16]
            return self._folder / f"{self._name}.{source_digest()}.{signature}.kernel"

        def load(self, key: Any) -> Any:
            """Read compiled code, or None if there is none that is whole and to be trusted."""
            file = self._file(key)
            try:
                for path in (self._folder, file):
                    reason = why_not_to_trust(path, SOURCES)
                    if reason:
                        _warn_that_nothing_is_kept(reason, self._folder)
                        return None
                return pickle.loads(read_whole(file))
            except OSError:
                return None
            except Exception as damage:  # whatever a damaged pickle raises, it is compiled anew
                _LOG.info("%s: compiled anew, since the file is damaged (%s)", file, damage)
                return None

        def save(self, key: Any, data: Any) -> None:
            """Write compiled code, and remove that of other versions of the source."""
            file = self._file(key)
            temporary = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
            try:
                if self._folder.exists() and why_not_to_trust(self._folder, SOURCES):
                    return
                write_whole(file, dumps(data), temporary)
                for old in self._folder.glob(f"{self._name}.*.kernel"):
                    if f".{source_digest()}." not in old.name:
                        old.unlink(missing_ok=True)
            except OSError as cause:
                temporary.unlink(missing_ok=True)
                _warn_that_nothing_is_kept(str(cause.strerror), self._folder)

        def flush(self) -> None:
            """Forget nothing: entries are replaced one by one."""

    class KernelCache(FunctionCache):
        """Numba's cache of one function, with files of our own."""

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            self._name = function.__name__
            self._cache_file = KernelFiles(self._cache_path, self._impl.filename_base)

        def load_overload(self, signature: Any, target: Any) -> Any:
            """Read compiled code, having loaded only what it calls: the C functions of Numba's runtime.

            Numba itself first loads everything that compiling takes: a third of the time from the start of a
            process to its first result, and 45 MB.
            """
            for name, address in runtime_functions.items():
                llvmlite.binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
            try:
                return self._load_overload(signature, target)
            except Exception as damage:  # what was read is whole, and not what Numba keeps
                _LOG.info("%s: compiled anew, since its file holds something else (%s)", self._name, damage)
                return None

    return KernelCache
