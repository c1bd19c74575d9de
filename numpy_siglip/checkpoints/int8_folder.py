"""How a folder of int8 weights is told from one of transformers', which would open it and compute nonsense.

transformers takes integers for floats and goes on without their scales. So the weights have a name that it
does not look for, and the configuration a model type that it does not know: it stops with an error that
quotes one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INT8_WEIGHTS_FILE = "numpy_siglip_int8.safetensors"
INT8_MODEL_TYPE = "numpy_siglip_int8"
_FORMER_TYPE = "model_type_before_int8"


def marked_as_int8(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is written beside int8 weights.

    Examples
    --------
    >>> marked_as_int8({"model_type": "siglip", "vision_config": {}})
    {'model_type': 'numpy_siglip_int8', 'vision_config': {}, 'model_type_before_int8': 'siglip'}
    """
    kept = {name: value for name, value in config.items() if name != "architectures"}
    return {**kept, "model_type": INT8_MODEL_TYPE, _FORMER_TYPE: config["model_type"]}


def without_int8_mark(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that `marked_as_int8` was given; any other as it is.

    Examples
    --------
    >>> without_int8_mark(marked_as_int8({"model_type": "siglip", "vision_config": {}}))
    {'model_type': 'siglip', 'vision_config': {}}
    """
    values = dict(config)
    if values.get("model_type") == INT8_MODEL_TYPE:
        values["model_type"] = values.pop(_FORMER_TYPE, "")
    return values
