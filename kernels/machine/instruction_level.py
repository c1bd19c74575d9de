"""The level of instructions that kernels are compiled for: what their code may use, not a model of processor.

Numba compiles for the model of processor that it finds. Code for one model is of no use to another, even
where both have the same instructions, so kernels are compiled for one of a few levels instead: those on
which the makers of compilers and systems agreed (``x86-64-v3`` and so on), and above them what products of
integers can use. Compiled code that is kept then serves every processor of its level; see `kernel_cache`.

The level of a process is, in this order:

1. what ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` say, in LLVM's words, if one of them is set;
2. the level that ``NUMPY_SIGLIP_LEVEL`` names;
3. the highest one whose instructions the processor has.

System V Application Binary Interface, AMD64 Architecture Processor Supplement, section 3.1.1, for x86-64; Arm
Architecture Reference Manual, FEAT_DotProd, for 64-bit Arm.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

from .processor import MATRIX_UNIT, architecture, features_of_the_processor, matrix_unit_is_granted

VARIABLE = "NUMPY_SIGLIP_LEVEL"
"""The environment variable that names a level."""


class InstructionLevel(NamedTuple):
    """What compiled code may use."""

    name: str
    cpu: str
    """LLVM's name of a processor that has no more"""
    added: str
    """What that processor lacks, as LLVM takes it: ``+this,+that``"""
    features: frozenset[str]
    """All that a processor needs to run such code, in LLVM's words"""


class InstructionLevelError(ValueError):
    """A level that does not exist, or that this processor cannot run."""


def _level(name: str, cpu: str, features: frozenset[str], *added: str) -> InstructionLevel:
    return InstructionLevel(name, cpu, ",".join(f"+{feature}" for feature in added), features | {*added})


_V1 = frozenset({"sse2"})
_V2 = _V1 | {"ssse3", "sse4.1", "sse4.2", "popcnt", "cx16"}
_V3 = _V2 | {"avx", "avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_ARM = frozenset({"neon"})

LEVELS = {
    "x86_64": (
        _level("x86-64", "x86-64", _V1),
        _level("x86-64-v2", "x86-64-v2", _V2),
        _level("x86-64-v3", "x86-64-v3", _V3),
        _level("x86-64-v3-vnni", "x86-64-v3", _V3, "avxvnni"),
        _level("x86-64-v4", "x86-64-v4", _V4),
        _level("x86-64-v4-vnni", "x86-64-v4", _V4, "avx512vnni"),
        _level("x86-64-v4-amx", "x86-64-v4", _V4, "avx512vnni", "amx-tile", "amx-int8"),
    ),
    "aarch64": (
        _level("armv8-a", "generic", _ARM),
        _level("armv8-a-dotprod", "generic", _ARM, "dotprod"),
    ),
}
"""By architecture, from low to high."""

_CHOSEN: list[InstructionLevel] = []


@functools.cache
def instruction_level() -> InstructionLevel:
    """The level that kernels are compiled for in this process.

    Raises
    ------
    InstructionLevelError
        If ``NUMPY_SIGLIP_LEVEL`` names a level that there is not, or one that this processor cannot run.

    Examples
    --------
    >>> instruction_level().features <= features_of_the_processor()
    True
    """
    from numba.core import config

    if _CHOSEN:
        return _CHOSEN[-1]
    if config.CPU_NAME is not None or os.environ.get("NUMBA_CPU_FEATURES") is not None:
        return _level_of_numba()
    has = features_of_the_processor()
    wanted = os.environ.get(VARIABLE)
    if wanted:
        level = level_of_name(wanted)
        if not level.features <= has:
            missing = ", ".join(sorted(level.features - has))
            raise InstructionLevelError(f"{VARIABLE} is {wanted}, but this processor has no {missing}")
        return level
    possible = [level for level in LEVELS.get(architecture(), ()) if level.features <= has]
    return possible[-1] if possible else _level_of_numba()


def instruction_features() -> frozenset[str]:
    """What compiled code may use, in LLVM's words, and the name of the architecture.

    Examples
    --------
    >>> len(instruction_features() & {"x86_64", "aarch64"})
    1
    """
    return instruction_level().features | {architecture()}


def level_of_name(name: str) -> InstructionLevel:
    """One of the levels of this architecture.

    Parameters
    ----------
    name : str

    Raises
    ------
    InstructionLevelError
        If there is none of this name.

    Examples
    --------
    >>> level_of_name(LEVELS[architecture()][0].name).added
    ''
    """
    levels = LEVELS.get(architecture(), ())
    for level in levels:
        if level.name == name:
            return level
    raise InstructionLevelError(
        f"there is no level {name!r} on this architecture; there are "
        + ", ".join(level.name for level in levels)
    )


@contextlib.contextmanager
def compiling_for(level: InstructionLevel) -> Iterator[None]:
    """Compile for a level, whether this processor can run it or not.

    For a process that has compiled nothing before and runs nothing after: what was once compiled is used.

    Parameters
    ----------
    level : InstructionLevel

    Examples
    --------
    >>> lowest = LEVELS[architecture()][0]
    >>> with compiling_for(lowest):
    ...     instruction_level() == lowest
    True
    """
    _CHOSEN.append(level)
    instruction_level.cache_clear()
    try:
        yield
    finally:
        _CHOSEN.pop()
        instruction_level.cache_clear()


def _level_of_numba() -> InstructionLevel:
    """What Numba itself would compile for."""
    from numba.core.registry import cpu_target

    _, cpu, flags = cpu_target.target_context.codegen().magic_tuple()
    features = frozenset(flag[1:] for flag in flags.split(",") if flag.startswith("+"))
    if not matrix_unit_is_granted():
        features -= MATRIX_UNIT
    return InstructionLevel(f"{cpu} with {flags}", cpu, flags, features)
