"""Options that programs for transformers pass, and of which only one value makes sense here.

Each call has a table of them. A value that asks for what is done anyway is accepted, so that a program runs
as it is; any other is refused by name, for nothing else would be done. What stands in no table is a spelling
mistake.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from ..errors import ConfigError, UnknownOptionError
from .checks import is_truth_value, shown


class Keyword(NamedTuple):
    """What may be passed under one name.

    Examples
    --------
    >>> Keyword((None, 0), "texts are cut without overlap").takes(0)
    True
    """

    accepted: tuple[Any, ...] | Callable[[Any], bool]
    """The values, or what tells them"""
    reason: str
    """Why no other is accepted, and what to do"""

    def takes(self, value: Any) -> bool:
        """Whether a value asks for what is done anyway."""
        if callable(self.accepted):
            return self.accepted(value)
        return any(_is_same(value, one) for one in self.accepted)


def _is_same(value: Any, accepted: Any) -> bool:
    """Whether two values say the same: 1 is no truth value, and members of an enumeration may be texts."""
    if is_truth_value(accepted) or is_truth_value(value):
        return is_truth_value(accepted) and is_truth_value(value) and bool(value) == accepted
    return value is accepted or (isinstance(value, type(accepted)) and bool(value == accepted))


Keywords = Mapping[str, Keyword]


def check_keywords(
    function: Callable[..., Any], given: Mapping[str, Any], table: Keywords, also: Iterable[str] = ()
) -> None:
    """Refuse what a call names beyond the parameters of its function.

    Parameters
    ----------
    function : callable
        Whose parameters the near spellings are taken from.
    given : mapping of str to object
        What was passed beyond them.
    table : mapping of str to Keyword
        What is accepted.
    also : iterable of str
        Names that are taken elsewhere, for the near spellings.

    Raises
    ------
    UnknownOptionError
        If a name stands in no table.
    ConfigError
        If a value asks for what there is not.

    Examples
    --------
    >>> def embed(pixels, *, normalize=True, **others): ...
    >>> table = {"device": Keyword((None, "cpu"), "everything is computed on the CPU")}
    >>> check_keywords(embed, {"device": "cpu"}, table)
    >>> check_keywords(embed, {"device": "cuda"}, table)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: device is 'cuda'; everything is computed on the CPU
    >>> check_keywords(embed, {"normalise": False}, table)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.UnknownOptionError: there is no option 'normalise'; do you mean 'normalize'?
    """
    for name, value in given.items():
        if name not in table:
            raise unknown_option(name, [*parameters_of(function), *table, *also])
        if not table[name].takes(value):
            raise ConfigError(f"{name} is {shown(value)}; {table[name].reason}")


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """The names that a function takes its arguments by.

    Examples
    --------
    >>> parameters_of(check_keywords)
    ['function', 'given', 'table', 'also']
    """
    parameters = inspect.signature(function).parameters.values()
    return [
        one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name not in ("self", "cls")
    ]


def unknown_option(name: str, names: list[str]) -> UnknownOptionError:
    """The error for an option that there is not, with the nearest of those that there are.

    Examples
    --------
    >>> str(unknown_option("colour", ["size", "resample"]))
    "there is no option 'colour'; there are: resample, size"
    """
    near = get_close_matches(name, names, n=1, cutoff=0.75)
    advice = f"do you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(set(names)))}"
    return UnknownOptionError(f"there is no option {shown(name)}; {advice}")
