"""What programs pass to a model beyond what it computes by, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..common.keywords import Keyword, Keywords

_NO_CACHE = Keyword((None, False), "these towers have no cache; leave it out")
_NO_LOSS = Keyword((None,), "no loss is computed of labels; leave it out, and compare the logits with them")
_FOR_NAFLEX = Keyword((None,), "it belongs to the NaFlex models: Siglip2Model and Siglip2VisionModel")


def is_all_ones(mask: Any) -> bool:
    """Whether a mask leaves nothing out.

    Examples
    --------
    >>> is_all_ones(None), is_all_ones([[1, 1]]), is_all_ones([[1, 0]]), is_all_ones([[True]])
    (True, True, False, True)
    """
    return mask is None or bool(np.all(np.asarray(mask) == 1))


def are_in_order(positions: Any) -> bool:
    """Whether positions are 0, 1, 2 and so on for each text.

    Examples
    --------
    >>> are_in_order(None), are_in_order([[0, 1, 2]]), are_in_order([[1, 2, 3]])
    (True, True, False)
    """
    if positions is None:
        return True
    array = np.asarray(positions)
    return array.ndim > 0 and bool(np.all(array == np.arange(array.shape[-1])))


TEXT_KEYWORDS: Keywords = {
    "attention_mask": Keyword(
        is_all_ones,
        "these towers look at every token, padding included, as in training: leave it out, or pass ones",
    ),
    "position_ids": Keyword(are_in_order, "tokens stand at 0, 1, 2 and so on; leave it out"),
    "inputs_embeds": Keyword((None,), "texts are given as input_ids"),
    "use_cache": _NO_CACHE,
}
VISION_KEYWORDS: Keywords = {
    "labels": _NO_LOSS,
    "pixel_attention_mask": _FOR_NAFLEX,
    "spatial_shapes": _FOR_NAFLEX,
    "use_cache": _NO_CACHE,
}
NAFLEX_KEYWORDS: Keywords = {
    "interpolate_pos_encoding": Keyword(
        (None, False, True), "positions are resampled to every image anyway; leave it out"
    ),
    "attention_mask": Keyword((None,), "the mask of an image is its pixel_attention_mask"),
    "labels": _NO_LOSS,
    "use_cache": _NO_CACHE,
}
PAIR_KEYWORDS: Keywords = {**VISION_KEYWORDS, **TEXT_KEYWORDS}
NAFLEX_PAIR_KEYWORDS: Keywords = {**NAFLEX_KEYWORDS, **TEXT_KEYWORDS}


def for_texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """The part of what both towers were passed that is for the text tower.

    Examples
    --------
    >>> for_texts({"position_ids": None, "spatial_shapes": None})
    {'position_ids': None}
    """
    return {name: value for name, value in given.items() if name in TEXT_KEYWORDS}
