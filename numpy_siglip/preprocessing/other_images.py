"""Images in the forms that other programs hold them in: the bytes of a file, and tensors of torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.checks import shown
from ..common.reading import unexpected_as
from ..common.tensors import without_torch
from ..errors import ConfigError, ImageError
from .images import require_bounded

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("channels_first", "channels_last", "none")


def is_image_file(image: Any) -> bool:
    """Whether an image is given as the content of its file.

    Examples
    --------
    >>> is_image_file(photo.read_bytes()), is_image_file("photo.jpg")
    (True, False)
    """
    return isinstance(image, (bytes, bytearray, memoryview))


def in_known_format(image: Any, input_data_format: str | None = None) -> Any:
    """An image in one of the forms that are read: a path, an image of Pillow, or an array.

    Parameters
    ----------
    image : object
        One of those, the content of a file, or a tensor; anything else is returned as it is.
    input_data_format : {"channels_first", "channels_last", "none", None}
        Where an array of three axes has its channels; by default its shape tells.

    Raises
    ------
    ImageError
        If the content is that of no image.
    ConfigError
        If there is no such format.

    Examples
    --------
    >>> in_known_format(photo.read_bytes()).size
    (640, 427)
    >>> in_known_format(np.zeros((3, 20, 3)), "channels_last").shape
    (3, 3, 20)
    """
    if input_data_format is not None and input_data_format not in _FORMATS:
        raise ConfigError(
            f"input_data_format is {shown(input_data_format)}; there are: {', '.join(_FORMATS[:2])}"
        )
    if is_image_file(image):
        return _opened(bytes(image))
    image = without_torch(image)
    if input_data_format == "channels_last" and isinstance(image, np.ndarray) and image.ndim == 3:
        return np.moveaxis(image, -1, 0)
    return image


def _opened(content: bytes) -> Image.Image:
    """The image in the content of a file, decoded."""
    from PIL import Image, UnidentifiedImageError

    name = f"an image given as {len(content)} bytes"
    with unexpected_as(ImageError, name, "pass the whole content of its file"):
        try:
            image = Image.open(io.BytesIO(content))
        except UnidentifiedImageError as cause:
            raise ImageError(f"{name}: not an image in a format that Pillow reads") from cause
        require_bounded(image, name)
        image.load()
        require_bounded(image, name)
    return image
