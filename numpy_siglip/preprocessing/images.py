"""Finding and reading image files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.checks import check_flag
from ..errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)

_URL = re.compile("(?:https?|ftp|file|data|s3|gs):")
_EMPTY_NAME = "an image's name is empty; name a file or a folder (perhaps a variable is not set)"


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

    Examples
    --------
    >>> load_image(photo).size
    (640, 427)
    >>> load_image("no-such-photo.jpg")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ImageError: no-such-photo.jpg: no such file
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_flag("apply_exif_orientation", apply_exif_orientation)
    if not os.fspath(path):
        raise ImageError(_EMPTY_NAME)
    file = Path(path)
    try:
        if file.stat().st_size == 0:
            raise ImageError(f"{file}: empty file")
        with Image.open(file) as image:
            image.load()
            return ImageOps.exif_transpose(image) if apply_exif_orientation else image.copy()
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
        raise ImageError(f"{file}: not an image in a format that Pillow reads") from cause
    except Image.DecompressionBombError as cause:
        raise ImageError(
            f"{file}: far too many pixels ({cause}); if you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from cause
    except OSError as cause:
        raise ImageError(f"{file}: cannot be read ({cause.strerror or one_line(cause)})") from cause
    except Exception as cause:  # Pillow's decoders raise SyntaxError, struct.error and others on damage
        raise ImageError(f"{file}: damaged image ({type(cause).__name__}: {one_line(cause)})") from cause


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Files as they are named, folders searched through for image files, in sorted order.

    A file that is named is taken whatever its suffix; in a folder, and in the folders inside it,
    files with an image's suffix are taken and hidden ones are not. Links to files are taken; a link to
    a folder is followed if it is named, and left alone inside a folder, where it could lead in a circle.

    Parameters
    ----------
    paths : iterable of str or path-like

    Yields
    ------
    Path
        What does not exist or cannot be opened, be it a file, a folder or a link, is passed on, to fail
        where it is read.

    Raises
    ------
    ImageError
        If a name is empty, which would otherwise mean the current folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.JPG", "a.png", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_images([folder, "c.dat"])]
    ['a.png', 'b.JPG', 'c.dat']
    """
    for path in paths:
        if not os.fspath(path):
            raise ImageError(_EMPTY_NAME)
        if _is_folder(path):
            yield from _images_in_folder(Path(path))
        else:
            yield Path(path)


def _images_in_folder(folder: Path) -> Iterator[Path]:
    waiting = [(folder, True)]  # with whether each is a folder; the next one is last
    while waiting:
        path, is_folder = waiting.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name) if is_folder else None
        except OSError:
            entries = None
        if entries is None:
            yield path
            continue
        for entry in reversed(entries):
            is_image = Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and not _is_folder(entry)
            is_folder = entry.is_dir(follow_symlinks=False)
            if not entry.name.startswith(".") and (is_image or is_folder):
                waiting.append((path / entry.name, is_folder))


def _is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether this is a folder or a link to one; no path is too odd to be asked about."""
    return os.path.isdir(path)  # noqa: PTH112  (Path.is_dir raises where it may not look)


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
