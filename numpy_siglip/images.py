"""Finding and reading image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)


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

    if "://" in str(path):
        raise ImageError(f"{path}: a URL, which is not fetched; download the image and name its file")
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
        raise ImageError(f"{file}: no such file") from cause
    except UnidentifiedImageError as cause:
        raise ImageError(f"{file}: not an image in a format that Pillow reads") from cause
    except Image.DecompressionBombError as cause:
        raise ImageError(
            f"{file}: far too many pixels ({cause}); if you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from cause
    except OSError as cause:
        raise ImageError(f"{file}: cannot be read ({cause.strerror or _one_line(cause)})") from cause
    except Exception as cause:  # Pillow's decoders raise SyntaxError, struct.error and others on damage
        raise ImageError(f"{file}: damaged image ({type(cause).__name__}: {_one_line(cause)})") from cause


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Files as they are named, folders searched through for image files, in sorted order.

    A file that is named is taken whatever its suffix; in a folder, and in the folders inside it,
    files with an image's suffix are taken and hidden ones are not.

    Parameters
    ----------
    paths : iterable of str or path-like

    Yields
    ------
    Path
        A path that does not exist is passed on, to fail where it is read.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.JPG", "a.png", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_images([folder, "c.dat"])]
    ['a.png', 'b.JPG', 'c.dat']
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in IMAGE_SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
        else:
            yield path


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def is_path(image: Any) -> bool:
    """Whether an image is given as the path of its file.

    Examples
    --------
    >>> is_path("photo.jpg"), is_path(3)
    (True, False)
    """
    return isinstance(image, (str, os.PathLike))
