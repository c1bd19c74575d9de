"""Checkpoints: tensors by name, straight from their files, without reading what is not asked for.

A tensor is read when it is asked for, and is a copy from then on, whatever happens to its file
(`weights_file`). float16, bfloat16 and quantised tensors are widened to float32.
`checkpoint_files` finds the files and where each tensor lies in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..common.reading import unexpected_as
from ..errors import CheckpointError
from .npz_file import PackedMember, unpack_member
from .weights_file import FileIdentity, opened, read_bytes, read_rows

SCALE_SUFFIX = "_scale"
"""Behind the name of a quantised tensor: the scale of each of its rows."""

LOGIT_SCALE, LOGIT_BIAS = "logit_scale", "logit_bias"
"""The two numbers that turn cosines into logits, which belong to no tower."""


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
    identities : dict of Path to FileIdentity
        What each of the files was known by when its header was read.
    """

    def __init__(
        self, source: Path, entries: dict[str, TensorEntry], identities: Mapping[Path, FileIdentity]
    ) -> None:
        self.source = source
        self._entries = entries
        self._identities = dict(identities)
        self._unpacked: dict[str, bytearray] = {}

    def __getitem__(self, name: str) -> TensorEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> tuple[Any, ...]:
        elsewhere = {file: identity.elsewhere() for file, identity in self._identities.items()}
        return Checkpoint, (self.source, self._entries, elsewhere)

    def anew(self) -> Checkpoint:
        """The same tensors, without what was unpacked of an archive."""
        return Checkpoint(self.source, self._entries, self._identities)

    def tensor(self, name: str) -> np.ndarray:
        """The numbers of a tensor in float32.

        Those of a quantised tensor are multiplied with their scales.

        Raises
        ------
        CheckpointError
            If there is no such tensor, its dtype is not a float of 16, 32 or 64 bits, or it is quantised and
            its scales are missing or impossible; if the file was changed since it was opened.
        """
        stored = self.stored(name)
        if stored.dtype == np.int8:
            return stored * self.scales(name).reshape(-1, *[1] * (stored.ndim - 1))
        return stored.astype(np.float32, copy=False)

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
        return self.entry_rows(self._entries[name], indices).astype(np.float32, copy=False)

    def stored(self, name: str) -> np.ndarray:
        """A tensor in the file's own dtype."""
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
        with unexpected_as(CheckpointError, f"{entry.file}: tensor {entry.name}", "fetch the file again"):
            return self._read(entry)

    def _read(self, entry: TensorEntry) -> np.ndarray:
        dtype = entry.numpy_dtype
        if entry.packed_in:
            content = self._unpack(entry, entry.packed_in)
            flat = np.frombuffer(content, dtype, count=entry.num_elements, offset=entry.offset)
        else:
            with opened(entry.file, self._identities.get(entry.file)) as stream:
                size = entry.num_elements * dtype.itemsize
                flat = read_bytes(entry.file, stream, entry.offset, size).view(dtype)
        return flat.reshape(entry.shape)

    def entry_rows(self, entry: TensorEntry, indices: np.ndarray) -> np.ndarray:
        """Some rows of a tensor in the file's own dtype; see `rows`."""
        if entry.packed_in:
            return self.stored_entry(entry)[indices]
        dtype = entry.numpy_dtype
        row_bytes = dtype.itemsize * (entry.num_elements // entry.shape[0])
        with opened(entry.file, self._identities.get(entry.file)) as stream:
            rows = read_rows(entry.file, stream, entry.offset, row_bytes, indices)
        return rows.view(dtype).reshape(*rows.shape[:-1], *entry.shape[1:])

    def _unpack(self, entry: TensorEntry, packed_in: PackedMember) -> bytearray:
        name = packed_in.info.filename
        if name not in self._unpacked:
            with opened(entry.file, self._identities.get(entry.file)):
                self._unpacked[name] = unpack_member(entry.file, packed_in)
        return self._unpacked[name]
