"""The choice of a backend, with the errors of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..common.checks import shown
from ..common.spellings import dtype_name
from ..errors import ConfigError, SiglipError
from ..kernels.backend import Backend, get_backend
from ..kernels.choices import DEFAULT_DTYPE

_OTHER_FLOATS = ("float16", "bfloat16", "float64")


def choose_dtype(dtype: Any, torch_dtype: Any = None) -> str:
    """What linear maps are computed in, under the names that programs give it.

    Parameters
    ----------
    dtype : object
        A name, or a type of NumPy or of torch; None and ``"auto"`` leave the choice.
    torch_dtype : object
        The same under its older name.

    Raises
    ------
    ConfigError
        If it is a type that nothing is computed in, or the two differ.

    Examples
    --------
    >>> choose_dtype("auto"), choose_dtype("int8"), choose_dtype("float32", torch_dtype="torch.float32")
    ('float32', 'int8', 'float32')
    >>> choose_dtype("bfloat16")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: dtype is 'bfloat16'; weights of any type load, and float32 is what ...
    """
    name = DEFAULT_DTYPE if dtype is None else dtype_name(dtype)
    if torch_dtype is not None:
        older = dtype_name(torch_dtype)
        if name not in (DEFAULT_DTYPE, older):  # the default is what dtype is if nobody says anything
            raise ConfigError(
                f"dtype is {shown(dtype)} and torch_dtype {shown(torch_dtype)}; pass one of them"
            )
        name = older
    if name == "auto":
        return DEFAULT_DTYPE
    if name in _OTHER_FLOATS:
        raise ConfigError(
            f"dtype is {shown(name)}; weights of any type load, and float32 is what they are computed with: "
            "leave it out, or pass 'int8' for less memory"
        )
    return name


def choose_backend(
    name: str,
    threads: int | None = None,
    dtype: str = DEFAULT_DTYPE,
    float32_layers: Sequence[str] = (),
) -> Backend:
    """The table of operations of this name.

    Raises
    ------
    ConfigError
        If there is no such backend or dtype, or the backend cannot use that many threads.
    SiglipError
        If what it needs is not installed.

    Examples
    --------
    >>> choose_backend("abacus")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: unknown backend 'abacus'; there are: numba, numpy
    """
    if isinstance(float32_layers, str) or not all(isinstance(layer, str) for layer in float32_layers):
        raise ConfigError(f"float32_layers is {shown(float32_layers)}; it must be a list of names")
    try:
        return get_backend(name, threads, dtype, float32_layers)
    except ImportError as cause:
        raise SiglipError(
            f"{cause.name} is not installed, and compiles the operations: pip install numba, "
            'or choose backend="numpy"'
        ) from cause
    except ValueError as cause:
        raise ConfigError(str(cause)) from cause
