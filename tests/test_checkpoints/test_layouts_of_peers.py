"""The files that timm and open_clip themselves write, against transformers' own form of the same weights.

These also check the writers that the other tests of layouts go by: state must be the same, name for name.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from helpers.toy_models import TOY, TOY_TEXT, transformers_full_model

from numpy_siglip import SiglipModel, SiglipVisionConfig, SiglipVisionModel
from numpy_siglip.checkpoints.description.model_files import open_model

pytestmark = pytest.mark.layouts

PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)
IDS = np.random.default_rng(3).integers(0, 100, (3, 16))


@pytest.fixture(scope="module")
def timm():
    import timm

    return timm


@pytest.fixture(scope="module")
def open_clip(timm):
    import open_clip

    return open_clip


@pytest.fixture(scope="module")
def model():
    return transformers_full_model(**TOY)


@pytest.fixture(scope="module")
def state(model):
    values = {name: value.numpy() for name, value in model.state_dict().items()}
    return {name: value for name, value in values.items() if not name.endswith("position_ids")}


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers")
    model.save_pretrained(folder)
    return folder


def _tensors(arrays):
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


ARGUMENTS = {
    "img_size": TOY["image_size"],
    "patch_size": TOY["patch_size"],
    "embed_dim": TOY["hidden_size"],
    "depth": TOY["num_hidden_layers"],
    "num_heads": TOY["num_attention_heads"],
    "mlp_ratio": TOY["intermediate_size"] / TOY["hidden_size"],
    "act_layer": "gelu_tanh",
}


def test_timm(timm, state, folder, tmp_path):
    theirs = timm.create_model("vit_base_patch16_siglip_224", **ARGUMENTS).eval()
    theirs.load_state_dict(_tensors(timm_tensors(part(state, "vision_model."))), strict=True)
    timm.models.save_for_hf(theirs, tmp_path, model_args=ARGUMENTS, safe_serialization=True)
    ours = SiglipVisionModel.from_pretrained(tmp_path)
    assert ours.config == SiglipVisionConfig(**TOY)
    expected = SiglipVisionModel.from_pretrained(folder)(PIXELS).pooler_output
    np.testing.assert_array_equal(ours(PIXELS).pooler_output, expected)
    with torch.no_grad():
        pooled = theirs(torch.from_numpy(PIXELS)).numpy()
    np.testing.assert_allclose(expected, pooled, atol=1e-5 * np.abs(pooled).max())


def test_timm_loads_the_archive_that_the_tests_write(timm, state, tmp_path):
    """So the writer of big_vision's layout is right as timm understands it."""
    save_npz(tmp_path / "m.npz", flax_tensors(state, TOY["num_attention_heads"]), "params/")
    theirs = timm.create_model("vit_base_patch16_siglip_224", **ARGUMENTS)
    theirs.load_pretrained(str(tmp_path / "m.npz"))
    for name, expected in timm_tensors(part(state, "vision_model.")).items():
        np.testing.assert_array_equal(theirs.state_dict()[name].numpy(), expected, err_msg=name)


def test_timm_naflex_names(timm):
    """State of the NaFlex tower, which the writer of the tests lists."""
    theirs = timm.create_model("naflexvit_base_patch16_siglip", embed_dim=48, depth=1, num_heads=3)
    names = {
        "embeddings.patch_embedding.weight": np.zeros((48, 768), np.float32),
        "embeddings.patch_embedding.bias": np.zeros(48, np.float32),
        "embeddings.position_embedding.weight": np.zeros((256, 48), np.float32),
    }
    from numpy_siglip import Siglip2VisionConfig
    from numpy_siglip.weights.vision_weights import vision_tensor_shapes

    config = Siglip2VisionConfig(
        hidden_size=48, intermediate_size=192, num_hidden_layers=1, num_attention_heads=3
    )
    shapes = vision_tensor_shapes(config)
    written = timm_tensors({n: np.zeros(s, np.float32) for n, s in shapes.items()} | names, naflex=True)
    actual = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert actual == {name: value.shape for name, value in written.items()}


def _open_clip_config():
    return {
        "embed_dim": TOY_TEXT["projection_size"],
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": TOY["image_size"],
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": TOY_TEXT["max_position_embeddings"],
            "vocab_size": TOY_TEXT["vocab_size"],
            "width": TOY_TEXT["hidden_size"],
            "heads": TOY_TEXT["num_attention_heads"],
            "layers": TOY_TEXT["num_hidden_layers"],
            "mlp_ratio": (TOY_TEXT["intermediate_size"] + 0.5) / TOY_TEXT["hidden_size"],
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"},
        },
    }


def test_open_clip(timm, open_clip, state, folder, tmp_path):
    from safetensors.torch import save_file

    config = _open_clip_config()
    arguments = {name: value for name, value in config.items() if name != "custom_text"}
    theirs = open_clip.model.CustomTextCLIP(**arguments).eval()
    theirs.visual.trunk = timm.create_model("vit_base_patch16_siglip_224", **ARGUMENTS).eval()
    theirs.load_state_dict(_tensors(open_clip_tensors(state)), strict=True)
    save_file(theirs.state_dict(), tmp_path / "open_clip_model.safetensors")
    from open_clip.push_to_hf_hub import save_config_for_hf

    theirs.visual.image_mean = theirs.visual.image_std = (0.5, 0.5, 0.5)  # as its factory sets them
    theirs.visual.preprocess_cfg = {"interpolation": "bicubic", "resize_mode": "squash"}
    save_config_for_hf(theirs, tmp_path / "open_clip_config.json", config)
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": TOY["num_attention_heads"]}))
    assert open_model(tmp_path).layout == "open_clip"
    actual, expected = (SiglipModel.from_pretrained(path)(IDS, PIXELS) for path in (tmp_path, folder))
    np.testing.assert_array_equal(actual.logits_per_image, expected.logits_per_image)
    np.testing.assert_array_equal(actual.text_embeds, expected.text_embeds)
    with torch.no_grad():
        image, text, scale = theirs(torch.from_numpy(PIXELS), torch.from_numpy(IDS))[:3]
        logits = (image @ text.T * scale + theirs.logit_bias).numpy()
    np.testing.assert_allclose(actual.logits_per_image, logits, atol=1e-4)


def test_open_clip_loads_the_archive_that_the_tests_write(timm, open_clip, state, tmp_path):
    from open_clip.convert import load_big_vision_weights

    config = {name: value for name, value in _open_clip_config().items() if name != "custom_text"}
    theirs = open_clip.model.CustomTextCLIP(**config)
    theirs.visual.trunk = timm.create_model("vit_base_patch16_siglip_224", **ARGUMENTS)
    heads = TOY["num_attention_heads"], TOY_TEXT["num_attention_heads"]
    for stacked in (False, True):
        save_npz(tmp_path / "m.npz", flax_tensors(state, *heads, stacked=stacked), "params/")
        with torch.no_grad():
            load_big_vision_weights(theirs, str(tmp_path / "m.npz"))
        for name, expected in open_clip_tensors(state).items():
            np.testing.assert_array_equal(theirs.state_dict()[name].numpy(), expected, err_msg=name)
