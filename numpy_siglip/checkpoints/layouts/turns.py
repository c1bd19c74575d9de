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


# Functions with names, so that what is open can be sent to another process.


def _as_stored(x: np.ndarray) -> np.ndarray:
    return x


def _transposed(x: np.ndarray) -> np.ndarray:
    return x.T


def _filters(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


def _into_heads(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).T


def _out_of_heads(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[2]).T


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1)


def _positions(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


AS_STORED = Turn(_as_stored, num_axes=())
"""(...) -> (...)"""
TRANSPOSED = Turn(_transposed, num_axes=(2,))
"""(F, D) -> (D, F)"""
FILTERS = Turn(_filters, num_axes=(4,))
"""(P, P, C, D) -> (D, C, P, P)"""
INTO_HEADS = Turn(_into_heads, num_axes=(3,))
"""(F, H, d) -> (D, F)"""
OUT_OF_HEADS = Turn(_out_of_heads, num_axes=(3,))
"""(H, d, F) -> (F, D)"""
FLAT = Turn(_flat, num_axes=(0, 1, 2))
"""(H, d) -> (D), and () -> (1)"""
POSITIONS = Turn(_positions, num_axes=(2, 3, 4))
"""(1, N, D) -> (N, D), and a grid (1, rows, columns, D) or (rows, columns, D) -> (rows x columns, D)"""
