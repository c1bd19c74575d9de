"""The steps that every image processor is made of, bit for bit as transformers' Pillow backend takes them.

    image -> RGB, transparency over white -> resize by Pillow in uint8 -> x rescale_factor -> (x - mean) / std

The order of roundings matters for equality: the resize rounds to whole numbers, the rescale is
computed in float64 and rounded to float32, and the normalisation is computed in float32.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import PREPROCESSOR_FILE, PROCESSOR_FILE
from ..checkpoints.loading_keywords import PREPROCESSING_KEYWORDS, download_options
from ..checkpoints.saving import json_writer, save_files
from ..common.checks import check_flag, check_mapping, is_finite, shown
from ..common.json_file import read_json_if_there
from ..common.keywords import check_keywords, parameters_of
from ..common.reading import unexpected_as
from ..errors import ConfigError
from ..outputs import BatchFeature
from .call_keywords import IMAGE_KEYWORDS
from .image_pixels import image_in_rgb, is_unit_range, pixels_of
from .image_settings import check_channels, check_resample
from .other_images import in_known_format

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class ImageSteps:
    """Settings and steps that image processors share, and how they are read from a model's files.

    The parameters are those of `SiglipImageProcessor`, without the size.
    """

    do_convert_rgb: bool = True
    do_resize: bool = True
    resample: int = 3
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: float | Sequence[float] = (0.5, 0.5, 0.5)
    image_std: float | Sequence[float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        for name in ("do_convert_rgb", "do_resize", "do_rescale", "do_normalize"):
            object.__setattr__(self, name, check_flag(name, getattr(self, name)))
        object.__setattr__(self, "resample", check_resample(self.resample))
        if not is_finite(self.rescale_factor):
            raise ConfigError(
                f"rescale_factor is {shown(self.rescale_factor)}; it must be a number of float32"
            )
        for name in ("image_mean", "image_std"):
            object.__setattr__(self, name, check_channels(name, getattr(self, name)))
        if 0 in np.asarray(self.image_std, np.float32):
            raise ConfigError("image_std holds a zero in float32, and pixels are divided by it")
        self._require_finite_pixels()

    def _require_finite_pixels(self) -> None:
        """Refuse a scale, a mean and a deviation by which some pixel would not fit a float32."""
        extremes = np.array([[0, 255]] * 3, np.uint8).reshape(3, 1, 2)
        with np.errstate(all="ignore"):
            if not np.isfinite(self._scale(extremes)).all():
                raise ConfigError(
                    "rescale_factor, image_mean and image_std make numbers of pixels that float32 cannot hold"
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what transformers writes for an image processor; fields of other steps are ignored.

        Raises
        ------
        ConfigError
            If a value is impossible, a step is asked for that SigLIP does not have, or the values are those
            of the other kind of image processor.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor
        >>> SiglipImageProcessor.from_dict({"size": {"height": 256, "width": 256}, "resample": 2}).resample
        2
        """
        check_mapping("the configuration", values)
        for step in ("do_center_crop", "do_pad"):
            if values.get(step):
                raise ConfigError(f"{step} is true, which is not a step of SigLIP's preprocessing")
        cls._check_kind(values)
        known = {f.name for f in fields(cls)}
        # Null means the default. SigLIP 2 has a null do_convert_rgb, which means to convert.
        return cls(**{name: value for name, value in values.items() if name in known and value is not None})

    @classmethod
    def _check_kind(cls, values: Mapping[str, Any]) -> None:
        """Refuse settings that are for another class."""

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, revision: str | None = None, **options: Any
    ) -> Self:
        """Read ``preprocessor_config.json``, or the image processor in ``processor_config.json``.

        A model with neither gets the preprocessing of its family, which ``numpy-siglip inspect`` tells.

        Parameters
        ----------
        model : str, Path or ModelFiles
            A folder, a file in it, a hub id, or a model that is open already.
        revision : str, optional
            Branch, tag or commit on the hub.
        **options
            Settings instead of those of the file, such as ``do_resize=False``; ``cache_dir``,
            ``force_download``, ``local_files_only`` and ``token``, for the hub; and what transformers'
            programs pass and has one right value here, such as ``use_fast=False``.

        Raises
        ------
        ConfigError
            If the file is not JSON, a value is impossible, or it describes the other kind of image processor;
            if there is neither such a file nor a model of which it could be inferred; if an option asks for
            what there is not.
        CheckpointError
            If the model is not found.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor
        >>> SiglipImageProcessor.from_pretrained(model_folder).size
        {'height': 44, 'width': 44}
        >>> SiglipImageProcessor.from_pretrained(model_folder, do_resize=False).do_resize
        False
        """
        settings = {name: options.pop(name) for name in cls.settings() if name in options}
        check_keywords(cls.from_pretrained, options, PREPROCESSING_KEYWORDS, also=cls.settings())
        return cls.read(open_model(model, revision, **download_options(options)))[1].changed(settings)

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names of the settings, each of which a call may change for itself.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor
        >>> SiglipImageProcessor.settings()[-1]
        'size'
        """
        return tuple(one.name for one in fields(cls))

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """An image processor with other settings; None stands for its own.

        Raises
        ------
        ConfigError
            If a value is impossible; the message names the field.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor
        >>> SiglipImageProcessor().changed({"size": 32, "resample": None}).size
        {'shortest_edge': 32}
        """
        values = {name: value for name, value in settings.items() if value is not None}
        return replace(self, **values) if values else self

    def for_call(self, options: Mapping[str, Any]) -> Self:
        """The image processor that a call asks for by its options.

        Parameters
        ----------
        options : mapping of str to object
            Settings, and what transformers' programs pass and has one right value here.

        Raises
        ------
        ConfigError
            If an option asks for what there is not.
        """
        settings = {name: value for name, value in options.items() if name in self.settings()}
        others = {name: value for name, value in options.items() if name not in settings}
        if others:
            known = parameters_of(self.__call__)  # which the call itself has taken
            others = {name: value for name, value in others.items() if name not in known}
        check_keywords(self.__call__, others, IMAGE_KEYWORDS, also=self.settings())
        return self.changed(settings)

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        """Preprocess one image or several."""
        raise NotImplementedError  # every kind makes arrays of its own

    def preprocess(self, images: Any, **options: Any) -> BatchFeature:
        """Preprocess one image or several, as calling the image processor does."""
        return self(images, **options)

    @classmethod
    def read(cls, files: ModelFiles) -> tuple[Path, Self]:
        """The image processor of an open model, and the file that describes it.

        Raises
        ------
        ConfigError
            See `from_pretrained`.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor
        >>> SiglipImageProcessor.read(open_model(model_folder))[0].name
        'preprocessor_config.json'
        """
        said = files.preprocessing
        try:
            with unexpected_as(ConfigError, "the preprocessing", "fetch the file again"):
                return said.file, cls.from_dict(said.values)
        except ConfigError as error:
            raise ConfigError(f"{said.file}: {error}") from error.__cause__

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> tuple[Path, ...]:
        """Write ``preprocessor_config.json`` to a folder, as transformers does.

        Parameters
        ----------
        save_directory : str or Path
            Made if it is missing; a file of the same name is replaced.
        **others
            What transformers' programs pass and has one right value here, such as ``push_to_hub=False``.

        Returns
        -------
        tuple of Path
            The file.

        Raises
        ------
        ConfigError
            If a ``processor_config.json`` with an image processor is there, which would be read instead; if
            an option asks for what there is not.
        OSError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_siglip import SiglipImageProcessor
        >>> folder = Path(tempfile.mkdtemp()) / "saved"
        >>> _ = SiglipImageProcessor(size=32).save_pretrained(folder)
        >>> SiglipImageProcessor.from_pretrained(folder).size
        {'shortest_edge': 32}
        """
        if isinstance(save_directory, (str, os.PathLike)):
            shadow = Path(save_directory).expanduser() / PROCESSOR_FILE
            if (read_json_if_there(shadow, ConfigError) or {}).get("image_processor") is not None:
                raise ConfigError(
                    f"{shadow}: holds an image processor, which would be read instead of this one; save the "
                    "whole SiglipProcessor, or name another folder"
                )
        return save_files(
            self.save_pretrained, save_directory, {PREPROCESSOR_FILE: json_writer(self.to_dict())}, others
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, as transformers names them."""
        return {"image_processor_type": type(self).__name__, **asdict(self)}

    def _in_rgb(
        self, image: Any, apply_exif_orientation: bool, input_data_format: str | None
    ) -> Image.Image | np.ndarray:
        """An image of any kind -> one of Pillow in RGB; an array -> (3, H, W)."""
        return image_in_rgb(
            in_known_format(image, input_data_format),
            do_convert_rgb=self.do_convert_rgb,
            apply_exif_orientation=check_flag("apply_exif_orientation", apply_exif_orientation),
        )

    def _resize(self, pixels: Image.Image | np.ndarray, height: int, width: int) -> np.ndarray:
        """Resize by Pillow, which takes uint8: to (3, height, width), floats stay floats."""
        from PIL import Image

        resampling = Image.Resampling(self.resample)
        if not isinstance(pixels, np.ndarray):
            return pixels_of(pixels.resize((width, height), resampling))
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
        resized = pixels_of(image.resize((width, height), resampling))
        return (resized.astype(np.float64) * (1 / 255)).astype(np.float32) if unit_range else resized

    def _scale(self, pixels: np.ndarray) -> np.ndarray:
        """Rescale and normalise what is to be: (3, H, W) -> float32 (3, H, W)."""
        # Arrays of a caller's own may overflow, which the model's caller sees to.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.do_rescale:
                pixels = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
            if self.do_normalize:
                pixels = self._normalize(pixels)
            return pixels.astype(np.float32, copy=False)

    def _normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Shift and scale each channel in the array's own precision: (3, H, W) -> (3, H, W)."""
        if pixels.dtype.kind != "f":
            pixels = pixels.astype(np.float32)
        mean, std = (
            np.array(values, pixels.dtype).reshape(3, 1, 1) for values in (self.image_mean, self.image_std)
        )
        return (pixels - mean) / std
