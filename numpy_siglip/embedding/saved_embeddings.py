"""The files that keep embeddings: an array and a list of what its rows belong to, or both in one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..common.atomic_write import atomic_write, check_writable
from ..errors import SiglipError

_TABLE = ".csv"


def listing_of(output: Path, what: str) -> Path | None:
    """Where the list goes that belongs to an array; a table needs none.

    Parameters
    ----------
    output : Path
    what : {"paths", "texts"}
        What is listed.

    Examples
    --------
    >>> listing_of(Path("photos.npy"), "paths").name, listing_of(Path("photos.csv"), "paths")
    ('photos.paths.txt', None)
    """
    return None if output.suffix == _TABLE else output.with_suffix(f".{what}.txt")


def partial_output(output: Path) -> Path:
    """Where an interrupted run puts what it has, so that no finished result is replaced by it.

    Examples
    --------
    >>> partial_output(Path("photos.npy")).name
    'photos.partial.npy'
    """
    return output.with_suffix(f".partial{output.suffix}")


def check_output(output: Path, what: str) -> None:
    """Find out before the work begins whether its result can be written.

    Parameters
    ----------
    output : Path
        Name of the ``.npy`` or ``.csv`` file.
    what : {"paths", "texts"}
        What is listed beside an array.

    Raises
    ------
    SiglipError
        If it has another suffix, its folder is missing or cannot be written to, or a folder is in the way of
        a file.
    """
    if output.suffix not in (".npy", _TABLE):
        raise SiglipError(f"{output}: the output must be called something.npy or something.csv")
    if not output.parent.is_dir():
        raise SiglipError(f"{output.parent}: no such folder for the output; make it first")
    listing = listing_of(output, what)
    for path in (output, listing) if listing else (output,):
        try:
            check_writable(path)
        except OSError as cause:
            raise SiglipError(f"{path}: cannot be written ({cause.strerror})") from cause


def save_image_embeddings(output: Path, embeddings: np.ndarray, paths: list[Path]) -> None:
    """Write the array and, beside it, the paths in the same order, one a line; or a table of both.

    All files are complete before one takes its name, and if one cannot, none does.

    Parameters
    ----------
    output : Path
        Name of the ``.npy`` or ``.csv`` file.
    embeddings : ndarray of shape (images, width)
    paths : list of Path

    Raises
    ------
    SiglipError
        If one cannot be written; the message names it.
    """
    _save(output, embeddings, "path", [str(path).encode("utf-8", "surrogateescape") for path in paths])


def save_text_embeddings(output: Path, embeddings: np.ndarray, texts: list[str]) -> None:
    """Write the array and, beside it, the texts in the same order, one a line; or a table of both."""
    _save(output, embeddings, "text", [text.encode() for text in texts])


def _save(output: Path, array: np.ndarray, what: str, lines: list[bytes]) -> None:
    listing = listing_of(output, f"{what}s")

    def write_array(stream: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.data)  # np.save would not say why the disk refused

    def write_lines(stream: BinaryIO) -> None:
        stream.writelines(line + b"\n" for line in lines)

    def write_table(stream: BinaryIO) -> None:
        stream.write(_row([what, *map(str, range(array.shape[1]))]))
        for line, numbers in zip(lines, array, strict=True):
            # The shortest digits that give the same float32 again
            stream.write(_row([line.decode("utf-8", "surrogateescape"), *map(str, numbers)]))

    writers: dict[Path, Callable[[BinaryIO], object]] = {output: write_table}
    if listing is not None:
        writers = {output: write_array, listing: write_lines}
    try:
        atomic_write(writers)
    except OSError as cause:
        raise SiglipError(f"{cause.filename}: cannot be written ({cause.strerror})") from cause


def _row(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "surrogateescape")
