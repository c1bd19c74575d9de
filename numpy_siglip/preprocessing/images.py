"""Reading image files."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.checks import check_flag
from ..common.extras import how_to_install
from ..common.reading import panics_as_errors
from ..errors import ImageError
from .image_formats import how_to_read, is_image_suffix, package_for, readable_suffixes, register, suffix_of

if TYPE_CHECKING:
    from PIL import Image

LARGEST_STREAM = 2**30
"""Bytes that are read of an image that comes through a pipe, which does not say how long it is."""

EMPTY_NAME = "an image's name is empty; name a file or a folder (perhaps a variable is not set)"

DECODINGS = ("exact", "fast")
"""How files are decoded: as transformers does, or JPEG at a fraction of its size; see `read_image`."""
_MARGIN = 2

_MOST_GROWTH = 16
_SMALL = 2**20
_ORIENTATION, _SHORT = 0x0112, 3  # of EXIF 2.32, table 4 and section 4.6.2
_TURNS = (
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_270",
    "TRANSVERSE",
    "ROTATE_90",
)
"""What turns an image upright, by the number in its tag, from 2 on."""

_URL = re.compile("(?:https?|ftp|file|data|s3|gs):")


def load_image(path: str | os.PathLike[str], *, apply_exif_orientation: bool = False) -> Image.Image:
    """Read an image file completely, so that nothing can go wrong with it later.

    Parameters
    ----------
    path : str or path-like
        Of an animation, the first frame is read.
    apply_exif_orientation : bool
        Turn the image upright as its EXIF orientation tag asks. Off by default, as when an image
        opened by Pillow is given to transformers.

    Returns
    -------
    PIL.Image.Image
        In the mode of the file, not converted.

    Raises
    ------
    ImageError
        If the file is missing, empty, truncated, not an image, or so large when it is unpacked
        that Pillow takes it for a decompression bomb. The message begins with the path.

    Notes
    -----
    A named pipe, and what a shell makes of ``<(command)``, is read to its end.

    Examples
    --------
    >>> load_image(photo).size
    (640, 427)
    >>> load_image("no-such-photo.jpg")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ImageError: no-such-photo.jpg: no such file
    """
    image = read_image(path)
    return upright(image) if check_flag("apply_exif_orientation", apply_exif_orientation) else image.copy()


def read_image(
    path: str | os.PathLike[str], resized_to: Callable[[int, int], tuple[int, int] | None] | None = None
) -> Image.Image:
    """Do as `load_image`, but give the image as Pillow opened it, with what it knows of its file.

    Parameters
    ----------
    path : str or path-like
    resized_to : callable, optional
        From the height and width of an image to those that it is resized to, or None if it is not. If it is
        given, a JPEG is decoded at a half, a quarter or an eighth of its size, as long as both sides stay
        twice as long as that: from fewer coefficients of each block, which is several times faster and gives
        other pixels.

    Raises
    ------
    ImageError
        As `load_image`.

    Examples
    --------
    >>> read_image(photo, resized_to=lambda height, width: (64, 64)).size
    (320, 214)
    """
    from PIL import Image, UnidentifiedImageError

    if not os.fspath(path):
        raise ImageError(EMPTY_NAME)
    file = Path(path)
    try:
        with panics_as_errors(), _opened(file) as image:
            require_bounded(image, file)
            if resized_to is not None and image.format == "JPEG":
                sides = resized_to(image.height, image.width)
                if sides is not None:  # an image that is turned later has them the other way round
                    image.draft(image.mode, (_MARGIN * max(sides), _MARGIN * max(sides)))
            image.load()
            require_bounded(image, file)
            orientation_of(image)  # read while the file is open; Pillow remembers it
            return image
    except ImageError:
        raise
    except FileNotFoundError as cause:
        if _URL.match(str(path)):
            address = re.sub(":/+", "://", str(path), count=1)  # a Path has made one slash of two
            raise ImageError(
                f"{address}: a URL, which is not fetched; download the image and name its file"
            ) from cause
        if file.is_symlink():
            raise ImageError(f"{file}: a link to {file.readlink()}, which is not there") from cause
        raise ImageError(f"{file}: no such file") from cause
    except UnidentifiedImageError as cause:
        suffix = suffix_of(file)
        if is_image_suffix(suffix) and suffix not in readable_suffixes():
            raise ImageError(f"{file}: {suffix} files are not read here: {how_to_read(suffix)}") from cause
        raise ImageError(f"{file}: not an image in a format that Pillow reads") from cause
    except Image.DecompressionBombError as cause:
        raise ImageError(f"{file}: {_too_large(cause)}") from cause
    except IsADirectoryError as cause:
        raise ImageError(f"{file}: a folder; name one image in it") from cause
    except OSError as cause:
        raise ImageError(f"{file}: cannot be read ({cause.strerror or one_line(cause)})") from cause
    except MemoryError as cause:
        raise ImageError(f"{file}: does not fit in memory; resize it first") from cause
    except Exception as cause:  # Pillow's decoders raise SyntaxError, struct.error and others on damage
        raise ImageError(f"{file}: damaged image ({type(cause).__name__}: {one_line(cause)})") from cause


def _opened(file: Path) -> Image.Image:
    """An image of Pillow, whose header is read; what comes through a pipe is read to its end."""
    from PIL import Image, UnidentifiedImageError

    kind = file.stat()
    source: Any = file
    if not stat.S_ISREG(kind.st_mode) or kind.st_size == 0:  # some network file systems say 0 of every file
        source = io.BytesIO(_content(file, kind.st_mode))
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        begin = source.getvalue()[:32] if source is not file else _begin(file)
        package = package_for(begin)
        if package is None:
            raise
        if not register(package):
            raise ImageError(
                f"{file}: an image that {package} reads, which is not installed: {how_to_install(package)}"
            ) from None
        return Image.open(source)


def _content(file: Path, mode: int) -> bytes:
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise ImageError(f"{file}: a device or a terminal, not an image; name a file or pipe one in")
    with file.open("rb") as stream:
        content = stream.read(LARGEST_STREAM + 1)
    if not content:
        raise ImageError(f"{file}: empty file")
    if len(content) > LARGEST_STREAM:
        raise ImageError(f"{file}: more than {LARGEST_STREAM} bytes came through it; name a file instead")
    return content


def _begin(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(32)


def require_bounded(image: Image.Image, name: object) -> None:
    """Refuse an image without pixels, with far too many, or that unfolds to far more than it says.

    Parameters
    ----------
    image : PIL.Image.Image
    name : object
        What the message begins with.

    Raises
    ------
    ImageError

    Examples
    --------
    >>> from PIL import Image
    >>> require_bounded(Image.new("RGB", (0, 5)), "an image")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ImageError: an image: has 0 x 5 pixels, and so nothing to see
    """
    from PIL import Image

    width, height = image.size
    if width * height == 0:
        raise ImageError(f"{name}: has {width} x {height} pixels, and so nothing to see")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise ImageError(f"{name}: {_too_large(f'{width} x {height}')}")
    if image.format == "EPS":  # Pillow would let Ghostscript run it
        raise ImageError(f"{name}: a program that draws an image (EPS), which is not run; convert it to PNG")
    screen = _screen_of_gif(image)
    if screen and width * height > max(_SMALL, _MOST_GROWTH * screen[0] * screen[1]):
        raise ImageError(
            f"{name}: says that it has {screen[0]} x {screen[1]} pixels and unfolds to {width} x {height}; "
            "it is damaged, or made to fill the memory"
        )


def _screen_of_gif(image: Image.Image) -> tuple[int, int] | None:
    """The size that a GIF says it has; Pillow gives it that of its first frame, if that is larger."""
    stream = getattr(image, "fp", None)
    if image.format != "GIF" or stream is None:
        return None
    place = stream.tell()
    stream.seek(6)  # behind the signature (https://www.w3.org/Graphics/GIF/spec-gif89a.txt, 18)
    screen = stream.read(4)
    stream.seek(place)
    return int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:], "little")


def _too_large(what: object) -> str:
    return (
        f"far too many pixels ({what}); if you trust it, allow more: --max-pixels on the command line, "
        "PIL.Image.MAX_IMAGE_PIXELS in Python"
    )


def orientation_of(image: Image.Image) -> int:
    """How an image asks to be turned, from 1, not at all, to 8; 1 if it says nothing that makes sense.

    Examples
    --------
    >>> from PIL import Image
    >>> orientation_of(Image.new("RGB", (2, 3)))
    1
    """
    block = image.info.get("exif")
    if isinstance(block, bytes):
        value = _tag_in(block)
    else:
        try:
            value = image.getexif().get(_ORIENTATION)  # of a TIFF, or set by a program
        except Exception:  # of a damaged one, Pillow says so in many ways; the pixels are as they are
            return 1
    return value if isinstance(value, int) and 2 <= value <= len(_TURNS) + 1 else 1


def _tag_in(block: bytes) -> int | None:
    """The orientation in a block of EXIF; Pillow gives none if another entry makes no sense."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        (begin,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, begin)
        for place in range(begin + 2, begin + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, place)
            if tag == _ORIENTATION and kind == _SHORT:
                return int(value)
    except struct.error:  # no such block, or one that ends too soon
        pass
    return None


