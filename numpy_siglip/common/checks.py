"""Checks of numbers that come from files and from callers; whoever passes them on may rely on them.

NumPy's numbers count as numbers, truth values do not. Python's whole numbers have no end, and JSON can
hold them, so that a check has to come before any arithmetic.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, SiglipError
from .tensors import without_torch

if TYPE_CHECKING:
    import numpy as np

LARGEST_SIDE = 2**14
"""Of an image in pixels. A larger one is a mistake in a file: its arrays would not fit in memory."""
LARGEST_FLOAT32 = 3.4028234663852886e38
_LONGEST_SHOWN = 80


def check_integer(name: str, value: Any, *, largest: int) -> int:
    """A whole number from 1 to ``largest`` as Python's int.

    Raises
    ------
    ConfigError
        For anything else; the message begins with ``name``.

    Examples
    --------
    >>> check_integer("batch_size", 8, largest=100)
    8
    >>> check_integer("batch_size", 2.5, largest=100)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: batch_size is 2.5; it must be a positive integer up to 100
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not 1 <= int(value) <= largest:
        raise ConfigError(f"{name} is {shown(value)}; it must be a positive integer up to {largest}")
    return int(value)


def check_count(name: str, value: Any, *, largest: int) -> int:
    """A whole number from 0 to ``largest`` as Python's int.

    Raises
    ------
    ConfigError
        For anything else; the message begins with ``name``.

    Examples
    --------
    >>> check_count("num_labels", 0, largest=100)
    0
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) == 0:
        return 0
    return check_integer(name, value, largest=largest)


def check_flag(name: str, value: Any, *, default: bool | None = None) -> bool:
    """A truth value, Python's or NumPy's, as Python's bool.

    Nothing else counts as one: ``"no"`` and a list of layers would otherwise be true.

    Parameters
    ----------
    name : str
        What the message begins with.
    value : object
    default : bool, optional
        What None stands for. Without it, None is refused like anything else.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> import numpy as np
    >>> check_flag("normalize", np.True_), check_flag("return_dict", None, default=True)
    (True, True)
    >>> check_flag("output_hidden_states", [0, -1])
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: output_hidden_states is [0, -1]; it must be true or false
    """
    if value is None and default is not None:
        return default
    if not is_truth_value(value):
        raise ConfigError(f"{name} is {shown(value)}; it must be true or false")
    return bool(value)


def is_truth_value(value: Any) -> bool:
    """Whether a value is true or false, of Python or of NumPy.

    Examples
    --------
    >>> is_truth_value(False), is_truth_value(0), is_truth_value(None)
    (True, False, False)
    """
    # by the name of the class, since ``--help`` must not wait for NumPy, whose class was once called bool_
    numpys = type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")
    return isinstance(value, bool) or numpys


def is_finite(value: Any) -> bool:
    """Whether a value is a number, and one that float32 can hold.

    Examples
    --------
    >>> is_finite(0.5), is_finite(10**400), is_finite(float("nan")), is_finite("0.5")
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return abs(float(value)) <= LARGEST_FLOAT32
    except OverflowError:
        return False


def check_return_tensors(return_tensors: Any) -> None:
    """Refuse to make arrays of another library than NumPy.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> check_return_tensors("np")
    """
    if return_tensors not in (None, "np"):
        advice = "; for torch, torch.from_numpy of a result" if return_tensors == "pt" else ""
        raise ConfigError(
            f"return_tensors is {shown(return_tensors)}, and results here are arrays of NumPy: pass 'np' "
            f"or leave it out{advice}"
        )


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """A mapping as it is.

    Raises
    ------
    ConfigError
        For anything else; the message begins with ``name``.

    Examples
    --------
    >>> check_mapping("the configuration", None)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: the configuration is None; it must be a mapping of names to values
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {shown(value)}; it must be a mapping of names to values")
    return value


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and cut where it is long.

    Examples
    --------
    >>> shown("eight"), shown(10**100_000)
    ("'eight'", 'an int too long to show')
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to write out thousands of digits
        return f"an {type(value).__name__} too long to show"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def as_array(name: str, value: Any, error: type[SiglipError]) -> np.ndarray:
    """What is or can be made an array; a tensor of torch can, and bfloat16 becomes float32.

    Raises
    ------
    SiglipError
        Of the class ``error``, if rows differ in length, or it is a masked array, whose mask would be lost.

    Examples
    --------
    >>> as_array("pixel_values", [[1.0, 2.0], [3.0, 4.0]], ConfigError).shape
    (2, 2)
    >>> as_array("pixel_values", [[1.0], [1.0, 2.0]], ConfigError)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: pixel_values is no array: its parts differ in length
    """
    import numpy as np  # here, since ``--help`` must not wait for it

    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise error(f"{name} is a masked array, and masks are not followed; fill it first: array.filled(0)")
    try:
        array = np.asarray(without_torch(value))
    except ValueError as cause:
        raise error(f"{name} is no array: its parts differ in length") from cause
    except Exception as cause:  # an object of another library that promises to be an array
        raise error(f"{name} is no array: {type(value).__name__} cannot be made one ({cause})") from cause
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
