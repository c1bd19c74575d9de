"""Reading JSON objects from files that a user supplied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import SiglipError
from .reading import read_regular_file

_LARGEST = 2**26
"""Bytes of a file of settings, or of an index; the largest published one has a tenth of that."""


def read_json(path: Path, error: type[SiglipError]) -> dict[str, Any]:
    """Read the object in a JSON file.

    Parameters
    ----------
    path : Path
    error : type of SiglipError
        What to raise if the file is not there, cannot be read, is not JSON, or holds something else than an
        object.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = path.write_text('{"image_size": 224}')
    >>> read_json(path, SiglipError)
    {'image_size': 224}
    """
    values = read_json_if_there(path, error)
    if values is None:
        raise error(f"{path.parent}: no {path.name}; name a file that is there")
    return values


def read_json_if_there(path: Path, error: type[SiglipError]) -> dict[str, Any] | None:
    """Read the object in a JSON file; None if there is no such file.

    Parameters
    ----------
    path : Path
    error : type of SiglipError
        As for `read_json`, but for a file that is not there. A link to nothing is there, and damaged.

    Examples
    --------
    >>> import tempfile
    >>> read_json_if_there(Path(tempfile.mkdtemp()) / "config.json", SiglipError) is None
    True
    """
    try:
        content = read_regular_file(path, error, largest=_LARGEST)
    except FileNotFoundError:
        return None
    try:
        values = json.loads(content.decode("utf-8"))
    except RecursionError as cause:
        raise error(f"{path}: its values are nested too deeply; fetch the file again") from cause
    except ValueError as cause:  # bad JSON, or bytes that are not text
        raise error(f"{path}: not valid JSON ({cause}); fetch the file again") from cause
    if not isinstance(values, dict):
        raise error(f"{path}: holds a {type(values).__name__}, expected a JSON object")
    return values
