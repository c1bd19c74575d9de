"""From images of any kind to arrays of three channels: what is converted before anything is resized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.checks import as_array, shown
from ..common.reading import panics_as_errors
from ..errors import ImageError
from .images import is_path, name_of, one_line, read_image, require_bounded, upright

if TYPE_CHECKING:
    from PIL import Image


def list_images(images: Any) -> list[Any]:
    """Several images as a list, whatever they are nested in; a single one as a list of one.

    Raises
    ------
    ImageError
        If there is none.

    Examples
    --------
    >>> list_images("a.jpg"), list_images([["a.jpg"], ("b.jpg", "c.jpg")])
    (['a.jpg'], ['a.jpg', 'b.jpg', 'c.jpg'])
    """
    listed = list(flattened(images))
    if not listed:
        raise ImageError("no images given")
    return listed


def flattened(images: Any) -> Iterator[Any]:
    """Each of several images, whatever they are nested in, one at a time; a single one as it is.

    Examples
    --------
    >>> list(flattened(["a.jpg", [], ("b.jpg", iter(["c.jpg"]))]))
    ['a.jpg', 'b.jpg', 'c.jpg']
    """
    if isinstance(images, (list, tuple, Iterator)) and not hasattr(images, "read"):  # no open file
        batches: bool | None = None
        for index, inner in enumerate(images):
            is_batch = getattr(inner, "ndim", None) == 4
            if batches is not None and is_batch != batches:
                raise ImageError(
                    f"entry {index} is {'an array of several images' if is_batch else 'one image'}, and "
                    f"{'no' if is_batch else 'each'} entry before it was one of several; give images one by "
                    "one, or arrays of four axes alone"
                )
            batches = is_batch
            yield from flattened(inner)
    elif getattr(images, "ndim", None) == 4:
        yield from images
    elif is_column(images):
        yield from images.tolist()
    else:
        yield images


def is_column(images: Any) -> bool:
    """Whether images come in an array of one axis or a column of a table, as paths do.

    Examples
    --------
    >>> is_column(np.array(["a.jpg", "b.jpg"])), is_column(np.zeros(3)), is_column("a.jpg")
    (True, False, False)
    """
    if is_path(images) or not hasattr(images, "tolist") or not hasattr(images, "__len__"):
        return False
    if isinstance(images, np.ndarray):
        return images.ndim == 1 and images.dtype.kind in "OUT"
    # A column of pandas or of polars, or an array of arrow: what they hold is known by the first of it.
    shape = getattr(images, "shape", (len(images),))
    return len(shape) == 1 and len(images) > 0 and not isinstance(next(iter(images)), (int, float, np.number))


def image_in_rgb(
    image: Any, *, do_convert_rgb: bool, apply_exif_orientation: bool
) -> Image.Image | np.ndarray:
    """A path or an image of Pillow -> an image of Pillow in RGB; an array -> (3, H, W).

    A photograph of twelve megapixels is decoded into the memory from which Pillow resizes it: an array of it
    would be a copy, and so would be the way back.

    Parameters
    ----------
    image : path, PIL.Image.Image or array
        As `SiglipImageProcessor` takes it.
    do_convert_rgb : bool
        Without it, only RGB is accepted.
    apply_exif_orientation : bool
        Has no effect on arrays.

    Raises
    ------
    ImageError
        If it cannot be read, is no image, or cannot be converted.

    Examples
    --------
    >>> image_in_rgb(photo, do_convert_rgb=True, apply_exif_orientation=False).size
    (640, 427)
    """
    from PIL import Image

    if is_path(image):
        image = read_image(image)
    elif isinstance(image, Image.Image):
        require_bounded(image, name_of(image))
    if not isinstance(image, Image.Image):
        return _pixels_of_array(image, do_convert_rgb)
    return _in_rgb(_decoded(image) if apply_exif_orientation else image, do_convert_rgb)


def size_of(image: Image.Image | np.ndarray) -> tuple[int, int]:
    """Height and width of what `image_in_rgb` returns.

    Examples
    --------
    >>> size_of(np.zeros((3, 4, 5))), size_of(image_in_rgb(
    ...     photo, do_convert_rgb=True, apply_exif_orientation=False))
    ((4, 5), (427, 640))
    """
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[2]
    return image.height, image.width


def pixels_of(image: Image.Image | np.ndarray) -> np.ndarray:
    """The pixels of what `image_in_rgb` returns: (3, H, W), of uint8 unless an array was given."""
    return image if isinstance(image, np.ndarray) else np.moveaxis(np.asarray(image), -1, 0)


def _in_rgb(image: Image.Image, do_convert_rgb: bool) -> Image.Image:
    """An image of any mode, decoded, in RGB."""
    from PIL import Image

    if not do_convert_rgb and image.mode != "RGB":
        raise ImageError(f"the image has mode {image.mode}; do_convert_rgb is off, so it must be RGB")
    try:
        with panics_as_errors():
            if do_convert_rgb and ("A" in image.getbands() or image.info.get("transparency") is not None):
                white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, image.convert("RGBA"))
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except Exception as cause:  # an opened file is only now decoded, and not every mode becomes RGB
        problem = (
            "cannot be decoded"
            if image.mode == "RGB"
            else f"cannot be converted to RGB from mode {image.mode}"
        )
        raise ImageError(f"{name_of(image)}: {problem} ({one_line(cause)})") from cause


def _decoded(image: Image.Image) -> Image.Image:
    """An image turned upright, which decodes it."""
    try:
        with panics_as_errors():
            return upright(image)
    except Exception as cause:
        raise ImageError(f"{name_of(image)}: cannot be decoded ({one_line(cause)})") from cause


def _pixels_of_array(image: Any, do_convert_rgb: bool) -> np.ndarray:
    """An array in one of the accepted layouts -> (3, H, W)."""
    if isinstance(image, bytes) or hasattr(image, "read"):
        raise ImageError(f"an image is given as {type(image).__name__}; open it with PIL.Image.open first")
    if isinstance(image, (list, tuple, dict)) or image is None:
        raise ImageError(f"not an image: {shown(image)}; expected an array, a path or an image of Pillow")
    array = as_array("an image", image, ImageError)
    if array.dtype.kind not in "uif" or array.size == 0:
        advice = "; a mask becomes an image by mask * np.uint8(255)" if array.dtype.kind == "b" else ""
        raise ImageError(
            f"not an image: {type(image).__name__} of dtype {array.dtype}, shape {array.shape}{advice}"
        )
    if array.ndim == 0:
        raise ImageError(
            "an image is given as a single number; expected an array, a path or an image of Pillow: "
            "nested lists of numbers become an array by numpy.array"
        )
    if array.ndim == 2:
        array = array[None]
    elif array.ndim != 3 or not {array.shape[0], array.shape[2]} & {1, 3, 4}:
        raise ImageError(
            f"an image array has shape {array.shape}; expected (height, width, channels) or "
            "(channels, height, width) with 1, 3 or 4 channels"
        )
    elif array.shape[0] not in (1, 3, 4):
        array = np.moveaxis(array, -1, 0)
    if not do_convert_rgb and len(array) != 3:
        raise ImageError(f"the image has {len(array)} channels; do_convert_rgb is off, so it must be RGB")
    if len(array) == 1:
        return np.repeat(array, 3, axis=0)
    return _composite_over_white(array) if len(array) == 4 else array


def _composite_over_white(array: np.ndarray) -> np.ndarray:
    """Blend by the fourth channel over white: (4, H, W) -> (3, H, W), the same dtype."""
    whole = array.dtype.kind != "f"
    if not whole and (array.min() < 0 or array.max() > 1):
        raise ImageError(
            f"an image array with transparency holds floats from {array.min()} to {array.max()}; "
            "they must lie between 0 and 1"
        )
    white = 255 if whole else 1.0
    alpha = array[3:] / white
    blended = alpha * array[:3] + (1 - alpha) * white
    return (np.round(blended) if whole else blended).astype(array.dtype)


def is_unit_range(pixels: np.ndarray) -> bool:
    """True for floats from 0 to 1, False for whole numbers from 0 to 255, an error for the rest.

    Examples
    --------
    >>> is_unit_range(np.array([0.0, 0.5])), is_unit_range(np.array([0, 255]))
    (True, False)
    """
    if pixels.dtype == np.uint8:
        return False
    low, high = pixels.min(), pixels.max()
    if pixels.dtype.kind != "f" or (np.isfinite([low, high]).all() and np.allclose(pixels, np.trunc(pixels))):
        if low >= 0 and high <= 255:
            return False
    elif low >= 0 and high <= 1:
        return True
    raise ImageError(
        f"an image array of dtype {pixels.dtype} holds values from {low} to {high}; "
        "expected whole numbers from 0 to 255, or floats from 0 to 1"
    )
