"""Checkpoints for the tests, written by transformers itself, with weights that behave like trained ones.

Fresh weights of transformers are too well-behaved to find mistakes with: biases are zero, norms are
one, positions are tiny. Trained towers have outlier channels in the residual stream, position
embeddings that dwarf the patches at the edges, and attention that is far from uniform. The
weights drawn here have all three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

TOY = {
    "hidden_size": 33,
    "intermediate_size": 70,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 44,
    "patch_size": 11,
}
"""Odd everywhere: heads of 11, a grid of 4 x 4, an MLP that is no multiple of anything."""

AWKWARD = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 1,
    "num_attention_heads": 16,
    "image_size": 70,
    "patch_size": 14,
}
"""Heads of 72, an MLP of 4304: the awkward sizes of So400m, on a small grid."""

NAFLEX_TOY = {**TOY, "num_patches": 16}
"""The same for images of any aspect ratio, with positions learned on a grid of 4 x 4."""
del NAFLEX_TOY["image_size"]

TOY_TEXT = {
    "vocab_size": 120,
    "hidden_size": 26,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "projection_size": 33,
}
"""As odd: heads of 13, and a projection to the width of `TOY`."""

_OUTLIER_CHANNELS = 3
_OUTLIER_SCALE = 30.0


def realistic_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded float32 weights for these tensors, by name."""
    generator = np.random.default_rng(seed)
    width = shapes["embeddings.position_embedding.weight"][1]
    outliers = generator.choice(width, size=_OUTLIER_CHANNELS, replace=False)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = generator.standard_normal(shape)
        if (
            name.endswith("norm1.weight")
            or name.endswith("norm2.weight")
            or name.endswith(("layernorm.weight", "layer_norm.weight"))
        ):
            return 1 + 0.2 * noise
        if name.endswith("position_embedding.weight"):
            noise[:, outliers] *= _OUTLIER_SCALE  # a few channels carry most of the norm
            noise[0] *= 10  # and the corner patch is far larger than its neighbours
            return 0.5 * noise
        if name.endswith("bias"):
            if name.endswith("fc2.bias") or name.endswith("out_proj.bias"):
                noise[outliers] *= _OUTLIER_SCALE
            return 0.1 * noise
        if name.endswith("probe"):
            return noise
        fan_in = int(np.prod(shape[1:]))
        sharper = 2.0 if any(part in name for part in ("q_proj", "k_proj", "in_proj")) else 1.0
        return sharper * noise / np.sqrt(fan_in)

    # sorted, so that the same tower has the same weights whatever order its tensors are listed in
    return {name: draw(name, shapes[name]).astype(np.float32) for name in sorted(shapes)}


def transformers_vision_model(seed: int = 0, **config: Any) -> Any:
    """transformers' SiglipVisionModel of this configuration, in eager attention, with realistic weights."""
    import torch
    from transformers import SiglipVisionConfig, SiglipVisionModel

    with torch.device("meta"):
        model = SiglipVisionModel._from_config(SiglipVisionConfig(**config), attn_implementation="eager")
    model.to_empty(device="cpu")
    _fill(model, seed)
    return model.eval()


def transformers_text_model(seed: int = 0, **config: Any) -> Any:
    """transformers' SiglipTextModel of this configuration, in eager attention, with realistic weights."""
    from transformers import SiglipTextConfig, SiglipTextModel

    config = {"projection_size": config["hidden_size"], **config}
    model = SiglipTextModel._from_config(SiglipTextConfig(**config), attn_implementation="eager")
    _fill(model, seed)
    return model.eval()


def transformers_full_model(
    seed: int = 0, text_config: dict[str, Any] | None = None, **vision_config: Any
) -> Any:
    """transformers' SiglipModel whose vision tower is `transformers_vision_model` of the same arguments."""
    import torch
    from transformers import SiglipConfig, SiglipModel

    text = TOY_TEXT if text_config is None else text_config
    config = SiglipConfig(vision_config=vision_config, text_config=text)
    model = SiglipModel._from_config(config, attn_implementation="eager")
    _fill(model.vision_model, seed)
    _fill(model.text_model, seed + 1)
    with torch.no_grad():  # so that probabilities are neither 0 nor 1
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-1.5)
    return model.eval()


def transformers_classifier(seed: int = 0, labels: tuple[str, ...] = (), **vision_config: Any) -> Any:
    """transformers' SiglipForImageClassification of these classes, with realistic weights."""
    import torch
    from transformers import SiglipConfig, SiglipForImageClassification

    config = SiglipConfig(
        vision_config=vision_config,
        text_config=TOY_TEXT,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = SiglipForImageClassification._from_config(config, attn_implementation="eager")
    _fill(model.vision_model, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.classifier.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model.eval()


def transformers_naflex_classifier(seed: int = 0, labels: tuple[str, ...] = (), **vision_config: Any) -> Any:
    """transformers' Siglip2ForImageClassification of these classes, with realistic weights."""
    import torch
    from transformers import Siglip2Config, Siglip2ForImageClassification

    config = Siglip2Config(
        vision_config=vision_config,
        text_config=TOY_TEXT,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = Siglip2ForImageClassification._from_config(config, attn_implementation="eager")
    _fill(model.vision_model, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.classifier.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model.eval()


def transformers_naflex_model(seed: int = 0, **config: Any) -> Any:
    """transformers' Siglip2VisionModel of this configuration, in eager attention, with realistic weights."""
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    model = Siglip2VisionModel._from_config(Siglip2VisionConfig(**config), attn_implementation="eager")
    _fill(model, seed)
    return model.eval()


def transformers_naflex_full_model(seed: int = 0, **vision_config: Any) -> Any:
    """transformers' Siglip2Model whose vision tower is `transformers_naflex_model` of the same arguments."""
    import torch
    from transformers import Siglip2Config, Siglip2Model

    config = Siglip2Config(vision_config=vision_config, text_config={**TOY_TEXT, "vocab_size": 520})
    model = Siglip2Model._from_config(config, attn_implementation="eager")
    _fill(model.vision_model, seed)
    _fill(model.text_model, seed + 1)
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-1.5)
    return model.eval()


def save_naflex_image_processor(folder: Path, **options: Any) -> None:
    """Write a preprocessor_config.json as transformers writes it for NaFlex."""
    from transformers import Siglip2ImageProcessorPil

    Siglip2ImageProcessorPil(**options).save_pretrained(folder)


def save_image_processor(folder: Path, image_size: int, **options: Any) -> None:
    """Write a preprocessor_config.json as transformers writes it."""
    from transformers import SiglipImageProcessorPil

    size = {"height": image_size, "width": image_size}
    SiglipImageProcessorPil(**{"size": size, **options}).save_pretrained(folder)


def _inner(name: str) -> str:
    return name.removeprefix("vision_model.").removeprefix("text_model.")


def _fill(model: Any, seed: int) -> None:
    """Overwrite a tower's parameters, and its buffers with what transformers puts there."""
    import torch

    state = model.state_dict()
    shapes = {_inner(name): tuple(value.shape) for name, value in state.items()}
    weights = realistic_weights(shapes, seed)
    for name, value in model.named_parameters():
        value.data = torch.from_numpy(weights[_inner(name)])
    for name, value in model.named_buffers():
        assert name.endswith("position_ids"), name
        value.data = torch.arange(value.shape[-1]).expand(value.shape)
