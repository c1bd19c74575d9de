"""Writing safetensors files a tensor at a time, so that no more than one is in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from .checkpoint import TensorEntry

_ALIGNMENT = 8  # of the first number, as the safetensors library has it


def write_safetensors(
    stream: BinaryIO,
    entries: Mapping[str, TensorEntry],
    read: Callable[[str], np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file as transformers expects it.

    Parameters
    ----------
    stream : binary file
    entries : dict of str to TensorEntry
        Of which dtype and shape are written.
    read : callable
        Gives the numbers of a tensor by its name, when its turn has come.
    metadata : dict of str to str, optional
        Written beside what transformers asks for.

    Examples
    --------
    >>> import io
    >>> from pathlib import Path
    >>> from safetensors.numpy import load
    >>> stream, entry = io.BytesIO(), TensorEntry("probe", Path("x"), "F16", (2,), offset=0, num_bytes=4)
    >>> write_safetensors(stream, {"head.probe": entry}, lambda name: np.ones(2))
    >>> load(stream.getvalue())
    {'head.probe': array([1., 1.], dtype=float16)}
    """
    # Widest first, so that every tensor lies at a multiple of its own width.
    names = sorted(entries, key=lambda name: (-entries[name].numpy_dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name in names:
        entry = entries[name]
        begin, end = end, end + entry.num_elements * entry.numpy_dtype.itemsize
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        numbers = np.ascontiguousarray(read(name), entries[name].numpy_dtype)
        assert numbers.size == entries[name].num_elements
        stream.write(numbers.reshape(-1).view(np.uint8).data)
