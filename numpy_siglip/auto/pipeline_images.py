"""Images as transformers' pipelines take them: turned upright, and without their transparency."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from ..common.tensors import without_torch
from ..errors import ImageError
from ..preprocessing.images import is_path, load_image
from ..preprocessing.other_images import in_known_format

_DATA_URL = "data:image/"


def pipeline_image(image: Any) -> Any:
    """An image in RGB, upright as its EXIF tag asks; an array or a tensor as an array.

    Elsewhere in this package, as in transformers' image processors, nothing is turned unless it is asked for,
    and transparency is laid over white. Pipelines of transformers turn, and drop it.

    Parameters
    ----------
    image : path, PIL.Image.Image, bytes, array or data URL

    Raises
    ------
    ImageError
        If it cannot be read.

    Examples
    --------
    >>> pipeline_image(photo).mode
    'RGB'
    """
    from PIL import Image, ImageOps

    if isinstance(image, str) and image.startswith(_DATA_URL):
        image = _content_of(image)
    if is_path(image):
        return load_image(image, apply_exif_orientation=True).convert("RGB")
    image = in_known_format(image)
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image).convert("RGB")
    return without_torch(image)


def is_one_image(images: Any) -> bool:
    """Whether a pipeline is given a single image, and so returns a single result.

    Examples
    --------
    >>> is_one_image("photo.jpg"), is_one_image(["photo.jpg"])
    (True, False)
    """
    return not isinstance(images, (list, tuple, Iterator)) and getattr(images, "ndim", 3) < 4


def _content_of(address: str) -> bytes:
    """The content of the file that a data URL is written in."""
    _, _, content = address.partition(",")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise ImageError(f"{address[:40]}...: a data URL whose content is not base64 ({cause})") from cause
