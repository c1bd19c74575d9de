"""How Numba is made to compile kernels: for a level of instructions, and every part of a kernel only once.

Left to itself, Numba makes machine code of every function that a kernel contains, one by one, and once more
in each function that contains that one, up to the kernel. Nobody calls these: what runs is the kernel, into
which everything else was copied. So parts are taken to LLVM's language here and no further, and are
optimised where they stand in the kernel. This takes half of the time to a first result away.

A kernel is compiled for the processor of `instruction_level`, by a code generator of its own, so that Numba
goes on to compile everything else for the processor that it finds.

This file is imported when the first kernel is compiled; it builds on the inside of Numba. Where that has
changed, `compilation` lets Numba compile in its own way.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator
from typing import Any

from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import Compiler

from .compile_notice import NOTICE
from .instruction_level import instruction_level


class _LevelCodegen(JITCPUCodegen):  # type: ignore[misc]
    """Makes machine code for the instruction level of this process."""

    def _get_host_cpu_name(self) -> str:
        return instruction_level().cpu

    def _get_host_cpu_features(self) -> str:
        return instruction_level().added


@functools.cache
def _codegen() -> _LevelCodegen:
    return _LevelCodegen("numpy_siglip.kernels")


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Functions in LLVM's language, to be linked into kernels: not optimised, and no machine code."""

    def add_llvm_module(self, module: Any) -> None:
        """Take a module as it is."""
        self._final_module.link_in(module)

    def finalize(self) -> None:
        """Link what these functions call."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


class _CompilerForLevel(Compiler):  # type: ignore[misc]
    """Numba's compiler, whose functions go to a library of the kind that is given."""

    kind_of_library: type[JITCodeLibrary]
    is_part: bool

    def __init__(
        self,
        typing_context: Any,
        target_context: Any,
        library: Any,
        arguments: Any,
        return_type: Any,
        flags: Any,
        locals_: Any,
    ) -> None:
        flags = flags.copy()
        flags.no_cfunc_wrapper = True  # which would serve callers in C
        if self.is_part:
            flags.no_compile = flags.no_cpython_wrapper = True
        super().__init__(typing_context, target_context, library, arguments, return_type, flags, locals_)

    def compile_extra(self, function: Any) -> Any:
        """Compile one function for one signature."""
        library = self.kind_of_library(_codegen(), function.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        with _without_garbage_collection():
            return super().compile_extra(function)


class KernelCompiler(_CompilerForLevel):
    """Compiles entry points."""

    kind_of_library = JITCodeLibrary
    is_part = False

    def compile_extra(self, function: Any) -> Any:
        """Compile one kernel, and say so meanwhile."""
        with NOTICE.of(function.__name__):
            return super().compile_extra(function)


class PartCompiler(_CompilerForLevel):
    """Compiles what kernels contain."""

    kind_of_library = _PartLibrary
    is_part = True

    def compile_extra(self, function: Any) -> Any:
        """Compile one function, and let others find it."""
        result = super().compile_extra(function)
        # By this key its code is found. Numba wants one that could be called, which nobody does.
        result = result._replace(entry_point=[].append)
        context = self.state.targetctx
        context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        NOTICE.step()
        return result


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A compiler makes a million objects, among which there is nothing to collect."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
