"""The files that keep embeddings: an array, and a list of what its rows belong to."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..common.atomic_write import atomic_write, check_writable
from ..errors import SiglipError


def paths_file(output: Path) -> Path:
    """Where the list of paths goes that belongs to an array.

    Examples
    --------
    >>> paths_file(Path("photos.npy")).name
    'photos.paths.txt'
    """
    return output.with_suffix(".paths.txt")


def texts_file(output: Path) -> Path:
    """Where the list of texts goes that belongs to an array.

    Examples
    --------
    >>> texts_file(Path("labels.npy")).name
    'labels.texts.txt'
    """
    return output.with_suffix(".texts.txt")


def check_output(output: Path, listing: Path) -> None:
    """Find out before the work begins whether its result can be written.

    Parameters
    ----------
    output : Path
        Name of the ``.npy`` file.
    listing : Path
        Name of the file that lists its rows.

    Raises
    ------
    SiglipError
        If the first has another suffix, its folder is missing or cannot be written to, or a folder is in the
        way of one of the two files.
    """
    if output.suffix != ".npy":
        raise SiglipError(f"{output}: the output must be called something.npy")
    if not output.parent.is_dir():
        raise SiglipError(f"{output.parent}: no such folder for the output; make it first")
    for path in (output, listing):
        try:
            check_writable(path)
        except OSError as cause:
            raise SiglipError(f"{path}: cannot be written ({cause.strerror})") from cause


def save_image_embeddings(output: Path, embeddings: np.ndarray, paths: list[Path]) -> None:
    """Write the array and, beside it, the paths in the same order, one a line.

    Both files are complete before either takes its name, and if one cannot, neither does.

    Parameters
    ----------
    output : Path
        Name of the ``.npy`` file.
    embeddings : ndarray of shape (images, width)
    paths : list of Path

    Raises
    ------
    SiglipError
        If one cannot be written; the message names it.
    """
    lines = [str(path).encode("utf-8", "surrogateescape") for path in paths]
    _save(output, embeddings, paths_file(output), lines)


def save_text_embeddings(output: Path, embeddings: np.ndarray, texts: list[str]) -> None:
    """Write the array and, beside it, the texts in the same order, one a line."""
    _save(output, embeddings, texts_file(output), [text.encode() for text in texts])


def _save(output: Path, array: np.ndarray, listing: Path, lines: list[bytes]) -> None:
    def write_array(stream: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.data)  # np.save would not say why the disk refused

    def write_lines(stream: BinaryIO) -> None:
        stream.writelines(line + b"\n" for line in lines)

    try:
        atomic_write({output: write_array, listing: write_lines})
    except OSError as cause:
        raise SiglipError(f"{cause.filename}: cannot be written ({cause.strerror})") from cause
