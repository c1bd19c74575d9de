"""Settings that other libraries put beside their weights, in the words of transformers.

timm and DeepSeek-VL2 have a ``config.json`` of their own, open_clip an ``open_clip_config.json``. A
``config.json`` without a model type may hold fields of transformers', and these go before all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...common.checks import shown
from ...errors import ConfigError
from ..file_names import CONFIG_FILE, OPEN_CLIP_FILE

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "quick_gelu": "quick_gelu"}
_FIELDS = ("image_size", "num_attention_heads", "hidden_act", "layer_norm_eps", "vision_use_head")
_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}

Values = dict[str, Any]


class Settings(NamedTuple):
    """What is known about a model besides its tensors."""

    towers: dict[str, Values]
    """Fields of ``"vision"`` and ``"text"`` in the words of transformers"""
    preprocessing: Values
    """Fields of the image processor in the words of transformers"""
    names: str
    """What the model and its parts are called, in one string"""
    contradictions: tuple[str, ...] = ()
    """What a file asks for and no SigLIP does, one line each"""
    problem: str = ""
    """Why the preprocessing cannot be done, if it cannot; no matter where another file has it"""


def read_settings(folder: Path, read_json: Callable[[str], Values | None]) -> Settings:
    """Collect what stands beside the weights, and be content with nothing.

    Parameters
    ----------
    folder : Path
    read_json : callable
        Gives the object in one of its files, or None.

    Raises
    ------
    ConfigError
        If a file is damaged.
    """
    settings = Settings({"vision": {}, "text": {}}, {}, "")
    for file, read in ((OPEN_CLIP_FILE, _read_open_clip), (CONFIG_FILE, _read_config)):
        path = folder / file
        values = read_json(file)
        if values is not None:
            try:
                settings = _over(read(values, path), settings)
            except (AttributeError, TypeError) as cause:  # a value of another kind than its name promises
                raise ConfigError(f"{path}: cannot be understood ({cause}); fetch the file again") from cause
    return settings


def _over(new: Settings, old: Settings) -> Settings:
    return Settings(
        {tower: {**old.towers[tower], **new.towers[tower]} for tower in old.towers},
        {**old.preprocessing, **new.preprocessing},
        f"{old.names} {new.names}",
        old.contradictions + new.contradictions,
        new.problem or old.problem,
    )


def _read_config(values: Mapping[str, Any], path: Path) -> Settings:
    """The ``config.json`` of timm, of transformers in part, or of anybody else."""
    cfg = values.get("pretrained_cfg") or {}
    arguments = values.get("model_args") or {}
    vision: Values = {}
    if cfg.get("input_size"):
        vision["image_size"] = _side(cfg["input_size"][1:], path)
    if arguments.get("img_size"):
        vision["image_size"] = _side(arguments["img_size"], path)
    if arguments.get("num_heads"):
        vision["num_attention_heads"] = arguments["num_heads"]
    if arguments.get("act_layer"):
        vision["hidden_act"] = _activation(arguments["act_layer"], path)
    # At the root of a larger model's file stand the fields of its language model.
    root = values if values.get("model_type") in (None, "siglip") else {}
    for part in (root, values.get("vision_config") or {}):
        vision |= {name: part[name] for name in _FIELDS if part.get(name) is not None}
    part = values.get("text_config") or {}
    text = {name: part[name] for name in _FIELDS if part.get(name) is not None}
    names = (
        values.get("_name_or_path"),
        values.get("architecture"),
        cfg.get("tag"),
        cfg.get("hf_hub_id"),
        values.get("open_clip_model_name"),
    )
    preprocessing, problem = _preprocessing(cfg, path)
    contradictions: tuple[str, ...] = ()
    if preprocessing and (cfg.get("crop_pct") or 1) != 1 and cfg.get("crop_mode") != "squash":
        contradictions = (
            f"crop_pct {shown(cfg['crop_pct'])}, and SigLIP takes the whole image, as is done here",
        )
    named = " ".join(str(name) for name in names if name)
    return Settings({"vision": vision, "text": text}, preprocessing, named, contradictions, problem)


def _read_open_clip(values: Mapping[str, Any], path: Path) -> Settings:
    model = values.get("model_cfg") or {}
    image, words = model.get("vision_cfg") or {}, model.get("text_cfg") or {}
    vision: Values = {}
    if image.get("image_size"):
        vision["image_size"] = _side(image["image_size"], path)
    text: Values = {}
    if words.get("heads"):
        text["num_attention_heads"] = words["heads"]
    if (words.get("act_kwargs") or {}).get("approximate") == "tanh":
        text["hidden_act"] = "gelu_pytorch_tanh"
    if (words.get("norm_kwargs") or {}).get("eps"):
        text["layer_norm_eps"] = words["norm_kwargs"]["eps"]
    names = (image.get("timm_model_name"), words.get("hf_tokenizer_name"))
    named = " ".join(str(name) for name in names if name)
    preprocessing, problem = _preprocessing(values.get("preprocess_cfg") or {}, path)
    return Settings({"vision": vision, "text": text}, preprocessing, named, (), problem)


def _preprocessing(cfg: Mapping[str, Any], path: Path) -> tuple[Values, str]:
    """What timm and open_clip say of it alike, and why it cannot be done, if it cannot."""
    preprocessing: Values = {f"image_{n}": list(cfg[n]) for n in ("mean", "std") if cfg.get(n)}
    problem = ""
    mode, named = cfg.get("resize_mode"), cfg.get("interpolation")
    if mode not in (None, "squash"):
        problem = f"resize_mode is {shown(mode)}; only 'squash', which all SigLIPs have, is supported"
    elif named and named not in _FILTERS:
        problem = f"interpolation is {shown(named)}; supported are {', '.join(_FILTERS)}"
    elif named:
        preprocessing["resample"] = _FILTERS[named]
    return preprocessing, f"{path}: {problem}: add a preprocessor_config.json" if problem else ""


def _activation(name: Any, path: Path) -> str:
    if name not in _ACTIVATIONS:
        raise ConfigError(f"{path}: act_layer is {shown(name)}; supported are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _side(size: Any, path: Path) -> Any:
    if not isinstance(size, (list, tuple)):
        return size
    if len(set(size)) != 1:
        raise ConfigError(f"{path}: images of {shown(list(size))} pixels; only squares are supported")
    return size[0]
