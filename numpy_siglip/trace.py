"""Named stages of a forward pass: how a model lets itself be watched.

A model calls its `Stage` at every step, which hands the name and the array to a listener and
returns the array, so that watching changes nothing about the computation:

    hidden = stage("layer_norm1", ops.layer_norm(hidden, ...))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Listener = Callable[[str, np.ndarray], object]


class Stage:
    """Reports arrays to a listener under names that form paths.

    Parameters
    ----------
    listener : callable
        Called with the full name and the array of each stage.
    path : str
        Put before every name.

    Examples
    --------
    >>> seen = {}
    >>> stage = Stage(seen.__setitem__)
    >>> layer = stage.within("encoder/layers/03")
    >>> layer("attention", np.ones(2))
    array([1., 1.])
    >>> seen
    {'encoder/layers/03/attention': array([1., 1.])}
    """

    def __init__(self, listener: Listener, path: str = "") -> None:
        self._listener = listener
        self._path = path

    def __call__(self, name: str, array: np.ndarray) -> np.ndarray:
        """Report an array and return it."""
        self._listener(self._path + name, array)
        return array

    def within(self, name: str) -> Stage:
        """A stage whose names begin with this one."""
        return Stage(self._listener, f"{self._path}{name}/")


def layer_path(index: int) -> str:
    """Path of an encoder layer.

    Examples
    --------
    >>> layer_path(3)
    'encoder/layers/03'
    """
    return f"encoder/layers/{index:02d}"
