"""A model of both towers as transformers writes it, for other layouts of its weights to be equal to."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save_file

from helpers.layout_writers import part
from helpers.toy_models import TOY_TEXT, transformers_full_model
from numpy_siglip import SiglipModel, SiglipVisionModel

TEXT_HEADS = TOY_TEXT["num_attention_heads"]
HEADS = {"vision_config": {"num_attention_heads": 3}}
HEADS_OF_BOTH = {**HEADS, "text_config": {"num_attention_heads": TEXT_HEADS}}
PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)


class Published:
    """One model as transformers writes it: its state, its folder and what it computes."""

    def __init__(self, folder, config):
        text = {**TOY_TEXT, "projection_size": config["hidden_size"]}
        model = transformers_full_model(text_config=text, **config)
        self.heads = config["num_attention_heads"]
        state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        self.state = {name: value for name, value in state.items() if not name.endswith("position_ids")}
        model.save_pretrained(folder)
        self.folder = folder
        self.outputs = outputs(folder)
        self.logits = logits(folder)

    @property
    def vision_state(self):
        """The tensors of the vision tower, by names that begin there."""
        return part(self.state, "vision_model.")


def outputs(model):
    """Tokens and pooled output of the vision tower."""
    output = SiglipVisionModel.from_pretrained(model)(PIXELS)
    return output.last_hidden_state, output.pooler_output


def logits(model):
    """Of the whole model, both towers and the scalars."""
    ids = np.random.default_rng(3).integers(0, 100, (3, 9))
    return SiglipModel.from_pretrained(model)(ids, PIXELS).logits_per_image


def assert_same_outputs(model, published):
    """Bit for bit."""
    for actual, expected in zip(outputs(model), published.outputs, strict=True):
        np.testing.assert_array_equal(actual, expected)


def save(folder, tensors, config=None, name="model.safetensors"):
    """Write tensors, and a configuration if one is given, into a folder, which is made."""
    folder.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
