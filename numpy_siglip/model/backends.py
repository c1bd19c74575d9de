"""The choice of a backend, with the errors of this package."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.checks import shown
from ..errors import ConfigError, SiglipError
from ..kernels.backend import Backend, get_backend
from ..kernels.choices import DEFAULT_DTYPE


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
