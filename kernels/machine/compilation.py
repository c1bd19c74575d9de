"""Functions that Numba compiles when they are first called.

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

How Numba is made to compile is told in `compiler`, and where the code is kept in `kernel_cache`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .forks import wait_before_forks
from .sources import SOURCES

_LOG = logging.getLogger("numpy_siglip")
_LOCK = threading.RLock()


def _lock_of_numba() -> Any:
    module = sys.modules.get("numba.core.compiler_lock")
    return None if module is None else module.global_compiler_lock


wait_before_forks(_lock_of_numba)  # before ours, as whoever compiles takes them
wait_before_forks(lambda: _LOCK)
KERNELS: list[Kernel] = []
"""Every kernel of this package that has been imported, from whatever subfolder."""


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


_COMPILE_ONLY: list[bool] = []


@contextlib.contextmanager
def compiling_only() -> Iterator[None]:
    """Let calls of kernels compile them, and do nothing else. What they would have written holds anything.

    Examples
    --------
    >>> @kernel
    ... def half(x):
    ...     return x / 2
    >>> with compiling_only():
    ...     half(3.0)
    1
    >>> half(3.0)
    1.5
    """
    _COMPILE_ONLY.append(True)
    try:
        yield
    finally:
        _COMPILE_ONLY.pop()


def _options(inline: bool, is_part: bool) -> dict[str, Any]:
    """How Numba is to compile.

    Nothing is allocated in compiled code, so arrays need not be counted, which several threads would do in
    the same cache line for every call of a part.
    """
    options = {"nogil": True, "error_model": "numpy", "_nrt": False, "forceinline": inline}
    try:
        compiler = importlib.import_module(f"{__package__}.compiler")
    except (ImportError, AttributeError):  # Numba changed its inside, which we build on
        return options
    return {**options, "pipeline_class": compiler.PartCompiler if is_part else compiler.KernelCompiler}


class Part:
    """A function that is compiled into the kernels that call it."""

    def __init__(self, function: Callable[..., Any], inline: bool) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._inline = inline
        self._dispatcher: Any = None
        self._contained: Any = None

    @property
    def dispatcher(self) -> Any:
        """Numba's dispatcher for calls from Python, or the function itself where compilation is disabled."""
        if self._dispatcher is None:
            with _LOCK:
                if self._dispatcher is None:
                    self._dispatcher = self._function if jit_is_disabled() else self._compile(is_part=False)
        return self._dispatcher

    @property
    def _numba_type_(self) -> Any:  # Numba asks for this when compiled code names the function
        if self._contained is None:
            with _LOCK:
                if self._contained is None:
                    self._contained = self._compile(is_part=True)
        return self._contained._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled code."""
        return self.dispatcher(*arguments)

    def _compile(self, is_part: bool) -> Any:
        import numba

        return numba.njit(**_options(self._inline and is_part, is_part))(self._function)


class Kernel(Part):
    """An entry point: compiled for the types it is called with and kept on disk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, inline=False)
        if SOURCES in Path(function.__code__.co_filename).parents:
            KERNELS.append(self)

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled code, or only compile it."""
        if not _COMPILE_ONLY:
            return self.dispatcher(*arguments)
        self.dispatcher.compile(tuple(map(self.dispatcher.typeof_pyval, arguments)))
        return 1  # as if it had called as many kernels as were counted; see `Team.run`

    def _compile(self, is_part: bool) -> Any:
        dispatcher = super()._compile(is_part)
        if not is_part:
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


def _open_cache(function: Callable[..., Any]) -> Any:
    """The code of one kernel on disk, or None where this version of Numba keeps it in another way."""
    try:
        return importlib.import_module(f"{__package__}.kernel_cache").KernelCache(function)
    except (ImportError, AttributeError, TypeError) as change:
        _LOG.warning("compiled kernels are not kept on disk, since Numba has changed: %s", change)
        return None


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

            overload(self._function, jit_options=_options(inline=False, is_part=True), strict=False)(choose)
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
