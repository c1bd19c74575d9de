"""Checkpoints: tensors by name, straight from their files, without reading what is not asked for.

Files are mapped into memory, so that a float32 tensor is a read-only view of its file and costs
nothing until it is touched. float16, bfloat16 and quantised tensors are widened to float32 when they are
asked for.
`checkpoint_files` finds the files and where each tensor lies in them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError
from .npz_file import PackedMember, unpack_member

SCALE_SUFFIX = "_scale"
"""Behind the name of a quantised tensor: the scale of each of its rows."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies and what it is."""

    name: str
    file: Path
    dtype: str
    """As safetensors calls it: F32, F16, BF16 ..."""
    shape: tuple[int, ...]
    offset: int
    """Of its first byte from the start of the file, or of the unpacked member."""
    num_bytes: int
    packed_in: PackedMember | None = None
    """Member of an archive that has to be unpacked before any of it can be read."""

    def rows(self, start: int, stop: int) -> TensorEntry:
        """Some rows as a tensor of their own.

        Examples
        --------
        >>> entry = TensorEntry("qkv", Path("model.safetensors"), "F32", (9, 3), offset=8, num_bytes=108)
        >>> entry.rows(3, 6).name, entry.rows(3, 6).shape, entry.rows(3, 6).offset
        ('qkv[3:6]', (3, 3), 44)
        """
        return self._part(f"{start}:{stop}", (stop - start, *self.shape[1:]), start)

    def row(self, index: int) -> TensorEntry:
        """One row, without the axis of rows."""
        return self._part(str(index), self.shape[1:], index)

    def _part(self, label: str, shape: tuple[int, ...], first_row: int) -> TensorEntry:
        row_bytes = self.num_bytes // self.shape[0]
        size = self.num_bytes // self.num_elements * int(np.prod(shape, dtype=np.int64))
        offset = self.offset + first_row * row_bytes
        return replace(self, name=f"{self.name}[{label}]", shape=shape, offset=offset, num_bytes=size)

    @property
    def numpy_dtype(self) -> np.dtype:
        """NumPy's dtype for it.

        Raises
        ------
        CheckpointError
            If it is neither a float of 16, 32 or 64 bits nor an integer of 8.
        """
        if self.dtype == "BF16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        names = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "|i1"}
        if self.dtype not in names:
            raise CheckpointError(
                f"{self.file}: tensor {self.name} has dtype {self.dtype}; "
                "supported are F32, F16, BF16 and F64, and I8 with scales: save the model in one of them"
            )
        return np.dtype(names[self.dtype])

    @property
    def num_elements(self) -> int:
        """Product of the shape."""
        return int(np.prod(self.shape, dtype=np.int64))


class Checkpoint(Mapping[str, TensorEntry]):
    """The tensors of one model, in one file or in several with an index.

    As a mapping it gives the `TensorEntry` of each name, which costs no reading; `tensor` gives
    the numbers. Open one with `checkpoint_files.open_checkpoint`.

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
        self._identities: dict[Path, tuple[int, int] | None] = {}
        self._unpacked: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> TensorEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return Checkpoint, (self.source, self._entries)  # who gets it maps the files anew

    def tensor(self, name: str) -> np.ndarray:
        """The numbers of a tensor in float32; a read-only view of the file where it can be.

        Those of a quantised tensor are multiplied with their scales.

        Raises
        ------
        CheckpointError
            If there is no such tensor, its dtype is not a float of 16, 32 or 64 bits, or it is quantised and
            its scales are missing or impossible.
        """
        stored = self.stored(name)
        if stored.dtype == np.int8:
            return stored * self.scales(name).reshape(-1, *[1] * (stored.ndim - 1))
        # astype copies, and so aligns, whatever is not float32 at an aligned address already.
        return np.require(stored.astype(np.float32, copy=False), requirements="A")

    def scales(self, name: str) -> np.ndarray:
        """The scale of each row of a quantised tensor.

        Raises
        ------
        CheckpointError
            If they are missing, not one for each row, or no scales.
        """
        scale = self.stored(name + SCALE_SUFFIX).astype(np.float32)
        rows = self[name].shape[:1]
        if scale.shape != rows:
            raise CheckpointError(
                f"{self.source}: tensor {name}{SCALE_SUFFIX} has shape {scale.shape}; it must be {rows}: "
                "quantise the model again"
            )
        if not (np.isfinite(scale) & (scale >= 0)).all():
            raise CheckpointError(
                f"{self.source}: tensor {name}{SCALE_SUFFIX} holds NaN, infinity or a negative number, which "
                "is no scale; quantise the model again"
            )
        return scale

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
            As `tensor`, and if the file was changed since it was opened.
        """
        self.require_unchanged(self[name].file)
        return self.stored(name)[indices].astype(np.float32, copy=False)

    def require_unchanged(self, file: Path) -> None:
        """Refuse a file that is not any more what was mapped; to read beyond its end would end the process.

        Raises
        ------
        CheckpointError
        """
        mapped = self._identities.get(file)
        if mapped is not None and _identity(file) != mapped:
            raise CheckpointError(f"{file}: was changed or removed after it was opened; load the model again")

    def release(self, name: str) -> None:
        """Let the memory go that reading a tensor took; a view of it reads the file again when it is used."""
        self.release_entry(self._entries[name])

    def stored(self, name: str) -> np.ndarray:
        """A view of a tensor in the file's own dtype and perhaps at an odd address."""
        if name not in self._entries:
            quantised = name.removesuffix(SCALE_SUFFIX)
            if quantised in self._entries:
                raise CheckpointError(
                    f"{self.source}: tensor {quantised} holds integers and {name} is missing; only what "
                    "numpy-siglip quantize wrote can be read"
                )
            raise CheckpointError(f"{self.source}: no tensor {name}")
        return self.stored_entry(self._entries[name])

    def stored_entry(self, entry: TensorEntry) -> np.ndarray:
        """Do as `stored` for a tensor or rows of one."""
        dtype = entry.numpy_dtype
        packed_in = entry.packed_in
        memory: Any = self._unpack(entry, packed_in) if packed_in else self._map(entry.file)
        flat = np.frombuffer(memory, dtype, count=entry.num_elements, offset=entry.offset)
        return flat.reshape(entry.shape)

    def release_entry(self, entry: TensorEntry) -> None:
        """Do as `release` for a tensor or rows of one; what was unpacked stays for the other rows."""
        if entry.packed_in or not hasattr(mmap, "MADV_DONTNEED"):  # else memory goes with the last view
            return
        first = -(-entry.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        size = entry.offset + entry.num_bytes - first
        if size >= mmap.PAGESIZE:
            self._map(entry.file).madvise(mmap.MADV_DONTNEED, first, size)

    def _map(self, file: Path) -> mmap.mmap:
        if file not in self._maps:
            with file.open("rb") as stream:
                self._maps[file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._identities[file] = _identity(file)
        return self._maps[file]

    def _unpack(self, entry: TensorEntry, packed_in: PackedMember) -> bytes:
        name = packed_in.info.filename
        if name not in self._unpacked:
            self._unpacked[name] = unpack_member(entry.file, packed_in)
        return self._unpacked[name]


def _identity(file: Path) -> tuple[int, int] | None:
    """By what a changed file is told: its length and its time."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
