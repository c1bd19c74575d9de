"""From images to pixel values, bit for bit as transformers' Pillow backend makes them.

    image -> RGB, transparency over white -> resize by Pillow in uint8 -> x rescale_factor -> (x - mean) / std

The order of roundings matters for equality: the resize rounds to whole numbers, the rescale is
computed in float64 and rounded to float32, and the normalisation is computed in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from .checks import LARGEST_SIDE, check_mapping, is_finite, shown
from .errors import ConfigError, ImageError
from .hub import locate_model
from .image_pixels import image_pixels, is_unit_range, list_images
from .image_settings import check_channels, check_resample, check_size
from .json_file import read_first_json
from .layouts.description import read_preprocessing
from .outputs import BatchFeature

PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"


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
        object.__setattr__(self, "size", check_size(self.size))
        for name in ("do_convert_rgb", "do_resize", "do_rescale", "do_normalize"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {shown(getattr(self, name))}; it must be true or false")
        object.__setattr__(self, "resample", check_resample(self.resample))
        if not is_finite(self.rescale_factor):
            raise ConfigError(
                f"rescale_factor is {shown(self.rescale_factor)}; it must be a number of float32"
            )
        for name in ("image_mean", "image_std"):
            object.__setattr__(self, name, check_channels(name, getattr(self, name)))
        if 0 in np.asarray(self.image_std, np.float32):
            raise ConfigError("image_std holds a zero in float32, and pixels are divided by it")

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
        check_mapping("the configuration", values)
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
        CheckpointError
            If the model is not found.

        Examples
        --------
        >>> SiglipImageProcessor.from_pretrained(model_folder).size
        {'height': 44, 'width': 44}
        """
        return read_processor(locate_model(model, revision))[1]

    def to_dict(self) -> dict[str, Any]:
        """All fields, as transformers names them."""
        return {"image_processor_type": "SiglipImageProcessor", **asdict(self)}

    def __call__(
        self, images: Any, *, return_tensors: str | None = None, apply_exif_orientation: bool = False
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
            If ``return_tensors`` asks for another library's arrays.
        """
        if return_tensors not in (None, "np"):
            advice = "; for torch, torch.from_numpy(result.pixel_values)" if return_tensors == "pt" else ""
            raise ConfigError(
                f"return_tensors is {shown(return_tensors)}, and results here are arrays of NumPy: pass 'np' "
                f"or leave it out{advice}"
            )
        results = [self.preprocess(image, apply_exif_orientation) for image in list_images(images)]
        shapes = {result.shape for result in results}
        if len(shapes) > 1:
            raise ImageError(
                f"the images become arrays of different shapes ({', '.join(map(str, sorted(shapes)))}), "
                "which make no batch; give them one at a time, or set size to a height and a width"
            )
        return BatchFeature(pixel_values=np.stack(results))

    def preprocess(self, image: Any, apply_exif_orientation: bool = False) -> np.ndarray:
        """Preprocess one image: an image as above -> float32 (3, height, width)."""
        pixels = image_pixels(
            image, do_convert_rgb=self.do_convert_rgb, apply_exif_orientation=apply_exif_orientation
        )
        if self.do_resize:
            pixels = self._resize(pixels)
        # Extreme factors overflow to infinity, as in transformers; the model's caller sees to that.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.do_rescale:
                pixels = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
            if self.do_normalize:
                pixels = self._normalize(pixels)
            return np.ascontiguousarray(pixels, dtype=np.float32)

    def _normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Shift and scale each channel in the array's own precision: (3, H, W) -> (3, H, W)."""
        if pixels.dtype.kind != "f":
            pixels = pixels.astype(np.float32)
        mean, std = (
            np.array(values, pixels.dtype).reshape(3, 1, 1) for values in (self.image_mean, self.image_std)
        )
        return (pixels - mean) / std

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize by Pillow, which takes uint8: (3, H, W) -> (3, height, width), floats stay floats."""
        from PIL import Image

        unit_range = is_unit_range(pixels)
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
        if new_short * new_long > LARGEST_SIDE**2:
            raise ImageError(
                f"an image of {width} x {height} pixels would be resized to {new_long} at its long edge, "
                "which is too large to hold; crop it, or set size to a height and a width"
            )
        return (new_short, new_long) if height <= width else (new_long, new_short)


def read_processor(location: Path) -> tuple[Path, SiglipImageProcessor]:
    """The image processor of a model, and the file that describes it.

    Parameters
    ----------
    location : Path
        The folder of the model, or a file in it.

    Raises
    ------
    ConfigError
        See `SiglipImageProcessor.from_pretrained`.

    Examples
    --------
    >>> read_processor(model_folder)[0].name
    'preprocessor_config.json'
    """
    folder = location if location.is_dir() else location.parent
    names = [PREPROCESSOR_FILE, PROCESSOR_FILE]
    inferred = None if any((folder / name).exists() for name in names) else read_preprocessing(location)
    path, values = inferred or read_first_json(
        location,
        names,
        ConfigError,
        missing="put the model's beside its weights, or construct a SiglipImageProcessor",
    )
    if path.name == PROCESSOR_FILE:
        values = values.get("image_processor") or {}
        if not isinstance(values, dict) or not values:
            raise ConfigError(f"{path}: holds no image_processor; add {PREPROCESSOR_FILE}")
    try:
        return path, SiglipImageProcessor.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
