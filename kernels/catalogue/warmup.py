"""Compile every kernel now, so that no later call has to wait for it.

Kernels are compiled for types and not for shapes, so one small call of every operation is enough. Worth
doing when an image of a container is built, or before many processes start at once.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import numpy as np

from ..layers.encoder_layer import encoder_layer
from ..machine.compilation import KERNELS
from ..machine.runtime import Runtime
from ..tiles.packing import pack_linear
from .layers import quantized_encoder_layer_operands
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


def warm_up(runtime: Runtime) -> Warmup:
    """Call every operation once.

    Parameters
    ----------
    runtime : Runtime

    Examples
    --------
    >>> result = warm_up(Runtime(threads=2))
    >>> result.read + result.compiled > 10
    True
    """
    start = time.perf_counter()
    draw = Sampler(seed=0, runtime=runtime)
    for op in OPS:
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
    statistics = [kernel.cache_statistics() for kernel in KERNELS]
    folders = [folder for kernel in KERNELS if (folder := kernel.cache_folder())]
    return Warmup(
        read=sum(read for read, _ in statistics),
        compiled=sum(compiled for _, compiled in statistics),
        kept_in=os.path.commonpath(folders) if folders else None,
        seconds=time.perf_counter() - start,
    )
