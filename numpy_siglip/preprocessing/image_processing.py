"""Images to pixel values of one size, for towers of a fixed resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..common.checks import LARGEST_SIDE, check_return_tensors
from ..errors import ConfigError, ImageError
from ..outputs import BatchFeature
from .image_pixels import list_images, pixels_of, size_of
from .image_settings import check_size, is_for_naflex
from .image_steps import ImageSteps


@dataclass(frozen=True, kw_only=True)
class SiglipImageProcessor(ImageSteps):
    """Turns images into the array that a vision tower takes.

    Parameters
    ----------
    do_convert_rgb : bool
        Convert to RGB, transparency over white. Without it only RGB images are accepted.
    do_resize : bool
    size : dict
        ``{"height": h, "width": w}`` squashes to that size; ``{"shortest_edge": s}`` keeps the aspect.
    resample : int
        Number of the filter in ``PIL.Image.Resampling``; 2 is bilinear, 3 is bicubic.
    do_rescale : bool
    rescale_factor : float
    do_normalize : bool
    image_mean, image_std : float or tuple of float
        For all channels, or one for each.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> from numpy_siglip import SiglipImageProcessor
    >>> processor = SiglipImageProcessor(size={"height": 32, "width": 32})
    >>> pixel_values = processor(images=[photo])["pixel_values"]
    >>> pixel_values.shape, pixel_values.dtype
    ((1, 3, 32, 32), dtype('float32'))
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    size: Mapping[str, int] = field(default_factory=lambda: {"height": 224, "width": 224})

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size))
        super().__post_init__()

    @classmethod
    def _check_kind(cls, values: Mapping[str, Any]) -> None:
        if is_for_naflex(values):
            raise ConfigError(
                "these settings are for images of any aspect ratio: use Siglip2ImageProcessor, or take the "
                "file of a model of fixed resolution"
            )

    def __call__(
        self,
        images: Any,
        *,
        return_tensors: str | None = None,
        apply_exif_orientation: bool = False,
        input_data_format: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Preprocess one image or several.

        Parameters
        ----------
        images : image, or images in a list, a tuple, a generator or several of them nested
            An image is a path, a ``PIL.Image.Image``, or an array of shape (height, width),
            (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels; if both
            ends could be channels, the first is taken. Values run from 0 to 255, or are floats from
            0 to 1. An array of four axes is a batch.
        return_tensors : {"np", None}
            The result is an array of NumPy either way; transformers' programs pass ``"np"``.
        apply_exif_orientation : bool
            Turn images given as paths or by Pillow upright as their EXIF tag asks. Off by default,
            as in transformers.
        input_data_format : {"channels_first", "channels_last", None}
            Where arrays have their channels, if their shapes are not to tell.
        **options
            Settings for this call alone, such as ``do_resize=False``, and what transformers' programs pass
            and has one right value here, such as ``data_format="channels_first"``.

        Returns
        -------
        BatchFeature
            A dictionary of ``pixel_values``, float32 of shape (batch, 3, height, width).

        Raises
        ------
        ImageError
            If there is no image, one cannot be read or is not of a kind listed above, or if the results
            differ in shape, as ``shortest_edge`` may make them.
        ConfigError
            If ``return_tensors`` asks for another library's arrays, or an option for what there is not.
        """
        check_return_tensors(return_tensors)
        asked = self.for_call(options)
        results = [
            asked._pixel_values(image, apply_exif_orientation, input_data_format)
            for image in list_images(images)
        ]
        shapes = {result.shape for result in results}
        if len(shapes) > 1:
            raise ImageError(
                f"the images become arrays of different shapes ({', '.join(map(str, sorted(shapes)))}), "
                "which make no batch; give them one at a time, or set size to a height and a width"
            )
        return BatchFeature(pixel_values=np.stack(results))

    def _pixel_values(
        self, image: Any, apply_exif_orientation: bool, input_data_format: str | None
    ) -> np.ndarray:
        """One image -> float32 (3, height, width)."""
        rgb = self._in_rgb(image, apply_exif_orientation, input_data_format)
        if self.do_resize:
            rgb = self._resize(rgb, *self._target_size(*size_of(rgb)))
        return np.ascontiguousarray(self._scale(pixels_of(rgb)))

    def size_after_resizing(self, height: int, width: int) -> tuple[int, int] | None:
        """Height and width that an image of this size is resized to, or None if it is not.

        Examples
        --------
        >>> SiglipImageProcessor(size={"shortest_edge": 100}).size_after_resizing(200, 400)
        (100, 200)
        """
        return self._target_size(height, width) if self.do_resize else None

    def _target_size(self, height: int, width: int) -> tuple[int, int]:
        size = self.size
        if "height" in size:
            return size["height"], size["width"]
        short, long = min(height, width), max(height, width)
        new_short, new_long = size["shortest_edge"], int(size["shortest_edge"] * long / short)
        if new_short * new_long > LARGEST_SIDE**2:
            raise ImageError(
                f"an image of {width} x {height} pixels would be resized to {new_long} at its long edge, "
                "which is too large to hold; crop it, or set size to a height and a width"
            )
        return (new_short, new_long) if height <= width else (new_long, new_short)
