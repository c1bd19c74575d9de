"""The loop that every image goes through: preprocessed one by one, computed a batch at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..common.batches import check_batch_size, in_batches
from ..common.checks import check_flag, shown
from ..config.naflex_configuration import VisionConfig
from ..errors import ConfigError, ImageError
from ..kernels.machine.threads import available_threads
from ..outputs import BatchFeature
from ..preprocessing.images import DECODINGS, is_path, name_of, read_image, upright
from .image_inputs import asks_to_be_turned, preprocess_one, single_images, together
from .reading_ahead import reading_threads, run_ahead
from .vision_kinds import ImageProcessor

_LOG = logging.getLogger("numpy_siglip")


class ImageBatch(NamedTuple):
    """Results of some images, in their order."""

    numbers: list[int]
    """Which images of the stream they are, counted from 0"""
    images: list[Any]
    rows: np.ndarray
    """(images, ...)"""


class SkippedImages(NamedTuple):
    """Results of the images that could be read, where ``on_error="skip"`` asks to leave the others out.

    Examples
    --------
    >>> result = SkippedImages(np.zeros((1, 8)), [1], {0: ImageError("a.jpg: no such file")})
    >>> result.indices, str(result.errors[0])
    ([1], 'a.jpg: no such file')
    """

    rows: np.ndarray
    """(images that could be read, ...): what there would be without the others"""
    indices: list[int]
    """Of each row, which image it belongs to, counted from 0"""
    errors: dict[int, ImageError]
    """Why each of the others was left out"""


def run_batches(
    images: Iterable[Any],
    processor: ImageProcessor,
    config: VisionConfig,
    run: Callable[[BatchFeature], np.ndarray],
    *,
    batch_size: int,
    threads: int | None = None,
    apply_exif_orientation: bool = False,
    decode: str = "exact",
    on_error: Callable[[int, Any, ImageError], object] | None = None,
    on_turned: Callable[[Any], object] | None = None,
) -> Iterator[ImageBatch]:
    """Preprocess a stream of images, and hand out the results of each batch as soon as they are there.

    Parameters
    ----------
    images : iterable of images
    processor : SiglipImageProcessor or Siglip2ImageProcessor
    config : SiglipVisionConfig or Siglip2VisionConfig
        Of the tower.
    run : callable
        From a preprocessed batch to one row for each image.
    batch_size : int
    threads : int, optional
        How many read files at the same time, by default as many as the processors this process may use. While
        one batch is computed they read the next.
    apply_exif_orientation : bool
    decode : {"exact", "fast"}
        With ``"fast"``, JPEG files are decoded at a fraction of their size; see `read_image`.
    on_error : callable, optional
        Called with the number of an image that cannot be read, the image and the error; it is then left out.
        Without it, the error is raised, and says which image it was.
    on_turned : callable, optional
        Called with each image that asks to be turned by its EXIF tag, and is not.

    Yields
    ------
    ImageBatch

    Raises
    ------
    ImageError, ConfigError
    """
    turn, batch_size = (
        check_flag("apply_exif_orientation", apply_exif_orientation),
        check_batch_size(batch_size),
    )

    if decode not in DECODINGS:
        raise ConfigError(f"decode is {shown(decode)}; it must be 'exact' or 'fast'")
    resized_to = processor.size_after_resizing if decode == "fast" else None

    def prepare(image: Any) -> tuple[BatchFeature, bool]:
        opened = read_image(image, resized_to) if is_path(image) else image
        asks = asks_to_be_turned(opened)
        return preprocess_one(processor, config, upright(opened) if asks and turn else opened), asks

    with reading_threads(threads or available_threads()) as pool:
        prepared = run_ahead(single_images(images), prepare, pool, apart=is_path, ahead=max(batch_size, 2))
        yield from _computed(in_batches(enumerate(prepared), batch_size), run, turn, on_error, on_turned)


def _computed(
    batches: Iterator[list[Any]],
    run: Callable[[BatchFeature], np.ndarray],
    turn: bool,
    on_error: Callable[[int, Any, ImageError], object] | None,
    on_turned: Callable[[Any], object] | None,
) -> Iterator[ImageBatch]:
    """The results of each batch, without images that cannot be read."""
    for batch in batches:
        numbers, kept, inputs = [], [], []
        for number, (image, outcome) in batch:
            try:
                one, asks = outcome()
            except ImageError as error:
                if on_error is None:
                    raise _told(error, number, image) from error
                on_error(number, image, error)
                continue
            if asks and not turn and on_turned is not None:
                on_turned(image)
            numbers.append(number)
            kept.append(image)
            inputs.append(one)
        if kept:
            yield ImageBatch(numbers, kept, run(together(inputs)))


def collect(
    batches: Callable[..., Iterator[ImageBatch]], width: int, on_error: str = "raise"
) -> np.ndarray | SkippedImages:
    """All rows of a stream in one array, and a line in the log if images ask to be turned.

    Parameters
    ----------
    batches : callable
        `run_batches`, of which ``on_error`` and ``on_turned`` are still open.
    width : int
        Of a row.
    on_error : {"raise", "skip"}
        With ``"skip"``, images that cannot be read are left out, and the result says which.

    Raises
    ------
    ImageError, ConfigError
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is {shown(on_error)}; it must be 'raise' or 'skip'")
    errors: dict[int, ImageError] = {}
    turned: list[Any] = []

    def skip(number: int, image: Any, error: ImageError) -> None:
        errors[number] = error

    found = list(batches(on_error=skip if on_error == "skip" else None, on_turned=turned.append))
    rows = np.concatenate([np.zeros((0, width), np.float32), *(batch.rows for batch in found)])
    if turned:
        _LOG.warning("%s", told_turned(len(turned), "apply_exif_orientation=True"))
    if on_error == "raise":
        return rows
    return SkippedImages(rows, [number for batch in found for number in batch.numbers], errors)


def told_turned(count: int, option: str) -> str:
    """What is said of images that ask to be turned, and are not.

    Examples
    --------
    >>> told_turned(3, "--apply-exif-orientation")
    'taken as stored, though their EXIF tag asks to turn them: 3 images; --apply-exif-orientation turns'
    """
    return (
        f"taken as stored, though their EXIF tag asks to turn them: {count} image"
        f"{'' if count == 1 else 's'}; {option} turns"
    )


def _told(error: ImageError, number: int, image: Any) -> ImageError:
    """The error, with the number of the image if it has no name."""
    if name_of(image) != name_of(None):
        return error
    return ImageError(f"image {number}: {error}")
