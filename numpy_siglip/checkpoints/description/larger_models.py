"""Larger models whose SigLIP tower has a configuration of its own kind, translated to that of SigLIP.

Idefics 2 and 3 and SmolVLM give positions to patches by the fraction of the image at which they lie,
sorted into as many buckets as there are positions on a side, where SigLIP counts patches. For a square
image of the size that the positions were made for the two are the same, unless the fraction of a patch
is rounded below its bucket, as it is on sides of 25 or 50 patches and others, of which none was
published. For images of other sizes the two differ: these models never interpolate positions.

Source: the ``Vision`` configurations and ``VisionEmbeddings`` of these models in transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...common.checks import check_integer, check_mapping
from ...errors import ConfigError

_SHARED = {"intermediate_size": 3072, "num_hidden_layers": 12, "image_size": 224, "patch_size": 32}
_DEFAULTS = {
    "idefics2": {**_SHARED, "hidden_size": 768, "num_attention_heads": 12},
    "idefics3": {**_SHARED, "hidden_size": 1152, "num_attention_heads": 16},
    "smolvlm": {**_SHARED, "hidden_size": 1152, "num_attention_heads": 16},
}

_SECTIONS = ("vlm_config", "encoder")
"""Where models that hold a larger model keep its configuration: ColPali, ColModernVBERT and PI0, T5Gemma 2"""


def translate(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration in the words of `SiglipVisionConfig`, if it is one of those above; else as it is.

    Raises
    ------
    ConfigError
        If positions of this image size are not those of SigLIP.

    Examples
    --------
    >>> values = {"model_type": "smolvlm", "vision_config": {"image_size": 512, "patch_size": 16}}
    >>> translate(values)["vision_config"]["model_type"]
    'siglip_vision_model'
    >>> translate({"model_type": "siglip"})
    {'model_type': 'siglip'}
    """
    values = _with_tower_at_the_top(values)
    model_type = str(values.get("model_type"))
    alone = model_type.endswith("_vision")
    kind = model_type.removesuffix("_vision")
    if kind not in _DEFAULTS:
        return values
    stated = values if alone else check_mapping("vision_config", values.get("vision_config") or {})
    given = {name: value for name, value in stated.items() if value is not None and name != "model_type"}
    vision = {**_DEFAULTS[kind], **given, "vision_use_head": False, "model_type": "siglip_vision_model"}
    size = check_integer("image_size", _side(vision["image_size"]), largest=2**14)
    patch = check_integer("patch_size", _side(vision["patch_size"]), largest=2**14)
    if not positions_are_counted(size // patch):
        raise ConfigError(
            f"image_size is {size} and patch_size {patch}: with {size // patch} patches on a side, {kind} "
            "gives patches other positions than SigLIP, which is not supported"
        )
    return {"model_type": kind, "vision_config": vision}


def _with_tower_at_the_top(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration whose tower lies a level deeper, such as ColPali's, as that of the model inside."""
    if "vision_config" in values:
        return values
    for section in _SECTIONS:
        inner = values.get(section)
        if isinstance(inner, Mapping) and isinstance(inner.get("vision_config"), Mapping):
            return inner
    return values


def positions_are_counted(side: int) -> bool:
    """Whether the buckets of a whole square image are 0, 1, 2 ..., whatever processor torch runs on.

    torch rounds the boundaries of buckets to float32 once for every vector of them, so that its results
    depend on how long a vector is.

    Examples
    --------
    >>> [side for side in (24, 25, 26, 27, 32, 70) if not positions_are_counted(side)]
    [25]
    """
    index, step = np.arange(side - 1), 1 / side
    fractions = np.arange(side, dtype=np.float32) * np.float32(step)
    fractions = np.minimum(fractions, np.float32(1 - 1e-6))
    for lanes in (1, 4, 8, 16):
        lane = index % lanes
        first = (step + (index - lane) * step).astype(np.float32)
        boundaries = (first.astype(np.float64) + lane * step).astype(np.float32)
        if not np.array_equal(np.searchsorted(boundaries, fractions, side="right"), np.arange(side)):
            return False
    return True


def _side(size: Any) -> Any:
    return size[0] if isinstance(size, (list, tuple)) and len(set(size)) == 1 else size