def upright(image: Image.Image) -> Image.Image:
    """An image turned as its EXIF tag asks; nothing else of the EXIF block is looked at or written.

    Parameters
    ----------
    image : PIL.Image.Image

    Returns
    -------
    PIL.Image.Image
        A copy.

    Examples
    --------
    >>> from PIL import Image
    >>> image = Image.new("RGB", (2, 3))
    >>> image.getexif()[0x0112] = 6
    >>> upright(image).size
    (3, 2)
    """
    from PIL import Image

    number = orientation_of(image)
    return image.copy() if number == 1 else image.transpose(getattr(Image.Transpose, _TURNS[number - 2]))


def one_line(error: Exception) -> str:
    r"""What an error of a decoder says, without its line breaks.

    Examples
    --------
    >>> one_line(ValueError("bad\n  chunk"))
    'bad chunk'
    """
    return " ".join(str(error).split())


def is_path(image: Any) -> bool:
    """Whether an image is given as the path of its file.

    Examples
    --------
    >>> is_path("photo.jpg"), is_path(3)
    (True, False)
    """
    return isinstance(image, (str, os.PathLike))


def name_of(image: Any) -> str:
    """What messages call an image: its path, the file that Pillow opened it from, or nothing in particular.

    Examples
    --------
    >>> name_of("photo.jpg"), name_of(3)
    ('photo.jpg', 'an image')
    """
    return str(image if is_path(image) else getattr(image, "filename", "") or "an image")
