"""Checks of an image processor's settings, in all the forms that transformers writes and takes."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..common.checks import LARGEST_SIDE, check_integer, is_finite, shown
from ..errors import ConfigError

_RESAMPLING_FILTERS = range(6)  # PIL.Image.Resampling: nearest, Lanczos, bilinear, bicubic, box, Hamming


def check_size(size: Any) -> dict[str, int]:
    """A size as a mapping.

    Examples
    --------
    >>> check_size(224)
    {'shortest_edge': 224}
    """
    if isinstance(size, numbers.Integral) and not isinstance(size, bool):
        size = {"shortest_edge": size}  # what a bare number means to transformers' SigLIP processor
    present = {}
    if isinstance(size, Mapping):
        present = {name: value for name, value in size.items() if value is not None}
    if set(present) not in ({"height", "width"}, {"shortest_edge"}):
        raise ConfigError(
            f"size is {shown(size)}; expected {{'height': h, 'width': w}} or {{'shortest_edge': s}}"
        )
    return {
        name: check_integer(f"size[{name!r}]", value, largest=LARGEST_SIDE) for name, value in present.items()
    }


def check_resample(resample: Any) -> int:
    """The number of a filter, which is also what a member of PIL.Image.Resampling is.

    Examples
    --------
    >>> from PIL import Image
    >>> check_resample(Image.Resampling.BICUBIC)
    3
    """
    whole = isinstance(resample, numbers.Integral) and not isinstance(resample, bool)
    if not whole or resample not in _RESAMPLING_FILTERS:
        raise ConfigError(f"resample is {shown(resample)}; it must be a PIL filter from 0 to 5")
    return int(resample)


def check_channels(name: str, values: Any) -> tuple[float, ...]:
    """One number for each channel.

    Examples
    --------
    >>> check_channels("image_mean", 0.5)
    (0.5, 0.5, 0.5)
    """
    several = isinstance(values, (list, tuple, np.ndarray)) and np.ndim(values) > 0
    listed = tuple(values) if several else (values,) * 3
    if len(listed) != 3 or not all(is_finite(value) for value in listed):
        raise ConfigError(f"{name} is {shown(values)}; expected a number of float32, or three of them")
    return listed


def is_for_naflex(values: Mapping[str, Any]) -> bool:
    """Whether settings are those of the image processor that cuts images of any aspect ratio into patches.

    Examples
    --------
    >>> is_for_naflex({"image_processor_type": "Siglip2ImageProcessorFast"}), is_for_naflex({"size": 224})
    (True, False)
    """
    return str(values.get("image_processor_type")).startswith("Siglip2") or "max_num_patches" in values
