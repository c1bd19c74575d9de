"""The preprocessing of a checkpoint that comes without one: that of its family.

SigLIP was published with bicubic resizing, SigLIP 2 with bilinear; both squash an image to a square and
bring it to [-1, 1] (``preprocessor_config.json`` of their repositories on the hub).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BILINEAR, _BICUBIC = 2, 3
_SECOND_VOCABULARY = 256000
_SECOND_NAMES = re.compile(r"siglip2|v2_webli", re.IGNORECASE)

Values = dict[str, Any]


def infer_preprocessing(
    config: Mapping[str, Any], given: Mapping[str, Any], names: str
) -> tuple[Values, list[str]]:
    """Values of a ``preprocessor_config.json`` as transformers would write it, and what in them is inferred.

    Parameters
    ----------
    config : mapping
        Values of a ``config.json``.
    given : mapping
        Fields that are known from elsewhere.
    names : str
        Whatever the model, its parts and its files are called.

    Examples
    --------
    >>> values, notes = infer_preprocessing({"image_size": 256}, {}, "siglip2_b16_256.npz")
    >>> values["size"], values["resample"]
    ({'height': 256, 'width': 256}, 2)
    >>> notes
    ['preprocessing of SigLIP 2: resample 2 (bilinear), image_mean and image_std 0.5']
    """
    vision = (config.get("vision_config") or {}) if "vision_config" in config else config
    vocabulary = (config.get("text_config") or {}).get("vocab_size")
    naflex = str(config.get("model_type")).startswith("siglip2")
    second = naflex or vocabulary == _SECOND_VOCABULARY or bool(_SECOND_NAMES.search(names))
    resample = _BILINEAR if second else _BICUBIC
    values: Values = {
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": resample,
    }
    if naflex:
        values |= {"image_processor_type": "Siglip2ImageProcessor"}
        values |= {"patch_size": vision.get("patch_size", 16), "max_num_patches": 256}
    else:
        side = vision.get("image_size", 224)  # as for patch_size, transformers' default
        size = {"height": side, "width": side}
        values |= {"image_processor_type": "SiglipImageProcessor", "size": size}
    inferred = []
    if "resample" not in given:
        inferred.append(f"resample {resample} ({'bilinear' if second else 'bicubic'})")
    if "image_mean" not in given:
        inferred.append("image_mean and image_std 0.5")
    family = "SigLIP 2" if second else "SigLIP"
    notes = [f"preprocessing of {family}: {', '.join(inferred)}"] if inferred else []
    return {**values, **given}, notes
