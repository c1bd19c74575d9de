"""The choice of a backend, with the errors of this package."""

from __future__ import annotations

from .errors import ConfigError, SiglipError
from .kernels.backend import Backend, get_backend


def choose_backend(name: str, threads: int | None = None) -> Backend:
    """The table of operations of this name.

    Raises
    ------
    ConfigError
        If there is no such backend, or it cannot use that many threads.
    SiglipError
        If what it needs is not installed.

    Examples
    --------
    >>> choose_backend("abacus")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: unknown backend 'abacus'; there are: numba, numpy
    """
    try:
        return get_backend(name, threads)
    except ImportError as cause:
        raise SiglipError(
            f"{cause.name} is not installed, and compiles the operations: pip install numba, "
            'or choose backend="numpy"'
        ) from cause
    except ValueError as cause:
        raise ConfigError(str(cause)) from cause
