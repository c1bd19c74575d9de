"""What the processor can do, in LLVM's words, and whether this process may use its matrix unit.

The registers of a matrix unit (AMX, on some x86-64 processors) are large, so Linux gives them only to a
process that asks. The permission holds for all threads and for forked children; a new program has to ask
again. LLVM knows what an x86-64 processor has; of a 64-bit Arm it often knows the name of the model alone, so
there the system is asked.

Linux, Documentation/arch/x86/xstate.rst and arch/arm64/elf_hwcaps.rst; Intel, Software Developer's Manual,
volume 1, chapter 18; Apple, "Determining Instruction Set Characteristics".
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

MATRIX_UNIT = frozenset({"amx-tile", "amx-int8"})
"""Features that need a permission."""

_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18

_CAPABILITIES, _DOT_PRODUCT = 16, 1 << 20
"""The word AT_HWCAP of Linux's auxiliary vector, and its bit HWCAP_ASIMDDP on 64-bit Arm."""


@functools.cache
def architecture() -> str:
    """The architecture that this process runs on, as the first word of LLVM's triples.

    Examples
    --------
    >>> architecture() in ("x86_64", "aarch64")
    True
    """
    import llvmlite.binding

    name: str = llvmlite.binding.get_process_triple().partition("-")[0]
    return "aarch64" if name == "arm64" else name


@functools.cache
def features_of_the_processor() -> frozenset[str]:
    """What the processor has and the system lets this process use.

    Examples
    --------
    >>> len(features_of_the_processor() & {"sse2", "neon"})
    1
    """
    import llvmlite.binding

    try:
        found = {name for name, has in llvmlite.binding.get_host_cpu_features().items() if has}
    except RuntimeError:  # LLVM does not know how to ask this system
        found = set()
    if architecture() == "aarch64":
        found |= {"neon"} | _features_of_arm()
    return frozenset(found if matrix_unit_is_granted() else found - MATRIX_UNIT)


def _features_of_arm() -> set[str]:
    """What LLVM's names of processors do not show."""
    if sys.platform == "darwin":
        has_dot_product = ask_apple("hw.optional.arm.FEAT_DotProd") != 0
    else:
        try:
            ask = ctypes.CDLL(None).getauxval
        except (OSError, TypeError, AttributeError):  # a system without this function
            return set()
        ask.argtypes, ask.restype = [ctypes.c_ulong], ctypes.c_ulong
        has_dot_product = ask(_CAPABILITIES) & _DOT_PRODUCT != 0
    return {"dotprod"} if has_dot_product else set()


def ask_apple(name: str) -> int:
    """What ``sysctl`` of macOS says by this name, a whole number; 0 where it says nothing.

    Examples
    --------
    >>> ask_apple("hw.nothing")
    0
    """
    if sys.platform != "darwin":
        return 0
    value, size = ctypes.c_int64(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int64))
    answer = ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    return value.value if answer == 0 else 0


@functools.cache
def matrix_unit_is_granted() -> bool:
    """Ask for the matrix unit; False where there is none, or the system knows none or refuses.

    Examples
    --------
    >>> matrix_unit_is_granted() in (True, False)
    True
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return False
    try:
        return int(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)) == 0
    except (OSError, AttributeError):  # a C library without it
        return False
