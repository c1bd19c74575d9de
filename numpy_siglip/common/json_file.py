"""Reading JSON objects from files that a user supplied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SiglipError


def read_json(path: Path, error: type[SiglipError]) -> dict[str, Any]:
    """Read the object in a JSON file.

    Parameters
    ----------
    path : Path
    error : type of SiglipError
        What to raise if the file cannot be read, is not JSON, or holds something else than an object.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = path.write_text('{"image_size": 224}')
    >>> read_json(path, SiglipError)
    {'image_size': 224}
    """
    return read_first_json(path, [path.name], error, missing="name a file that is there")[1]


def read_first_json(
    location: Path, names: Sequence[str], error: type[SiglipError], *, missing: str
) -> tuple[Path, dict[str, Any]]:
    """Read the first file of these names that is there, and say which one it was.

    Parameters
    ----------
    location : Path
        The folder of the files, or any file in it.
    names : sequence of str
    error : type of SiglipError
        As for `read_json`.
    missing : str
        What to do if there is no file of any of these names.

    Returns
    -------
    path : Path
    values : dict

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> read_first_json(folder, ["config.json"], SiglipError, missing="fetch it")[1]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.SiglipError: ...: no config.json; fetch it
    """
    folder = location if location.is_dir() else location.parent
    for name in names:
        path = folder / name
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as cause:
            raise error(f"{path}: cannot be read ({cause.strerror})") from cause
        except RecursionError as cause:
            raise error(f"{path}: its values are nested too deeply; fetch the file again") from cause
        except ValueError as cause:  # bad JSON, or bytes that are not text
            raise error(f"{path}: not valid JSON ({cause}); fetch the file again") from cause
        if not isinstance(values, dict):
            raise error(f"{path}: holds a {type(values).__name__}, expected a JSON object")
        return path, values
    raise error(f"{folder}: no {names[0]}; {missing}")
