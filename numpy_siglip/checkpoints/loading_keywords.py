"""What programs pass to a ``from_pretrained`` beyond what is chosen here, and what each may be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..common.checks import is_truth_value
from ..common.keywords import Keyword, Keywords, check_keywords
from ..common.spellings import is_cpu


def is_flag(value: Any) -> bool:
    """Whether a value is a truth value, or None for whatever is usual.

    Examples
    --------
    >>> is_flag(None), is_flag(False), is_flag("no")
    (True, True, False)
    """
    return value is None or is_truth_value(value)


def is_on_cpu(device_map: Any) -> bool:
    """Whether a map of devices has the processor alone, or leaves the choice.

    Examples
    --------
    >>> is_on_cpu("auto"), is_on_cpu({"": "cpu"}), is_on_cpu("cuda"), is_on_cpu({"": 0})
    (True, True, False, False)
    """
    if isinstance(device_map, Mapping):
        return all(is_cpu(device) for device in device_map.values())
    return device_map is None or (isinstance(device_map, str) and device_map == "auto") or is_cpu(device_map)


def _is_location(value: Any) -> bool:
    return value is None or isinstance(value, (str, os.PathLike))


def _is_token(value: Any) -> bool:
    return is_flag(value) or isinstance(value, str)


_TRUE_OR_FALSE = "it must be true or false"
_NONE_HERE = "there is no such thing here; leave it out"
_IGNORED = Keyword(is_flag, _TRUE_OR_FALSE)

DOWNLOAD_KEYWORDS: Keywords = {
    "cache_dir": Keyword(_is_location, "it must be a folder"),
    "force_download": Keyword(is_flag, _TRUE_OR_FALSE),
    "local_files_only": Keyword(is_flag, _TRUE_OR_FALSE),
    "subfolder": Keyword(_is_location, "it must be a folder inside the model"),
    "token": Keyword(_is_token, "it must be a token of the Hugging Face hub, or true for the one you saved"),
}
"""How a model is found: in which subfolder, and what is passed on to huggingface_hub, of which a model that
is here has no use."""

FILE_KEYWORDS: Keywords = {
    **DOWNLOAD_KEYWORDS,
    "proxies": Keyword((None,), "huggingface_hub takes them from HTTP_PROXY and HTTPS_PROXY; leave it out"),
    "resume_download": _IGNORED,  # which downloads always are
    "return_unused_kwargs": Keyword((None, False), "an option that is not used is an error here"),
    "trust_remote_code": Keyword(
        (None, False), "code that comes with a model is never run, and none is needed; leave it out"
    ),
}
"""Those of every ``from_pretrained``."""

MODEL_KEYWORDS: Keywords = {
    **FILE_KEYWORDS,
    "attn_implementation": Keyword(
        (None, "eager", "sdpa"), "there is one attention, which computes what 'eager' and 'sdpa' do"
    ),
    "device_map": Keyword(
        is_on_cpu, "everything is computed on the CPU: pass 'cpu' or 'auto', or leave it out"
    ),
    "ignore_mismatched_sizes": Keyword((None, False), "tensors have to fit the configuration"),
    "load_in_4bit": Keyword((None, False), "4-bit weights are not known here; see dtype='int8'"),
    "load_in_8bit": Keyword((None, False), "see dtype='int8'"),
    "low_cpu_mem_usage": _IGNORED,  # a tensor at a time is read in any case
    "max_memory": Keyword((None,), _NONE_HERE),
    "offload_folder": Keyword((None,), _NONE_HERE),
    "output_loading_info": Keyword(
        (None, False), "a tensor that is missing or has no place is an error here"
    ),
    "quantization_config": Keyword((None,), "weights are quantised by dtype='int8' or by quantize_model"),
    "state_dict": Keyword((None,), "weights are read from files"),
    "use_safetensors": Keyword((None, True), "pickled weights are not read; leave it out"),
    "variant": Keyword((None,), "a file of weights is named by its path"),
    "weights_only": _IGNORED,
}
"""Those of models. ``dtype`` and its older name ``torch_dtype`` are known to `Pretrained`."""

PREPROCESSING_KEYWORDS: Keywords = {
    **FILE_KEYWORDS,
    "backend": Keyword((None, "auto", "pil"), "images are resized by Pillow: pass 'pil' or leave it out"),
    "use_fast": _IGNORED,
}
"""Those of image processors, tokenizers and processors."""


def download_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of some options says how a model is found.

    Raises
    ------
    ConfigError
        If one is impossible.

    Examples
    --------
    >>> download_options({"local_files_only": True, "device_map": "cpu", "token": None})
    {'local_files_only': True}
    """
    options = {name: value for name, value in given.items() if name in DOWNLOAD_KEYWORDS}
    check_keywords(download_options, options, DOWNLOAD_KEYWORDS)
    return {name: value for name, value in options.items() if value is not None}
