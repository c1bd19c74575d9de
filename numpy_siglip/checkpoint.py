"""Checkpoints: tensors by name, straight from safetensors files, without reading what is not asked for.

A safetensors file is eight bytes of length, a JSON header that says where each tensor lies, and
the raw numbers (https://huggingface.co/docs/safetensors). The safetensors library checks the
header against the file; the numbers are then mapped into memory, so a float32 tensor is a
read-only view of the file and costs nothing until it is touched. float16 and bfloat16 are
widened to float32 when they are asked for.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError
from .json_file import read_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies and what it is."""

    name: str
    file: Path
    dtype: str
    """As safetensors calls it: F32, F16, BF16 ..."""
    shape: tuple[int, ...]
    offset: int
    """Of its first byte from the start of the file."""
    num_bytes: int

    @property
    def num_elements(self) -> int:
        """Product of the shape."""
        return int(np.prod(self.shape, dtype=np.int64))


class Checkpoint(Mapping[str, TensorEntry]):
    """The tensors of one model, in one safetensors file or in several with an index.

    As a mapping it gives the `TensorEntry` of each name, which costs no reading; `tensor` gives
    the numbers. Open one with `open_checkpoint`.

    Parameters
    ----------
    source : Path
        What the user named, for messages.
    entries : dict of str to TensorEntry
    """

    def __init__(self, source: Path, entries: dict[str, TensorEntry]) -> None:
        self.source = source
        self._entries = entries
        self._maps: dict[Path, mmap.mmap] = {}

    def __getitem__(self, name: str) -> TensorEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def tensor(self, name: str) -> np.ndarray:
        """The numbers of a tensor in float32; a read-only view of the file where it can be.

        Raises
        ------
        CheckpointError
            If there is no such tensor or its dtype is not a float of 16, 32 or 64 bits.
        """
        stored = self._stored(name)
        # astype copies, and so aligns, whatever is not float32 at an aligned address already.
        return np.require(stored.astype(np.float32, copy=False), requirements="A")

    def rows(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Some rows of a tensor in float32; the rest of it is neither read nor widened.

        Parameters
        ----------
        name : str
        indices : ndarray of int, shape (...)

        Returns
        -------
        ndarray of float32, shape (..., columns)

        Raises
        ------
        CheckpointError
            As `tensor`.
        """
        return self._stored(name)[indices].astype(np.float32, copy=False)

    def release(self, name: str) -> None:
        """Let the memory go that reading a tensor took; a view of it reads the file again when it is used."""
        entry = self._entries[name]
        if not hasattr(mmap, "MADV_DONTNEED"):  # not on this system, where memory goes with the last view
            return
        first = -(-entry.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        size = entry.offset + entry.num_bytes - first
        if size >= mmap.PAGESIZE:
            self._map(entry.file).madvise(mmap.MADV_DONTNEED, first, size)

    def _stored(self, name: str) -> np.ndarray:
        """A view of a tensor in the file, in the file's own dtype and perhaps at an odd address."""
        if name not in self._entries:
            raise CheckpointError(f"{self.source}: no tensor {name}")
        entry = self._entries[name]
        dtype = _numpy_dtype(entry)
        flat = np.frombuffer(self._map(entry.file), dtype, count=entry.num_elements, offset=entry.offset)
        return flat.reshape(entry.shape)

    def _map(self, file: Path) -> mmap.mmap:
        if file not in self._maps:
            with file.open("rb") as stream:
                self._maps[file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[file]


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the safetensors file or files of a model and read their headers.

    Parameters
    ----------
    path : Path
        A folder that holds ``model.safetensors``, or ``model.safetensors.index.json`` with its
        shards, or one ``.safetensors`` file of another name; or such a file or index itself.

    Raises
    ------
    CheckpointError
        If there is none, a file is damaged, a shard is missing, or the weights are pickled.

    Examples
    --------
    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> folder = Path(tempfile.mkdtemp())
    >>> save_file({"probe": np.ones((1, 2), np.float16)}, folder / "model.safetensors")
    >>> checkpoint = open_checkpoint(folder)
    >>> checkpoint["probe"].dtype, checkpoint.tensor("probe")
    ('F16', array([[1., 1.]], dtype=float32))
    """
    try:
        file = _weights_in_folder(path) if path.is_dir() else path
    except OSError as cause:
        raise CheckpointError(f"{path}: cannot be read ({cause.strerror})") from cause
    if file.name.endswith(".index.json"):
        return Checkpoint(path, _read_index(file))
    if file.suffix in _PICKLES:
        raise CheckpointError(_pickle_message(file))
    if file.suffix != ".safetensors":
        raise CheckpointError(f"{file}: not a .safetensors file, nor a folder that holds one")
    return Checkpoint(path, _read_header(file))


def _weights_in_folder(folder: Path) -> Path:
    for name in (WEIGHTS_FILE, INDEX_FILE):
        if os.path.lexists(folder / name):  # what cannot be opened is named where that is tried
            return folder / name
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        return others[0]
    if others:
        names = ", ".join(path.name for path in others)
        raise CheckpointError(
            f"{folder}: several weight files ({names}) and no {INDEX_FILE}; name one of them, "
            "or fetch the index"
        )
    pickles = sorted(path for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise CheckpointError(_pickle_message(pickles[0]))
    raise CheckpointError(
        f"{folder}: no {WEIGHTS_FILE} and no {INDEX_FILE}; name a folder that holds one of them, "
        "config.json and preprocessor_config.json"
    )


def _pickle_message(file: Path) -> str:
    return (
        f"{file}: only safetensors weights are read, since a pickle can run any code when it is opened; "
        "convert it with transformers: SiglipVisionModel.from_pretrained(...).save_pretrained(folder)"
    )


def _read_index(index: Path) -> dict[str, TensorEntry]:
    """Entries of all shards, checked against the index that names them."""
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index}: no weight_map that gives each tensor's file")
    entries: dict[str, TensorEntry] = {}
    for shard in sorted(set(weight_map.values())):
        if not shard or Path(shard).name != shard:
            raise CheckpointError(f"{index}: shard {shard!r} is not a plain file name")
        file = index.parent / shard
        if not os.path.lexists(file):
            raise CheckpointError(f"{file}: missing, though {index.name} lists it; fetch this shard too")
        found = _read_header(file)
        for name in (name for name, home in weight_map.items() if home == shard):
            if name not in found:
                raise CheckpointError(f"{file}: no tensor {name}, though {index.name} says it is there")
            entries[name] = found[name]
    return entries


def _read_header(file: Path) -> dict[str, TensorEntry]:
    from safetensors import SafetensorError, safe_open

    try:
        # Opened first, since Python says why a file cannot be.
        with file.open("rb") as stream, safe_open(file, framework="numpy"):
            # safe_open has checked that the header is sound and that the file is as long as it says
            length = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(length))
    except OSError as cause:
        raise CheckpointError(f"{file}: cannot be read ({cause.strerror or cause})") from cause
    except SafetensorError as cause:
        raise CheckpointError(
            f"{file}: not a whole safetensors file ({cause}); it may be truncated, fetch it again"
        ) from cause
    header.pop("__metadata__", None)
    return {
        name: TensorEntry(
            name,
            file,
            info["dtype"],
            tuple(info["shape"]),
            offset=8 + length + info["data_offsets"][0],
            num_bytes=info["data_offsets"][1] - info["data_offsets"][0],
        )
        for name, info in header.items()
    }


def _numpy_dtype(entry: TensorEntry) -> np.dtype:
    if entry.dtype == "BF16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    names = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
    if entry.dtype not in names:
        raise CheckpointError(
            f"{entry.file}: tensor {entry.name} has dtype {entry.dtype}; "
            "supported are F32, F16, BF16 and F64: save the model in one of them"
        )
    return np.dtype(names[entry.dtype])
