"""Images of any aspect ratio to rows of patches, for the NaFlex towers of SigLIP 2.

    image (H, W) -> at most max_num_patches whole patches, nearly the same aspect ratio
    patch (P, P, 3) -> one row, read left to right and down, the three colours of a pixel together

The rows of an image stand in reading order; rows of zeros fill up what is left of max_num_patches.
Tschannen et al., 2025, section 2.4, https://arxiv.org/abs/2502.14786; bit for bit
``Siglip2ImageProcessorPil`` in transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..common.checks import LARGEST_SIDE, check_integer, check_return_tensors
from ..errors import ConfigError, ImageError
from ..outputs import BatchFeature
from .image_pixels import list_images, pixels_of, size_of
from .image_settings import is_for_naflex
from .image_steps import ImageSteps

LARGEST_NUM_PATCHES = 2**16
"""Of one image: sixteen million pixels in patches of 16. More is a mistake in a file or a call."""

_SMALLEST_SCALE, _LARGEST_SCALE, _SCALE_TOLERANCE = 1e-6, 100.0, 1e-5


def fit_to_patches(height: int, width: int, patch_size: int, max_num_patches: int) -> tuple[int, int]:
    """The largest size of an image, in pixels, that is a grid of at most so many whole patches.

    Both sides are multiplied by one scale and rounded up to whole patches, so that the aspect ratio changes
    by less than one patch. Small images are enlarged, up to a hundredfold. The scale is found by bisection
    to 1e-5, as in transformers: where a finer search would find room for another row, none is taken.

    Parameters
    ----------
    height, width : int
        Of the image.
    patch_size : int
    max_num_patches : int

    Returns
    -------
    height, width : int
        Multiples of ``patch_size``.

    Examples
    --------
    >>> fit_to_patches(427, 640, patch_size=16, max_num_patches=256)
    (208, 304)
    >>> fit_to_patches(1, 1000, patch_size=16, max_num_patches=256)
    (16, 4096)
    """

    def grid(scale: float) -> tuple[int, int]:
        rows, columns = (max(1, math.ceil(side * scale / patch_size)) for side in (height, width))
        return rows, columns

    fits, exceeds = _SMALLEST_SCALE, _LARGEST_SCALE
    while exceeds - fits >= _SCALE_TOLERANCE:
        middle = (fits + exceeds) / 2
        rows, columns = grid(middle)
        if rows * columns <= max_num_patches:
            fits = middle
        else:
            exceeds = middle
    rows, columns = grid(fits)
    return rows * patch_size, columns * patch_size


def cut_into_patches(pixels: np.ndarray, patch_size: int) -> np.ndarray:
    """One row for each patch: (3, H, W) -> (H / P * W / P, P * P * 3), the colours of a pixel together.

    Examples
    --------
    >>> pixels = np.arange(12).reshape(3, 2, 2)  # red 0 to 3, green 4 to 7, blue 8 to 11
    >>> cut_into_patches(pixels, patch_size=1)[1].tolist()
    [1, 5, 9]
    """
    channels, height, width = pixels.shape
    grid = pixels.reshape(channels, height // patch_size, patch_size, width // patch_size, patch_size)
    return grid.transpose(1, 3, 2, 4, 0).reshape(-1, patch_size * patch_size * channels)


@dataclass(frozen=True, kw_only=True)
class Siglip2ImageProcessor(ImageSteps):
    """Turns images of any aspect ratio into the patches that a NaFlex vision tower takes.

    Parameters
    ----------
    do_convert_rgb : bool
        Convert to RGB, transparency over white. Without it only RGB images are accepted.
    do_resize : bool
        Without it, images must be whole patches already, and not too many.
    resample : int
        Number of the filter in ``PIL.Image.Resampling``; 2 is bilinear, 3 is bicubic.
    do_rescale : bool
    rescale_factor : float
    do_normalize : bool
    image_mean, image_std : float or tuple of float
        For all channels, or one for each.
    patch_size : int
        Side of a patch in pixels.
    max_num_patches : int
        How many patches an image may have. Fewer cost less, more show more; the published towers were
        trained with up to 1024.

    Raises
    ------
    ConfigError
        If a value is impossible; the message names the field.

    Examples
    --------
    >>> from numpy_siglip import Siglip2ImageProcessor
    >>> inputs = Siglip2ImageProcessor()(images=[photo])
    >>> inputs.pixel_values.shape, inputs.spatial_shapes.tolist(), int(inputs.pixel_attention_mask.sum())
    ((1, 256, 768), [[13, 19]], 247)
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "pixel_attention_mask", "spatial_shapes"]

    resample: int = 2
    patch_size: int = 16
    max_num_patches: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "patch_size", check_integer("patch_size", self.patch_size, largest=LARGEST_SIDE)
        )
        object.__setattr__(self, "max_num_patches", self._check_num_patches(self.max_num_patches))
        super().__post_init__()

    @classmethod
    def _check_kind(cls, values: Mapping[str, Any]) -> None:
        if not is_for_naflex(values) and ("image_processor_type" in values or "size" in values):
            raise ConfigError(
                "these settings are for images of one size: use SiglipImageProcessor, or take the file of a "
                "NaFlex model"
            )

    def __call__(
        self,
        images: Any,
        *,
        max_num_patches: int | None = None,
        return_tensors: str | None = None,
        apply_exif_orientation: bool = False,
        input_data_format: str | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Preprocess one image or several.

        Parameters
        ----------
        images : image, or images in a list, a tuple, a generator or several of them nested
            See `SiglipImageProcessor`.
        max_num_patches : int, optional
            Instead of the processor's own.
        return_tensors : {"np", None}
            The results are arrays of NumPy either way.
        apply_exif_orientation : bool
            Turn images given as paths or by Pillow upright as their EXIF tag asks.
        input_data_format, **options
            As for `SiglipImageProcessor`.

        Returns
        -------
        BatchFeature
            ``pixel_values``, float32 of shape (batch, max_num_patches, patch_size * patch_size * 3), the rows
            of an image filled up with zeros; ``pixel_attention_mask``, int32 of shape (batch,
            max_num_patches), 1 for the image's own rows; and ``spatial_shapes``, int64 of shape (batch, 2),
            the rows and columns of its grid.

        Raises
        ------
        ImageError
            If there is no image, one cannot be read, or, where ``do_resize`` is off, does not fit.
        ConfigError
            If ``max_num_patches`` is impossible, ``return_tensors`` asks for another library's arrays, or an
            option for what there is not.
        """
        check_return_tensors(return_tensors)
        asked = self.for_call({**options, "max_num_patches": max_num_patches})
        length, patch_size = asked.max_num_patches, asked.patch_size
        listed = list_images(images)
        pixel_values = np.zeros((len(listed), length, patch_size**2 * 3), np.float32)
        mask = np.zeros((len(listed), length), np.int32)
        spatial_shapes = np.empty((len(listed), 2), np.int64)
        for index, image in enumerate(listed):
            pixels = asked._fitted(image, apply_exif_orientation, input_data_format)
            patches = cut_into_patches(pixels, patch_size)
            pixel_values[index, : len(patches)] = patches
            mask[index, : len(patches)] = 1
            spatial_shapes[index] = np.array(pixels.shape[1:]) // patch_size
        return BatchFeature(
            pixel_values=pixel_values, pixel_attention_mask=mask, spatial_shapes=spatial_shapes
        )

    def size_after_resizing(self, height: int, width: int) -> tuple[int, int] | None:
        """Height and width that an image of this size is resized to, or None if it is not.

        Examples
        --------
        >>> from numpy_siglip import Siglip2ImageProcessor
        >>> Siglip2ImageProcessor(patch_size=16, max_num_patches=256).size_after_resizing(480, 640)
        (224, 288)
        """
        if not self.do_resize:
            return None
        return fit_to_patches(height, width, self.patch_size, self.max_num_patches)

    def _fitted(self, image: Any, apply_exif_orientation: bool, input_data_format: str | None) -> np.ndarray:
        """One image as a grid of whole patches: float32 (3, height, width)."""
        max_num_patches = self.max_num_patches
        rgb = self._in_rgb(image, apply_exif_orientation, input_data_format)
        height, width = size_of(rgb)
        if self.do_resize:
            fitted = fit_to_patches(height, width, self.patch_size, max_num_patches)
            return self._scale(self._resize(rgb, *fitted))
        too_many = height * width > max_num_patches * self.patch_size**2
        if too_many or height % self.patch_size or width % self.patch_size:
            raise ImageError(
                f"an image of {width} x {height} pixels is not a grid of at most {max_num_patches} patches "
                f"of {self.patch_size} pixels; resize it, or set do_resize to true"
            )
        return self._scale(pixels_of(rgb))

    def _check_num_patches(self, value: Any) -> int:
        """A number of patches that memory can hold, even if they are a single long row."""
        largest = min(LARGEST_NUM_PATCHES, LARGEST_SIDE**2 // self.patch_size**2)
        return check_integer("max_num_patches", value, largest=largest)
