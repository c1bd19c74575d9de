"""transformers' own models, made of the same configuration and tensors, to be compared with.

transformers and torch are imported only when a comparison is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...checkpoints.file_names import PREPROCESSOR_FILE, PROCESSOR_FILE
from ...common.extras import how_to_install
from ...config.config_section import ConfigSection
from ...config.text_configuration import SiglipTextConfig
from ...embedding.vision_kinds import VisionFiles
from ...errors import SiglipError
from ...model.comparison import Comparison
from ...model.trace import layer_path
from ...weights.text_weights import find_text_tensors
from ...weights.vision_weights import find_vision_tensors


def import_transformers() -> Any:
    """Import transformers and torch, and keep the former quiet.

    Raises
    ------
    SiglipError
        If one is not installed.
    """
    try:
        import torch  # noqa: F401  (transformers imports without it, and then has no models)
        import transformers
    except ImportError as cause:
        raise SiglipError(
            f"{cause.name} is not installed, and validation compares with it: "
            f"{how_to_install('transformers')} (on Linux install the CPU build of torch first)"
        ) from cause
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def vision_peer(transformers: Any, files: VisionFiles) -> Any:
    """Their vision model of this configuration, each of its parameters filled from the checkpoint."""
    names = find_vision_tensors(files.tensors, files.config)
    return _filled(transformers, files, "Vision", files.config, names)


def text_peer(transformers: Any, files: VisionFiles, config: SiglipTextConfig) -> Any:
    """Their text model of this configuration, each of its parameters filled from the checkpoint."""
    return _filled(transformers, files, "Text", config, find_text_tensors(files.tensors, config))


def whole_peer(transformers: Any, files: VisionFiles, vision: Any, text: Any, comparison: Comparison) -> Any:
    """Their model of two towers, made of these."""
    import torch

    family = _family(files)
    config = getattr(transformers, f"{family}Config")(
        vision_config=vision.config.to_dict(), text_config=text.config.to_dict()
    )
    with torch.device("meta"):  # of which nothing stays
        model = getattr(transformers, f"{family}Model")._from_config(config, attn_implementation="eager")
    model.vision_model, model.text_model = vision, text
    model.logit_scale = torch.nn.Parameter(torch.tensor([comparison.logit_scale]))
    model.logit_bias = torch.nn.Parameter(torch.tensor([comparison.logit_bias]))
    return model.eval()


def as_tensors(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as torch's; the rest as it is."""
    import torch

    return {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in inputs.items()}


def _family(files: VisionFiles) -> str:
    return "Siglip2" if files.is_naflex else "Siglip"


def _filled(
    transformers: Any, files: VisionFiles, tower: str, config: ConfigSection, names: Mapping[str, str]
) -> Any:
    import torch

    model_class = getattr(transformers, f"{_family(files)}{tower}Model")
    config_class = getattr(transformers, f"{_family(files)}{tower}Config")
    model = model_class._from_config(config_class(**config.to_dict()), attn_implementation="eager")
    inner = f"{tower.lower()}_model"
    prefix = f"{inner}." if hasattr(model, inner) else ""  # in releases before 5.8
    model.load_state_dict(
        {
            # A copy, since torch does not take the read-only views of the file.
            prefix + name: torch.from_numpy(np.array(files.tensors.tensor(stored)))
            for name, stored in names.items()
        },
        strict=True,
        assign=True,
    )
    return model.eval()


def transformers_pixels(transformers: Any, files: VisionFiles, images: list[Any]) -> np.ndarray:
    """What their image processor makes of images."""
    from ...preprocessing.images import is_path, load_image

    processor_class: Callable[..., Any] = getattr(transformers, f"{_family(files)}ImageProcessorPil")
    said = files.files.preprocessing
    if said.file.name in (PREPROCESSOR_FILE, PROCESSOR_FILE):
        folder = files.files.folder
        processor = processor_class.from_pretrained(folder, do_convert_rgb=True)  # type: ignore[attr-defined]
    else:  # what was inferred is given to both
        processor = processor_class.from_dict(dict(said.values))  # type: ignore[attr-defined]
    opened = [load_image(image) if is_path(image) else image for image in images]
    return np.stack(processor(opened)["pixel_values"])


def transformers_stages(model: Any, **inputs: Any) -> dict[str, np.ndarray]:
    """Run a tower of transformers and collect the stages that our own names by ``trace``.

    Parameters
    ----------
    model : transformers.SiglipVisionModel, Siglip2VisionModel, SiglipTextModel or Siglip2TextModel
        With eager attention, so that it hands out attention weights.
    **inputs
        What the model's call takes: arrays of a processor, options.
    """
    import torch

    stages: dict[str, np.ndarray] = {}
    handles: list[Any] = []

    def keep(name: str, value: Any) -> None:
        stages[name] = (value[0] if isinstance(value, tuple) else value).detach().numpy()

    def after(module: Any, name: str) -> None:
        handles.append(module.register_forward_hook(lambda _m, _i, output: keep(name, output)))

    def before(module: Any, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda _m, inputs: keep(name, inputs)))

    # releases before 5.8 have one level more
    tower = getattr(model, "vision_model", getattr(model, "text_model", model))
    after(tower.embeddings, "embeddings")
    for index, layer in enumerate(tower.encoder.layers):
        path = layer_path(index)
        after(layer.layer_norm1, f"{path}/layer_norm1")
        after(layer.self_attn.q_proj, f"{path}/attention/query")
        after(layer.self_attn.k_proj, f"{path}/attention/key")
        after(layer.self_attn.v_proj, f"{path}/attention/value")
        before(layer.self_attn.out_proj, f"{path}/attention/heads")
        before(layer.layer_norm2, f"{path}/attention")
        after(layer.layer_norm2, f"{path}/layer_norm2")
        before(layer.mlp.fc2, f"{path}/mlp/activation")
        after(layer, path)
    if hasattr(tower, "final_layer_norm"):
        after(tower.final_layer_norm, "final_layer_norm")
        before(tower.head, "last_token")
        after(tower.head, "head")
    else:
        after(tower.post_layernorm, "post_layernorm")
    if getattr(model.config, "vision_use_head", False):
        before(tower.head.layernorm, "head/attention")
        after(tower.head.layernorm, "head/layernorm")
        after(tower.head, "head")
    try:
        with torch.no_grad():
            output = model(**as_tensors(inputs), output_attentions=True)
    finally:
        for handle in handles:
            handle.remove()
    for index, attention in enumerate(output.attentions):
        stages[f"{layer_path(index)}/attention/weights"] = attention.numpy()
    return stages
