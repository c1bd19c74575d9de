"""Arrays by their addresses: how compiled code knows the weights of many layers.

A tuple of arrays would be compiled anew for every depth of a tower, so a table of addresses is handed over
instead. The arrays have to be kept alive as long as the table is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .compilation import instruction


def table_of(groups: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Where the arrays of each group lie, and how long they are: int64 (groups, arrays of one, 2).

    Examples
    --------
    >>> array = np.ones(3, np.float32)
    >>> table = table_of([[array, array]])
    >>> table.shape, table[0, 1, 1].item()
    ((1, 2, 2), 3)
    """
    return np.array(
        [[(array.__array_interface__["data"][0], array.size) for array in arrays] for arrays in groups],
        np.int64,
    )


@instruction
def array_at(address: int, size: int) -> np.ndarray:
    """A flat float32 array of what lies at an address.

    Examples
    --------
    >>> array = np.arange(3, dtype=np.float32)
    >>> array_at(array.ctypes.data, array.size).tolist()
    [0.0, 1.0, 2.0]
    """
    import ctypes

    memory: Any = (ctypes.c_float * int(size)).from_address(int(address))
    return np.frombuffer(memory, np.float32)
