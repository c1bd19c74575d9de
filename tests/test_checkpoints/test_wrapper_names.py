"""Models saved while they were wrapped, as training scripts do it: every use takes them as the unwrapped."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from helpers.published_model import PIXELS
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    Embedder,
    SiglipForImageClassification,
    SiglipModel,
    SiglipVisionModel,
    convert_model,
    inspect_model,
    quantize_model,
    validate_model,
)

WRAPPINGS = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "data parallel": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "both the other way": lambda name: f"_orig_mod.module.{name}",
    "Lightning": lambda name: f"model.{name}",
    "compiled inside Lightning": lambda name: f"model._orig_mod.{name}",
    "a part alone": lambda name: name.replace("vision_model.", "vision_model._orig_mod."),
    "layers alone": lambda name: name.replace(".layers.0.", ".layers.0._checkpoint_wrapped_module."),
    "sharded": lambda name: f"_fsdp_wrapped_module.{name.replace('.mlp.', '.mlp._fsdp_wrapped_module.')}",
}


def _wrapped(folder, target, wrapping):
    shutil.copytree(folder, target)
    tensors = load_file(target / "model.safetensors")
    wrapped = {WRAPPINGS[wrapping](name): tensor for name, tensor in tensors.items()}
    save_file(wrapped, target / "model.safetensors")
    return target


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_whole_model(wrapping, pair_folder, photos, tmp_path):
    folder = _wrapped(pair_folder, tmp_path / "m", wrapping)
    labels = ["a cat", "a dog"]
    ours, plain = (Embedder.from_pretrained(one).classify(photos[0], labels) for one in (folder, pair_folder))
    np.testing.assert_array_equal(ours, plain)
    conversion = convert_model(folder, tmp_path / "converted")
    assert conversion.model_class == "SiglipModel"
    assert load_file(tmp_path / "converted" / "model.safetensors").keys() >= {"logit_scale", "logit_bias"}
    assert SiglipModel.from_pretrained(tmp_path / "converted").config.vision_config.hidden_size == 33
    assert inspect_model(folder)["model_class"] == "SiglipModel"
    assert {tensor["name"] for tensor in inspect_model(folder)["other_tensors"]} == {
        "logit_scale",
        "logit_bias",
    }


@pytest.mark.parametrize("wrapping", ["torch.compile", "Lightning"])
def test_it_is_quantised_and_validated(wrapping, pair_folder, tmp_path):
    folder = _wrapped(pair_folder, tmp_path / "m", wrapping)
    quantize_model(folder, tmp_path / "int8", balance=False)
    quantize_model(pair_folder, tmp_path / "plain", balance=False)
    ours, plain = (SiglipVisionModel.from_pretrained(tmp_path / name)(PIXELS) for name in ("int8", "plain"))
    np.testing.assert_array_equal(ours.pooler_output, plain.pooler_output)
    assert validate_model(folder).first_divergence is None


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_classifier(wrapping, classifier_folder, tmp_path):
    folder = _wrapped(classifier_folder, tmp_path / "m", wrapping)
    ours, plain = (
        SiglipForImageClassification.from_pretrained(one)(PIXELS) for one in (folder, classifier_folder)
    )
    np.testing.assert_array_equal(ours.logits, plain.logits)
    report = inspect_model(folder)
    assert (report["model_class"], report["labels"]) == (
        "SiglipForImageClassification",
        ["cat", "dog", "bicycle"],
    )


def test_a_model_beside_its_average_is_not_mixed_with_it(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    average = {f"module.{name}": tensor + 1 for name, tensor in tensors.items()}
    save_file({**tensors, **average}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="more than one vision tower"):
        SiglipVisionModel.from_pretrained(folder)
