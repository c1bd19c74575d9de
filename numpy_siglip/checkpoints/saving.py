"""Writing what was loaded to a folder again, as transformers' ``save_pretrained`` does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..common.atomic_write import atomic_write_folder
from ..common.checks import shown
from ..common.keywords import Keyword, Keywords, check_keywords
from ..errors import ConfigError
from .checkpoint import TensorEntry
from .file_names import CONFIG_FILE, WEIGHTS_FILE
from .int8_folder import INT8_WEIGHTS_FILE, marked_as_int8
from .loading_keywords import is_flag
from .safetensors_writer import write_safetensors

Writer = Callable[[BinaryIO], object]

SAVING_KEYWORDS: Keywords = {
    "filename_prefix": Keyword((None,), "files have the names by which they are found"),
    "is_main_process": Keyword((None, True), "call it in one process"),
    "legacy_format": Keyword(is_flag, "it must be true or false"),
    "max_shard_size": Keyword((None,), "weights are written to one file; leave it out"),
    "push_to_hub": Keyword((None, False), "nothing is uploaded; see huggingface_hub.upload_folder"),
    "safe_serialization": Keyword((None, True), "weights are written to a safetensors file"),
    "save_function": Keyword((None,), "weights are written to a safetensors file"),
    "state_dict": Keyword((None,), "the weights that were loaded are written"),
    "token": Keyword((None,), "nothing is uploaded; leave it out"),
    "variant": Keyword((None,), "files have the names by which they are found"),
}


def json_writer(values: Mapping[str, Any]) -> Writer:
    r"""What writes a file of settings.

    Examples
    --------
    >>> import io
    >>> stream = io.BytesIO()
    >>> _ = json_writer({"size": 8})(stream)
    >>> stream.getvalue()
    b'{\n  "size": 8\n}\n'
    """
    text = json.dumps(values, indent=2, sort_keys=True, default=_plain) + "\n"
    return bytes_writer(text.encode())


def _plain(value: Any) -> Any:
    """A number or an array of NumPy, or a mapping of another kind, as JSON has it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigError(f"{shown(value)} is no value of a configuration; leave it out")


def bytes_writer(content: bytes) -> Writer:
    """What writes a file of this content."""
    return lambda stream: stream.write(content)


def model_writers(
    config: Mapping[str, Any],
    entries: Mapping[str, TensorEntry],
    read: Callable[[str], np.ndarray],
    int8_metadata: Mapping[str, str] | None = None,
) -> dict[str, Writer]:
    """What writes a configuration and weights, by the names of their files.

    Parameters
    ----------
    config : dict of str to object
        Values of ``config.json``.
    entries, read
        As for `write_safetensors`.
    int8_metadata : dict of str to str, optional
        How the tensors were quantised, if they were; the files then say that only this package reads them.
    """
    weights_file = WEIGHTS_FILE
    if int8_metadata is not None:
        config, weights_file = marked_as_int8(config), INT8_WEIGHTS_FILE
    return {
        CONFIG_FILE: json_writer(config),
        weights_file: lambda stream: write_safetensors(stream, entries, read, int8_metadata),
    }


def save_files(
    method: Callable[..., Any], folder: str | Path, writers: Mapping[str, Writer], others: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write files into a folder, all of them or none; files of the same names are replaced.

    Parameters
    ----------
    method : callable
        The ``save_pretrained`` that was called, for messages.
    folder : str or Path
        Made if it is missing.
    writers : dict of str to callable
        By the names of the files.
    others : dict of str to object
        What the method was passed beyond its parameters.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    ConfigError
        If an option asks for what there is not, or the folder is no path.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "saved"
    >>> save_files(save_files, folder, {"config.json": json_writer({})}, {})[0].name
    'config.json'
    """
    check_keywords(method, others, SAVING_KEYWORDS)
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder) or "\0" in str(folder):
        raise ConfigError(f"save_directory is {shown(folder)}; it must be the path of a folder")
    return tuple(atomic_write_folder(Path(folder).expanduser(), writers))
