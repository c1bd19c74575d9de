"""Archives of NumPy, ``.npz``: where the numbers of each array lie, found without reading them.

Such an archive is a zip file whose members are ``.npy`` files: a short header that says dtype, shape and
memory order, and the raw numbers
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). `numpy.savez` stores members as they
are, so that their numbers can be read like those of any other file. Members that were compressed, or whose
numbers lie in Fortran order, are unpacked when they are asked for. Checksums are compared where a member is
unpacked, and not where its numbers are read alone; safetensors has none either.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..common.checks import shown
from ..common.reading import require_no_pointer, require_regular_file, unexpected_as
from ..errors import CheckpointError
from .weights_file import FileIdentity, identity_of

_AT_ONCE = 2**20
_LONGEST = 2**40
_MOST_AXES = 32
_PASSWORD = "take the password off it"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then lengths of name and of extra fields


class PackedMember(NamedTuple):
    """A member that has to be unpacked, found without the directory of the archive."""

    info: zipfile.ZipInfo
    """As the directory has it"""
    offset: int
    """Of its first byte, packed, from the start of the archive"""
    header_bytes: int
    """Unpacked, before the first number"""
    num_bytes: int
    """Of all numbers, unpacked; nothing may come behind them"""
    fortran_shape: tuple[int, ...] = ()
    """The shape of an array in Fortran order, which is brought to C order"""
    dtype: str = ""
    """Of that array, as NumPy calls it"""


class NpzMember(NamedTuple):
    """One array of an archive."""

    name: str
    dtype: str
    """As safetensors calls it; an unnamed one as NumPy does"""
    shape: tuple[int, ...]
    offset: int
    """Of its first byte from the start of the archive, or of the unpacked array"""
    num_bytes: int
    packed_in: PackedMember | None
    """What to give to `unpack_member`; None if the numbers lie in the archive as they are"""


def npz_members(file: Path) -> tuple[list[NpzMember], FileIdentity]:
    """List the arrays of an archive, and say what the file is known by.

    Raises
    ------
    CheckpointError
        If the file cannot be read or is not such an archive, or an array is made of Python objects.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "model.npz"
    >>> np.savez(file, t=np.ones(1, np.float32))
    >>> (member,), _ = npz_members(file)
    >>> member.name, member.dtype, member.shape
    ('t', 'F32', (1,))
    """
    try:
        require_regular_file(file, CheckpointError)
        with file.open("rb") as stream:
            require_no_pointer(file, CheckpointError, stream.read(64))
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            size = stream.seek(0, 2)
            return list(_members(file, stream, archive, size)), identity_of(stream)
    except (OSError, CheckpointError, MemoryError) as cause:
        with unexpected_as(CheckpointError, file, "fetch the file again"):
            raise cause
    except Exception as cause:  # zipfile and the parser of headers raise what they do not document
        advice = _PASSWORD if "encrypted" in str(cause) else "it may be truncated, fetch it again"
        if "allow_pickle" in str(cause) or "max_header_size" in str(cause):
            cause = ValueError("a header that is no header of an array")
        raise CheckpointError(f"{file}: not a whole .npz archive ({cause}); {advice}") from cause


def unpack_member(file: Path, packed: PackedMember) -> bytearray:
    r"""The numbers of one array in C order. The directory of the archive is not read again.

    Raises
    ------
    CheckpointError
        If the archive is damaged at this place.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "model.npz"
    >>> np.savez_compressed(file, t=np.arange(3, dtype=np.uint8))
    >>> unpack_member(file, npz_members(file)[0][0].packed_in)
    bytearray(b'\x00\x01\x02')
    """
    try:
        with file.open("rb") as stream:
            stream.seek(packed.offset)
            with zipfile.ZipExtFile(stream, "r", packed.info) as member:
                member.read(packed.header_bytes)
                content = _exactly(member, packed.num_bytes)
    except Exception as cause:  # what zipfile and its decompressors raise is not documented
        reason = "more memory than there is" if isinstance(cause, MemoryError) else cause
        raise CheckpointError(
            f"{file}: {packed.info.filename} cannot be unpacked ({reason}); fetch the file again"
        ) from cause
    if packed.fortran_shape:
        array = np.frombuffer(content, packed.dtype).reshape(packed.fortran_shape, order="F")
        return bytearray(array.tobytes())
    return content


def _exactly(member: zipfile.ZipExtFile, size: int) -> bytearray:
    """So many bytes, behind which the member ends; no more is unpacked, whatever a few bytes unfold to."""
    content = bytearray()
    while len(content) < size:
        part = member.read(min(size - len(content), _AT_ONCE))
        if not part:
            raise ValueError("it ends before its last number")
        content += part
    if member.read(1):  # and at its end the checksum is compared
        raise ValueError("something comes behind its last number")
    return content


def _members(file: Path, stream: IO[bytes], archive: zipfile.ZipFile, file_size: int) -> Iterator[NpzMember]:
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_newer_header
            shape, fortran, dtype = read(member)
            header_bytes = member.tell()
        name = info.filename.removesuffix(".npy")
        if dtype.hasobject:
            raise CheckpointError(
                f"{file}: {name} holds Python objects, which are not read; only numbers are"
            )
        if any(not 0 <= length <= _LONGEST for length in shape) or len(shape) > _MOST_AXES:
            raise ValueError(f"{name} has the shape {shown(shape)}")
        num_bytes = dtype.itemsize * math.prod(shape)
        in_order = not fortran or len(shape) < 2
        begin = _data_offset(stream, info.header_offset)
        packed_in = None
        if info.compress_type == zipfile.ZIP_STORED and in_order:
            offset = begin + header_bytes
            if offset + num_bytes > file_size or header_bytes + num_bytes > info.file_size:
                raise ValueError(f"{name} is longer than its place in the file")
        else:
            if header_bytes + num_bytes != info.file_size:
                raise ValueError(f"{name} is not as long as its header says")
            of_fortran = () if in_order else (tuple(shape), dtype.str)
            offset, packed_in = 0, PackedMember(info, begin, header_bytes, num_bytes, *of_fortran)
        yield NpzMember(name, _dtype_name(dtype), shape, offset, num_bytes, packed_in)


def _read_newer_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    # Versions 2.0 and 3.0 differ in an encoding that plain dtypes make no use of.
    return np.lib.format.read_array_header_2_0(stream)


def _data_offset(stream: IO[bytes], header_offset: int) -> int:
    """Where the bytes of a member begin, which only the header beside them tells."""
    stream.seek(header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if signature != b"PK\x03\x04":
        raise ValueError("a member is not where the directory says")
    return int(header_offset + _LOCAL_HEADER.size + name_length + extra_length)


def _dtype_name(dtype: np.dtype) -> str:
    # bfloat16 is no dtype of NumPy's own, and is written as two bytes without a meaning.
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None:
        return "BF16"
    names = {"<f2": "F16", "<f4": "F32", "<f8": "F64"}
    return names.get(dtype.str, dtype.str)
