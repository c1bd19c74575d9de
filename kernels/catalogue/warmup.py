"""Compile every kernel now, so that no later call has to wait for it.

Kernels are compiled for types and not for shapes, so one small call of every operation is enough. Worth
doing when an image of a container is built, or before many processes start at once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..layers.encoder_layer import encoder_layer
from ..machine.compilation import KERNELS, compiling_only
from ..machine.instruction_level import compiling_for, level_of_name
from ..machine.packs import making_pack
from ..machine.runtime import Runtime
from ..machine.threads import compile_waiting
from ..tiles.packing import pack_linear
from .layers import quantized_encoder_layer_operands
from .operation import Op
from .registry import OPS
from .sampling import Sampler


class Warmup(NamedTuple):
    """What a warm-up did."""

    read: int
    """Kernels that were found on disk."""
    compiled: int
    """Kernels that were compiled."""
    kept_in: str | None
    """Folder in which, or in whose folders, compiled kernels are kept; None if there is no place for them."""
    seconds: float


def warm_up(runtime: Runtime, watch: Callable[[Sequence[Op]], Iterable[Op]] = iter) -> Warmup:
    """Call every operation once.

    Parameters
    ----------
    runtime : Runtime
    watch : callable
        Is given the operations, and gives them back one by one, such as a progress bar.

    Examples
    --------
    >>> result = warm_up(Runtime(threads=2))
    >>> result.read + result.compiled > 10
    True
    """
    start = time.perf_counter()
    draw = Sampler(seed=0, runtime=runtime)
    for op in watch(OPS):
        op.compiled(runtime, **op.operands(draw, **op.check_shapes[-1]))
    layer = {
        "batch": 1,
        "tokens": 2,
        "width": 4,
        "intermediate_size": 5,
        "num_heads": 2,
        "activation": "relu",
    }
    encoder_layer(runtime, **quantized_encoder_layer_operands(draw, **layer))
    pack_linear(runtime, np.ones((2, 2), np.float32))
    compile_waiting()
    statistics = [kernel.cache_statistics() for kernel in KERNELS]
    folders = [folder for kernel in KERNELS if (folder := kernel.cache_folder())]
    return Warmup(
        read=sum(read for read, _ in statistics),
        compiled=sum(compiled for _, compiled in statistics),
        kept_in=os.path.commonpath(folders) if folders else None,
        seconds=time.perf_counter() - start,
    )


def make_pack(
    folder: Path, level: str | None, watch: Callable[[Sequence[Op]], Iterable[Op]] = iter
) -> Warmup:
    """Compile every operation for a level of instructions, and run none; see `packs`.

    For a process that does nothing else.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    level : str, optional
        A name of `instruction_level.LEVELS`; that of this processor if none is given.
    watch : callable
        As in `warm_up`.

    Raises
    ------
    InstructionLevelError
        If there is no such level.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> make_pack(Path("pack"), "abacus")
    Traceback (most recent call last):
        ...
    numpy_siglip.kernels.machine.instruction_level.InstructionLevelError: there is no level 'abacus' ...
    """
    with contextlib.ExitStack() as stack:
        if level is not None:
            stack.enter_context(compiling_for(level_of_name(level)))
        stack.enter_context(making_pack(folder))
        stack.enter_context(compiling_only())
        return warm_up(Runtime(threads=1), watch)
