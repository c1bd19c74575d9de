"""What programs pass to a model beyond what it computes by, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..common.checks import as_array
from ..common.keywords import Keyword, Keywords
from ..errors import ConfigError

_NO_CACHE = Keyword((None, False), "these towers have no cache; leave it out")
_NO_LOSS = Keyword((None,), "no loss is computed of labels; leave it out, and compare the logits with them")
_FOR_TEXTS = Keyword((None,), "texts are for SiglipModel, and for its text tower")
_FOR_IMAGES = Keyword((None,), "images are for SiglipModel, and for its vision tower")
_FOR_NAFLEX = Keyword((None,), "it belongs to the NaFlex models: Siglip2Model and Siglip2VisionModel")


def are_in_order(positions: Any) -> bool:
    """Whether positions are 0, 1, 2 and so on for each text.

    Examples
    --------
    >>> are_in_order(None), are_in_order([[0, 1, 2]]), are_in_order([[1, 2, 3]])
    (True, True, False)
    """
    if positions is None:
        return True
    array = as_array("position_ids", positions, ConfigError)
    return array.ndim > 0 and bool(np.all(array == np.arange(array.shape[-1])))


TEXT_KEYWORDS: Keywords = {
    "position_ids": Keyword(are_in_order, "tokens stand at 0, 1, 2 and so on; leave it out"),
    "inputs_embeds": Keyword((None,), "texts are given as input_ids"),
    "pixel_values": _FOR_IMAGES,
    "use_cache": _NO_CACHE,
}
VISION_KEYWORDS: Keywords = {
    "input_ids": _FOR_TEXTS,
    "labels": _NO_LOSS,
    "pixel_attention_mask": _FOR_NAFLEX,
    "spatial_shapes": _FOR_NAFLEX,
    "use_cache": _NO_CACHE,
}
NAFLEX_KEYWORDS: Keywords = {
    "interpolate_pos_encoding": Keyword(
        (None, False, True), "positions are resampled to every image anyway; leave it out"
    ),
    "input_ids": _FOR_TEXTS,
    "attention_mask": Keyword((None,), "the mask of an image is its pixel_attention_mask"),
    "labels": _NO_LOSS,
    "use_cache": _NO_CACHE,
}
PAIR_KEYWORDS: Keywords = {**VISION_KEYWORDS, **TEXT_KEYWORDS}
NAFLEX_PAIR_KEYWORDS: Keywords = {**NAFLEX_KEYWORDS, **TEXT_KEYWORDS}
"""Those of both towers; what one of them takes is a parameter of the whole."""


def for_texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """The part of what both towers were passed that is for the text tower.

    Examples
    --------
    >>> for_texts({"position_ids": None, "spatial_shapes": None})
    {'position_ids': None}
    """
    return {name: value for name, value in given.items() if name in TEXT_KEYWORDS}


def require_both(input_ids: Any, pixel_values: Any) -> None:
    """Refuse to compare images or texts with nothing.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> require_both([[5, 1]], None)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: pixel_values is missing; a model of both towers compares images with ...
    """
    for name, value in (("input_ids", input_ids), ("pixel_values", pixel_values)):
        if value is None:
            raise ConfigError(
                f"{name} is missing; a model of both towers compares images with texts, and for one of them "
                "alone there are get_image_features and get_text_features"
            )
