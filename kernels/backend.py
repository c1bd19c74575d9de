"""The table of operations that the model is written against, and its fillings.

A backend is one way to compute every operation. The model asks `get_backend` for a table once,
when it is built, and from then on calls what it finds there; it never learns how an operation is
computed. Adding a backend is adding one filling to ``BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .attention import attention_reference
from .attention_pooling import attention_pooling_reference
from .layer_norm import layer_norm_reference
from .linear import linear_reference, prepare_linear_reference
from .patch_embedding import patch_embedding_reference
from .position_embedding import position_embedding_reference

Attended = tuple[np.ndarray, "np.ndarray | None"]


class Backend(NamedTuple):
    """One filling of the table. Each field has the contract of the file it is named after."""

    name: str
    prepare_linear: Callable[..., Any]
    """(weight, bias) -> prepared weights, once a model is loaded."""
    linear: Callable[..., np.ndarray]
    """(x, weights, activation=None, residual=None) -> y"""
    patch_embedding: Callable[..., np.ndarray]
    """(pixels, weights, position, patch_size) -> tokens"""
    position_embedding: Callable[..., np.ndarray]
    """(position, rows, columns) -> resampled position"""
    layer_norm: Callable[..., np.ndarray]
    """(x, weight, bias, eps) -> y"""
    attention: Callable[..., Attended]
    """(query, key, value, num_heads, return_attention=False) -> output, attention"""
    attention_pooling: Callable[..., Attended]
    """(hidden, weights, num_heads, return_attention=False) -> pooled, attention"""


NUMPY = Backend(
    name="numpy",
    prepare_linear=prepare_linear_reference,
    linear=linear_reference,
    patch_embedding=patch_embedding_reference,
    position_embedding=position_embedding_reference,
    layer_norm=layer_norm_reference,
    attention=attention_reference,
    attention_pooling=attention_pooling_reference,
)

BACKENDS: dict[str, Callable[[], Backend]] = {"numpy": lambda: NUMPY}
DEFAULT_BACKEND = "numpy"


def get_backend(name: str = DEFAULT_BACKEND) -> Backend:
    """The table of operations of this name.

    Parameters
    ----------
    name : str
        A key of ``BACKENDS``.

    Raises
    ------
    ValueError
        If there is no such backend.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    >>> get_backend("abacus")
    Traceback (most recent call last):
        ...
    ValueError: unknown backend 'abacus'; there is: numpy
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; there is: {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name]()
