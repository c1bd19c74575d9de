"""The preprocessing of a checkpoint that comes without one: that of its family.

SigLIP was published with bicubic resizing, SigLIP 2 with bilinear; both squash an image to a square and
bring it to [-1, 1] (``preprocessor_config.json`` of their repositories on the hub). The family is told by
the type of the model, by the size of its vocabulary, by its names, and else by its shape, where only one of
the two families has a model of that shape.

A few larger models resize in a way of their own: the defaults of their image processors in transformers 5.23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_FILTERS = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}
_LANCZOS, _BILINEAR, _BICUBIC = 1, 2, 3
_SECOND_VOCABULARY = 256000
_SECOND_NAMES = re.compile(r"siglip2|siglip-2|v2_webli", re.IGNORECASE)

SHAPES_OF_SECOND = {
    (768, 32, 256),
    (1024, 16, 512),
    (1152, 16, 384),
    (1152, 16, 512),
    (1536, 16, 256),
    (1536, 16, 384),
}
"""Width, size of a patch and of an image of vision towers that were published with SigLIP 2 alone."""

RESAMPLE_OF_TYPES = {
    "gemma3": _BILINEAR,
    "idefics2": _BILINEAR,
    "idefics3": _LANCZOS,
    "modernvbert": _LANCZOS,
    "paligemma": _BICUBIC,
    "shieldgemma2": _BILINEAR,
    "smolvlm": _LANCZOS,
    "t5gemma2": _BILINEAR,
    "t5gemma2_encoder": _BILINEAR,
}
"""How larger models resize, by their model type."""

Values = dict[str, Any]


def infer_preprocessing(
    config: Mapping[str, Any], given: Mapping[str, Any], names: str
) -> tuple[Values, list[str], list[str]]:
    """Values of a ``preprocessor_config.json`` as transformers would write it.

    Beside them stand what of them is inferred, and what is given and not as the family was published, one
    line each.

    Parameters
    ----------
    config : mapping
        Values of a ``config.json``.
    given : mapping
        Fields that are known from elsewhere, which are followed.
    names : str
        Whatever the model, its parts and its files are called.

    Examples
    --------
    >>> values, inferred, contradictions = infer_preprocessing({"image_size": 256}, {}, "siglip2_b16_256.npz")
    >>> values["size"], values["resample"]
    ({'height': 256, 'width': 256}, 2)
    >>> inferred
    ['preprocessing of SigLIP 2: resample 2 (bilinear), image_mean and image_std 0.5']
    >>> infer_preprocessing({"image_size": 256}, {"resample": 3}, "siglip2_b16_256.npz")[2]
    ['resample 3 (bicubic), and SigLIP 2 was published with 2 (bilinear)']
    """
    vision = _section(config, "vision_config") if "vision_config" in config else config
    naflex = any(str(part.get("model_type")).startswith("siglip2") for part in (config, vision))
    family, resample = _family(config, vision, naflex, names)
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
        side = _side(vision.get("image_size", 224))  # as for patch_size, transformers' default
        size = {"height": side, "width": side}
        values |= {"image_processor_type": "SiglipImageProcessor", "size": size}
    inferred = []
    if "resample" not in given:
        inferred.append(f"resample {resample} ({_FILTERS[resample]})")
    if "image_mean" not in given:
        inferred.append("image_mean and image_std 0.5")
    notes = [f"preprocessing of {family}: {', '.join(inferred)}"] if inferred else []
    return {**values, **given}, notes, list(_contradictions(given, family, resample))


def _contradictions(given: Mapping[str, Any], family: str, resample: int) -> Iterator[str]:
    """What is given, and is not as the family was published."""
    filter_given = given.get("resample", resample)
    if filter_given != resample:
        named = _FILTERS.get(filter_given, "another filter")
        yield (
            f"resample {filter_given} ({named}), and {family} was published with {resample} "
            f"({_FILTERS[resample]})"
        )
    for name in ("image_mean", "image_std"):
        if name in given and given[name] != [0.5, 0.5, 0.5]:
            yield f"{name} {given[name]}, and {family} was published with 0.5"


def _family(
    config: Mapping[str, Any], vision: Mapping[str, Any], naflex: bool, names: str
) -> tuple[str, int]:
    """What the family is called, and how it resizes."""
    model_type = str(config.get("model_type"))
    if model_type in RESAMPLE_OF_TYPES:
        return model_type, RESAMPLE_OF_TYPES[model_type]
    shape = tuple(_side(vision.get(name)) for name in ("hidden_size", "patch_size", "image_size"))
    second = (
        naflex
        or _section(config, "text_config").get("vocab_size") == _SECOND_VOCABULARY
        or _SECOND_NAMES.search(names) is not None
        or any(shape == known for known in SHAPES_OF_SECOND)
    )
    return ("SigLIP 2", _BILINEAR) if second else ("SigLIP", _BICUBIC)


def _side(size: Any) -> Any:
    """The side of a square that is given as its two sides; anything else is for who reads it to refuse."""
    if isinstance(size, (list, tuple)) and size and all(side == size[0] for side in size):
        return size[0]
    return size


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a configuration; nothing if it is no mapping, which is told where it is read."""
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}
