"""What the processor can do: its features as the compiler sees them, and its matrix unit, if it has one.

The registers of a matrix unit (AMX, on some x86-64 processors) are large, so Linux gives them only to a
process that asks. The permission holds for all threads and for forked children; a new program has to ask
again.

Linux, Documentation/arch/x86/xstate.rst; Intel, Software Developer's Manual, volume 1, chapter 18.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18


@functools.cache
def processor_features() -> frozenset[str]:
    """What the processor that Numba compiles for can do, in LLVM's words, and the name of its architecture.

    Examples
    --------
    >>> architectures = {"x86_64", "aarch64", "arm64"}
    >>> len(architectures & processor_features())
    1
    """
    from numba.core.registry import cpu_target

    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    enabled = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    return frozenset(enabled | {triple.partition("-")[0]})


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
