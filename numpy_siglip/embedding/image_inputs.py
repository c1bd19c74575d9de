"""From what a user hands over as images to what a tower takes, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..common.checks import shown
from ..config.naflex_configuration import VisionConfig
from ..config.vision_configuration import SiglipVisionConfig
from ..errors import ImageError
from ..outputs import BatchFeature
from ..preprocessing.image_pixels import flattened, is_column
from ..preprocessing.image_search import find_images, is_folder
from ..preprocessing.images import is_path, name_of, orientation_of
from ..preprocessing.other_images import is_image_file
from .vision_kinds import ImageProcessor


def as_iterable(images: Any) -> Iterable[Any]:
    """One image as a list of one. An array of four axes is a batch already, a folder or a pattern are many.

    Examples
    --------
    >>> as_iterable("a.jpg"), list(as_iterable(["a.jpg", "b.jpg"]))
    (['a.jpg'], ['a.jpg', 'b.jpg'])
    """
    if is_column(images):
        return images.tolist()
    if (
        is_path(images)
        or is_image_file(images)
        or hasattr(images, "convert")
        or getattr(images, "ndim", 4) < 4
    ):
        return [images]
    try:
        return iter(images)
    except TypeError:  # no image either, which is for the processor to say
        return [images]


def single_images(images: Any) -> Iterator[Any]:
    """Each image by itself, however they are nested; of a folder or a pattern, each of its files.

    Raises
    ------
    ImageError
        If a picture stands beside an array of several, or no file fits a pattern.

    Examples
    --------
    >>> list(single_images([["a.jpg", "b.jpg"], "c.jpg"]))
    ['a.jpg', 'b.jpg', 'c.jpg']
    >>> photo in single_images(photo.parent)
    True
    """
    for image in flattened(iter(as_iterable(images))):
        if is_path(image) and str(image) and (is_folder(image) or "*" in str(image)):
            yield from find_images([image])
        else:
            yield image


def readable_images(
    processor: ImageProcessor,
    images: Any,
    on_error: Callable[[Any, ImageError], object] | None = None,
    most: int | None = None,
) -> list[Any]:
    """Those of some images that a processor takes, be they nested, a folder or a pattern.

    Parameters
    ----------
    processor : SiglipImageProcessor or Siglip2ImageProcessor
    images : image or images
    on_error : callable, optional
        Called with each of the others and the error; without it, the error is raised.
    most : int, optional
        How many are wanted at most.

    Raises
    ------
    ImageError
        If there is none, or one is not taken and there is no ``on_error``.

    Examples
    --------
    >>> from numpy_siglip import SiglipImageProcessor
    >>> readable_images(SiglipImageProcessor(), ["none.jpg", photo], lambda image, error: None) == [photo]
    True
    """
    found: list[Any] = []
    for image in single_images(images):
        if most is not None and len(found) == most:
            break
        try:
            processor(image)
        except ImageError as error:
            if on_error is None:
                raise
            on_error(image, error)
        else:
            found.append(image)
    if not found:
        raise ImageError(f"{shown(images)}: no images that can be read")
    return found


def asks_to_be_turned(image: Any) -> bool:
    """Whether an image of Pillow has an EXIF tag that says that it lies on its side or on its head.

    Examples
    --------
    >>> asks_to_be_turned("photo.jpg")
    False
    """
    return hasattr(image, "getexif") and orientation_of(image) != 1


def preprocess_one(processor: ImageProcessor, config: VisionConfig, image: Any) -> BatchFeature:
    """One image as a batch of one, of a size that the tower takes.

    Raises
    ------
    ImageError
        If it becomes an array of another size.
    """
    inputs = processor(image)
    if isinstance(config, SiglipVisionConfig) and not config.takes(*inputs.pixel_values.shape[2:]):
        height, width = inputs.pixel_values.shape[2:]
        raise ImageError(
            f"{name_of(image)}: becomes {height} x {width} pixels by this "
            f"preprocessing, and the model takes images of {config.image_size}; resize or crop it first, "
            "or change the preprocessing"
        )
    return inputs


def together(images: list[BatchFeature]) -> BatchFeature:
    """Several batches of one as one batch.

    Examples
    --------
    >>> one = BatchFeature(pixel_values=np.zeros((1, 3, 4, 4), np.float32))
    >>> together([one, one]).pixel_values.shape
    (2, 3, 4, 4)
    """
    if len(images) == 1:
        return images[0]
    return BatchFeature({name: np.concatenate([inputs[name] for inputs in images]) for name in images[0]})
