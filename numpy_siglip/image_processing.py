"""From images to pixel values, bit for bit as transformers' Pillow backend makes them.

    image -> RGB, transparency over white -> resize by Pillow in uint8 -> x rescale_factor -> (x - mean) / std

The order of roundings matters for equality: the resize rounds to whole numbers, the rescale is
computed in float64 and rounded to float32, and the normalisation is computed in float32.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ConfigError, ImageError
from .hub import locate_model
from .images import is_path, load_image
from .json_file import read_json

if TYPE_CHECKING:
    from PIL import Image

PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
_RESAMPLING_FILTERS = range(6)  # PIL.Image.Resampling: nearest, Lanczos, bilinear, bicubic, box, Hamming


@dataclass(frozen=True)
class SiglipImageProcessor:
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

    do_convert_rgb: bool = True
    do_resize: bool = True
    size: Mapping[str, int] = field(default_factory=lambda: {"height": 224, "width": 224})
    resample: int = 3
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: float | Sequence[float] = (0.5, 0.5, 0.5)
    image_std: float | Sequence[float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _check_size(self.size))
        for name in ("do_convert_rgb", "do_resize", "do_rescale", "do_normalize"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be true or false")
        if type(self.resample) is not int or self.resample not in _RESAMPLING_FILTERS:
            raise ConfigError(f"resample is {self.resample!r}; it must be a PIL filter from 0 to 5")
        if not _is_finite(self.rescale_factor):
            raise ConfigError(f"rescale_factor is {self.rescale_factor!r}; it must be a number")
        for name in ("image_mean", "image_std"):
            object.__setattr__(self, name, _check_channels(name, getattr(self, name)))
        if 0 in self.image_std:  # type: ignore[operator]
            raise ConfigError("image_std holds a zero, and pixels are divided by it")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiglipImageProcessor:
        """Read what transformers writes for an image processor; fields of other steps are ignored.

        Raises
        ------
        ConfigError
            If a value is impossible, or a step is asked for that SigLIP does not have.

        Examples
        --------
        >>> SiglipImageProcessor.from_dict({"size": {"height": 256, "width": 256}, "resample": 2}).resample
        2
        """
        for step in ("do_center_crop", "do_pad"):
            if values.get(step):
                raise ConfigError(f"{step} is true, which is not a step of SigLIP's preprocessing")
        known = {f.name for f in fields(cls)}
        # Null means the default. SigLIP 2 has a null do_convert_rgb, which means to convert.
        return cls(**{name: value for name, value in values.items() if name in known and value is not None})

    @classmethod
    def from_pretrained(cls, model: str | Path, *, revision: str | None = None) -> SiglipImageProcessor:
        """Read ``preprocessor_config.json``, or the image processor in ``processor_config.json``.

        Parameters
        ----------
        model : str or Path
            A folder, a file in it, or a hub id.
        revision : str, optional
            Branch, tag or commit on the hub.

        Raises
        ------
        ConfigError
            If neither file is there, it is not JSON, or a value is impossible.
        """
        location = locate_model(model, revision)
        folder = location if location.is_dir() else location.parent
        for name in (PREPROCESSOR_FILE, PROCESSOR_FILE):
            path = folder / name
            if not path.is_file():
                continue
            values = read_json(path, ConfigError)
            if name == PROCESSOR_FILE:
                values = values.get("image_processor") or {}
                if not isinstance(values, dict) or not values:
                    raise ConfigError(f"{path}: holds no image_processor; add {PREPROCESSOR_FILE}")
            try:
                return cls.from_dict(values)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None
        raise ConfigError(
            f"{folder}: no {PREPROCESSOR_FILE}; put the model's beside its weights, "
            "or construct a SiglipImageProcessor"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, as transformers names them."""
        return {"image_processor_type": "SiglipImageProcessor", **asdict(self)}

    def __call__(self, images: Any, *, apply_exif_orientation: bool = False) -> dict[str, np.ndarray]:
        """Preprocess one image or several.

        Parameters
        ----------
        images : image or sequence of images
            An image is a path, a ``PIL.Image.Image``, or an array of shape (height, width),
            (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels; if both
            ends could be channels, the first is taken. Values run from 0 to 255, or are floats from
            0 to 1. An array of four axes is a batch.
        apply_exif_orientation : bool
            Turn images given as paths or by Pillow upright as their EXIF tag asks. Off by default,
            as in transformers.

        Returns
        -------
        dict
            ``pixel_values``, float32 of shape (batch, 3, height, width).

        Raises
        ------
        ImageError
            If an image cannot be read, is not of a kind listed above, or if the results differ in
            shape, as ``shortest_edge`` may make them.
        """
        results = [self.preprocess(image, apply_exif_orientation) for image in _as_list(images)]
        shapes = {result.shape for result in results}
        if len(shapes) > 1:
            raise ImageError(
                f"the images become arrays of different shapes ({', '.join(map(str, sorted(shapes)))}), "
                "which make no batch; give them one at a time, or set size to a height and a width"
            )
        return {"pixel_values": np.stack(results)}

    def preprocess(self, image: Any, apply_exif_orientation: bool = False) -> np.ndarray:
        """Preprocess one image: an image as above -> float32 (3, height, width)."""
        from PIL import Image, ImageOps

        if is_path(image):
            image = load_image(image, apply_exif_orientation=apply_exif_orientation)
        elif isinstance(image, Image.Image) and apply_exif_orientation:
            image = ImageOps.exif_transpose(image)
        if isinstance(image, Image.Image):
            pixels = self._pixels_of_pillow_image(image)
        else:
            pixels = self._pixels_of_array(image)  # (C, H, W), any real dtype
        if self.do_resize:
            pixels = self._resize(pixels)
        if self.do_rescale:
            pixels = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
        if self.do_normalize:
            if pixels.dtype.kind != "f":
                pixels = pixels.astype(np.float32)
            mean, std = (
                np.array(values, pixels.dtype).reshape(3, 1, 1)
                for values in (self.image_mean, self.image_std)
            )
            pixels = (pixels - mean) / std
        return np.ascontiguousarray(pixels, dtype=np.float32)

    def _pixels_of_pillow_image(self, image: Image.Image) -> np.ndarray:
        """An image of any mode -> (3, H, W) uint8."""
        from PIL import Image

        if not self.do_convert_rgb:
            if image.mode != "RGB":
                raise ImageError(f"the image has mode {image.mode}; do_convert_rgb is off, so it must be RGB")
        elif "A" in image.getbands() or image.info.get("transparency") is not None:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        else:
            image = image.convert("RGB")
        return np.moveaxis(np.asarray(image), -1, 0)

    def _pixels_of_array(self, image: Any) -> np.ndarray:
        """An array in one of the accepted layouts -> (3, H, W)."""
        if isinstance(image, bytes) or hasattr(image, "read"):
            raise ImageError(
                f"an image is given as {type(image).__name__}; open it with PIL.Image.open first"
            )
        array = np.asarray(image)
        if array.dtype.kind not in "uif" or array.size == 0:
            raise ImageError(
                f"not an image: {type(image).__name__} of dtype {array.dtype}, shape {array.shape}"
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
        if not self.do_convert_rgb and len(array) != 3:
            raise ImageError(f"the image has {len(array)} channels; do_convert_rgb is off, so it must be RGB")
        if len(array) == 1:
            return np.repeat(array, 3, axis=0)
        return _composite_over_white(array) if len(array) == 4 else array

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize by Pillow, which takes uint8: (3, H, W) -> (3, height, width), floats stay floats."""
        from PIL import Image

        unit_range = _is_unit_range(pixels)
        if unit_range:
            if self.do_rescale:
                warnings.warn(
                    "an image array holds floats from 0 to 1 and will be rescaled again; "
                    "use an image processor with do_rescale=False for such arrays",
                    stacklevel=4,
                )
            pixels = (pixels.astype(np.float64) * 255).astype(np.float32)
        image = Image.fromarray(np.moveaxis(pixels.astype(np.uint8), 0, -1))
        height, width = self._target_size(*pixels.shape[1:])
        resized = np.moveaxis(
            np.asarray(image.resize((width, height), Image.Resampling(self.resample))), -1, 0
        )
        return (resized.astype(np.float64) * (1 / 255)).astype(np.float32) if unit_range else resized

    def _target_size(self, height: int, width: int) -> tuple[int, int]:
        size = self.size
        if "height" in size:
            return size["height"], size["width"]
        short, long = min(height, width), max(height, width)
        new_short, new_long = size["shortest_edge"], int(size["shortest_edge"] * long / short)
        return (new_short, new_long) if height <= width else (new_long, new_short)


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


def _is_unit_range(pixels: np.ndarray) -> bool:
    """True for floats from 0 to 1, False for whole numbers from 0 to 255, an error for the rest."""
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


def _as_list(images: Any) -> list[Any]:
    """Several images as a list; a single one as a list of one."""
    if isinstance(images, (list, tuple)):
        if not images:
            raise ImageError("no images given")
        return list(images)
    if getattr(images, "ndim", None) == 4:
        return list(images)
    return [images]


def _check_size(size: Any) -> dict[str, int]:
    if isinstance(size, int) and not isinstance(size, bool):
        size = {"shortest_edge": size}  # what a bare number means to transformers' SigLIP processor
    if isinstance(size, Mapping):
        present = {name: value for name, value in size.items() if value is not None}
        right = set(present) in ({"height", "width"}, {"shortest_edge"})
        if right and all(type(value) is int and value > 0 for value in present.values()):
            return present
    raise ConfigError(
        f"size is {size!r}; expected positive integers: {{'height': h, 'width': w}} or {{'shortest_edge': s}}"
    )


def _check_channels(name: str, values: Any) -> tuple[float, ...]:
    listed = tuple(values) if isinstance(values, (list, tuple)) else (values,) * 3
    if len(listed) != 3 or not all(_is_finite(value) for value in listed):
        raise ConfigError(f"{name} is {values!r}; expected a number, or three numbers")
    return listed


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
