"""Formats of image files: which ones this installation reads, and what reads the others.

Pillow tells a format by the content of a file, and knows what it can read. HEIC and JPEG XL come to it from
packages of their own, which are asked for when a file turns out to need them.
"""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ..common.extras import how_to_install

_BY_PILLOW = {
    ".apng": "PNG",
    ".avif": "AVIF",
    ".avifs": "AVIF",
    ".bmp": "BMP",
    ".dib": "DIB",
    ".gif": "GIF",
    ".j2c": "JPEG2000",
    ".j2k": "JPEG2000",
    ".jfif": "JPEG",
    ".jp2": "JPEG2000",
    ".jpc": "JPEG2000",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpf": "JPEG2000",
    ".jpg": "JPEG",
    ".jpx": "JPEG2000",
    ".mpo": "MPO",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".qoi": "QOI",
    ".tga": "TGA",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Suffixes of photographs, and what Pillow calls their formats."""
_BY_PACKAGE = {
    ".heic": "pillow_heif",
    ".heics": "pillow_heif",
    ".heif": "pillow_heif",
    ".heifs": "pillow_heif",
    ".hif": "pillow_heif",
    ".jxl": "pillow_jxl",
}
"""Those that a package of its own reads."""
_BY_NOBODY = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef"}
    | {".psd", ".raf", ".raw", ".rw2", ".srw", ".svg", ".svgz", ".x3f", ".xcf"}
)
"""Raw files of cameras, and drawings: pictures to their owner, and nothing that is read here."""

_MARKS = ((4, b"ftyphei", "pillow_heif"), (4, b"ftyphev", "pillow_heif"), (4, b"ftypmif1", "pillow_heif"),
          (4, b"ftypmsf1", "pillow_heif"), (0, b"\xff\x0a", "pillow_jxl"),
          (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "pillow_jxl"))  # fmt: skip
"""What files of these formats hold at which place, for a suffix may be anything."""


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the image files that are read in a folder.

    Examples
    --------
    >>> {".jpg", ".png", ".webp"} <= readable_suffixes(), ".txt" in readable_suffixes()
    (True, False)
    """
    from PIL import Image, features

    Image.init()
    missing = {"JPEG2000"} if not features.check("jpg_2000") else set()
    ours = {suffix for suffix, kind in _BY_PILLOW.items() if kind in Image.OPEN and kind not in missing}
    return frozenset(ours | {suffix for suffix, package in _BY_PACKAGE.items() if find_spec(package)})


def is_image_suffix(suffix: str) -> bool:
    """Whether files with this suffix, in lower case, are pictures to their owner, whoever can read them.

    Examples
    --------
    >>> is_image_suffix(".heic"), is_image_suffix(".nef"), is_image_suffix(".mp4")
    (True, True, False)
    """
    return suffix in _BY_PILLOW or suffix in _BY_PACKAGE or suffix in _BY_NOBODY


def how_to_read(suffix: str) -> str:
    """What to do so that files with this suffix can be read.

    Examples
    --------
    >>> how_to_read(".heic"), how_to_read(".nef")
    ('pip install "numpy-siglip[heif]"', 'convert them to JPEG, PNG or TIFF')
    """
    if suffix in _BY_PACKAGE:
        return how_to_install(_BY_PACKAGE[suffix])
    return "convert them to JPEG, PNG or TIFF"


def package_for(begin: bytes) -> str | None:
    r"""The package that reads a file which begins like this, if Pillow alone does not.

    Examples
    --------
    >>> package_for(b"\0\0\0\x18ftypheic"), package_for(b"GIF89a")
    ('pillow_heif', None)
    """
    return next((package for place, mark, package in _MARKS if begin[place:].startswith(mark)), None)


def register(package: str) -> bool:
    """Teach Pillow the format of a package; False if it is not installed.

    Parameters
    ----------
    package : str
        As `package_for` names it.
    """
    try:
        module = import_module(package)  # pillow_jxl registers itself
    except ImportError:
        return False
    if package == "pillow_heif":
        module.register_heif_opener()
    return True


def suffix_of(path: str | Path) -> str:
    """The suffix of a name in lower case.

    Examples
    --------
    >>> suffix_of("IMG_0001.HEIC")
    '.heic'
    """
    return Path(path).suffix.lower()
