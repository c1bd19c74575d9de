"""How the axes of a tensor of another layout are turned into those of transformers.

This is the one place where that happens. Shapes are written with D for the width, F for what goes in,
H heads of d numbers (D = H x d), P for the side of a patch, C for channels, N for positions. A linear map
of transformers is (out, in), one of flax (in, out), and flax keeps the heads of attention apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """What happens to a tensor on its way."""

    apply: Callable[[np.ndarray], np.ndarray]
    num_axes: tuple[int, ...]
    """How many axes the tensor may have; empty if any number will do"""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the result, found without the numbers.

        Examples
        --------
        >>> FILTERS.shape((16, 16, 3, 768))
        (768, 3, 16, 16)
        """
        return self.apply(np.broadcast_to(np.float32(0), shape)).shape


AS_STORED = Turn(lambda x: x, num_axes=())
"""(...) -> (...)"""
TRANSPOSED = Turn(lambda x: x.T, num_axes=(2,))
"""(F, D) -> (D, F)"""
FILTERS = Turn(lambda x: x.transpose(3, 2, 0, 1), num_axes=(4,))
"""(P, P, C, D) -> (D, C, P, P)"""
INTO_HEADS = Turn(lambda x: x.reshape(len(x), -1).T, num_axes=(3,))
"""(F, H, d) -> (D, F)"""
OUT_OF_HEADS = Turn(lambda x: x.reshape(-1, x.shape[2]).T, num_axes=(3,))
"""(H, d, F) -> (F, D)"""
FLAT = Turn(lambda x: x.reshape(-1), num_axes=(0, 1, 2))
"""(H, d) -> (D), and () -> (1)"""
POSITIONS = Turn(lambda x: x.reshape(-1, x.shape[-1]), num_axes=(2, 3, 4))
"""(1, N, D) -> (N, D), and a grid (1, rows, columns, D) or (rows, columns, D) -> (rows x columns, D)"""
