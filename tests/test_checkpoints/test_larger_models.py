"""SigLIP towers inside larger models, as transformers writes these, and as their authors do."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, realistic_weights

from numpy_siglip import ConfigError, SiglipVisionConfig, SiglipVisionModel
from numpy_siglip.checkpoints.description.larger_models import positions_are_counted
from numpy_siglip.checkpoints.description.model_files import open_model

PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)
WORDS = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 40,
    "head_dim": 8,
    "pad_token_id": 0,
}
SIGLIP = {**TOY, "model_type": "siglip_vision_model", "vision_use_head": False}
IMAGE_TOKEN = {"image_token_id": 39}
MODELS = {
    "PaliGemma": {"text_config": {**WORDS, "model_type": "gemma"}, "projection_dim": 16, **IMAGE_TOKEN},
    "Gemma3": {
        "text_config": {**WORDS, "model_type": "gemma3_text"},
        "mm_tokens_per_image": 4,
        **IMAGE_TOKEN,
    },
    "Llava": {"text_config": {**WORDS, "model_type": "llama"}, **IMAGE_TOKEN},
    "LlavaOnevision": {"text_config": {**WORDS, "model_type": "qwen2"}, **IMAGE_TOKEN},
    "Idefics2": {"text_config": {**WORDS, "model_type": "mistral"}, **IMAGE_TOKEN},
    "Idefics3": {"text_config": {**WORDS, "model_type": "llama"}, "scale_factor": 2, **IMAGE_TOKEN},
    "SmolVLM": {"text_config": {**WORDS, "model_type": "llama"}, "scale_factor": 2, **IMAGE_TOKEN},
}
PALIGEMMA = {"vision_config": SIGLIP, **MODELS["PaliGemma"], "model_type": "paligemma"}
MODERNVBERT = {
    "model_type": "modernvbert",
    "text_config": {
        "model_type": "modernbert",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 40,
        **dict.fromkeys(["pad_token_id", "cls_token_id", "sep_token_id", "eos_token_id", "bos_token_id"], 0),
    },
    "vision_config": SIGLIP,
    "pixel_shuffle_factor": 2,
    **IMAGE_TOKEN,
}
T5GEMMA2 = {
    "encoder": {
        "text_config": {**WORDS, "model_type": "t5gemma2_text"},
        "vision_config": SIGLIP,
        "mm_tokens_per_image": 4,
        "image_token_index": 39,
    },
    "decoder": {**WORDS, "model_type": "t5gemma2_decoder"},
    "image_token_index": 39,
}
DEEPER = {
    "ColPali": ("ColPaliForRetrieval", {"vlm_config": PALIGEMMA, "embedding_dim": 8}, 3),
    "ColModernVBert": ("ColModernVBertForRetrieval", {"vlm_config": MODERNVBERT, "embedding_dim": 8}, 1),
    "PI0": (
        "PI0ForConditionalGeneration",
        {"vlm_config": PALIGEMMA, "dit_config": {**WORDS, "model_type": "gemma"}},
        3,
    ),
    "T5Gemma2": ("T5Gemma2ForConditionalGeneration", T5GEMMA2, 2),
}
"""Models that keep the configuration of the tower a level deeper, and how they resize"""
OWN_TOWER = ("Idefics2", "Idefics3", "SmolVLM")


def _larger_model(name):
    """transformers' model, its tower filled with realistic weights."""
    vision = dict(TOY) if name in OWN_TOWER else dict(SIGLIP)
    config = getattr(transformers, f"{name}Config")(vision_config=vision, **MODELS[name])
    model = getattr(transformers, f"{name}ForConditionalGeneration")._from_config(
        config, attn_implementation="eager"
    )
    return _filled(model)


def _filled(model):
    tower = next(
        module
        for module in model.modules()
        if type(module).__name__.endswith(("VisionTransformer", "SiglipVisionModel"))
    )
    state = tower.state_dict()
    names = {key: key.removeprefix("vision_model.") for key in state if not key.endswith("position_ids")}
    weights = realistic_weights({names[key]: tuple(state[key].shape) for key in names})
    tower.load_state_dict({key: torch.from_numpy(weights[names[key]]) for key in names}, strict=False)
    return model.eval(), tower, weights


@pytest.mark.parametrize("name", MODELS)
def test_a_tower_inside_a_larger_model(name, tmp_path):
    model, tower, weights = _larger_model(name)
    model.save_pretrained(tmp_path)
    ours = SiglipVisionModel.from_pretrained(tmp_path)
    output = ours(PIXELS)
    assert output.pooler_output is None
    with torch.no_grad():
        theirs = tower(torch.from_numpy(PIXELS)).last_hidden_state.numpy()
    assert_close(output.last_hidden_state, theirs, relative=1e-5)

    from safetensors.numpy import save_file

    alone = tmp_path / "alone"
    alone.mkdir()
    save_file(weights, alone / "model.safetensors")
    (alone / "config.json").write_text(json.dumps(SIGLIP))
    same = SiglipVisionModel.from_pretrained(alone)(PIXELS)
    np.testing.assert_array_equal(output.last_hidden_state, same.last_hidden_state)


@pytest.mark.parametrize("name", DEEPER)
def test_a_tower_whose_configuration_lies_deeper(name, tmp_path):
    model_class, options, resample = DEEPER[name]
    config = getattr(transformers, f"{name}Config")(**options)
    model, tower, _ = _filled(getattr(transformers, model_class)(config))
    model.save_pretrained(tmp_path)
    assert "vision_config" not in json.loads((tmp_path / "config.json").read_text())
    ours = SiglipVisionModel.from_pretrained(tmp_path)
    assert (ours.config.hidden_size, ours.config.image_size, ours.config.num_hidden_layers) == (33, 44, 2)
    with torch.no_grad():
        theirs = tower(torch.from_numpy(PIXELS)).last_hidden_state.numpy()
    assert_close(ours(PIXELS).last_hidden_state, theirs, relative=1e-5)
    assert open_model(tmp_path).preprocessing.values["resample"] == resample


def test_a_tower_of_the_authors_of_llava(tmp_path):
    """They name the tower in config.json and do not describe it; prefixes are doubled."""
    from safetensors.numpy import save_file

    from numpy_siglip.weights.vision_weights import vision_tensor_shapes

    config = SiglipVisionConfig(
        **TOY | {"hidden_size": 768, "num_attention_heads": 12}, vision_use_head=False
    )
    weights = realistic_weights(vision_tensor_shapes(config))
    prefix = "model.vision_tower.vision_tower.vision_model."
    save_file({prefix + name: value for name, value in weights.items()}, tmp_path / "model.safetensors")
    values = {
        "model_type": "llava",
        "mm_vision_tower": "google/siglip-so400m-patch14-384",
        "hidden_size": 896,
    }
    values |= {"num_attention_heads": 14, "hidden_act": "silu"}  # of the language model
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert SiglipVisionConfig.from_pretrained(tmp_path) == config
    assert (
        "vision num_attention_heads 12, as every published tower of width 768 has"
        in open_model(tmp_path).inferred
    )
    tokens = SiglipVisionModel.from_pretrained(tmp_path)(PIXELS).last_hidden_state
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    np.testing.assert_array_equal(
        tokens, SiglipVisionModel.from_pretrained(tmp_path)(PIXELS).last_hidden_state
    )


def test_positions_of_navit_are_plain_where_we_say_so():
    """transformers' own arithmetic, for a whole square image."""
    from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionEmbeddings

    for side in range(1, 129):
        if positions_are_counted(side):
            config = transformers.Idefics3Config().vision_config
            config.hidden_size, config.image_size, config.patch_size = 1, side, 1
            embeddings = Idefics3VisionEmbeddings(config).eval()
            torch.nn.init.zeros_(embeddings.patch_embedding.weight)
            torch.nn.init.zeros_(embeddings.patch_embedding.bias)
            embeddings.position_embedding.weight.data = torch.arange(side**2).float()[:, None]
            mask = torch.ones(1, side, side, dtype=torch.bool)
            with torch.no_grad():
                ids = embeddings(torch.zeros(1, 3, side, side), mask).flatten()
            assert torch.equal(ids, torch.arange(side**2).float()), side
    # Idefics 2 at 980, Idefics 3 at 364, SmolVLM at 384 and at 512 pixels
    assert all(
        positions_are_counted(size // patch) for size, patch in [(980, 14), (364, 14), (384, 14), (512, 16)]
    )


@pytest.mark.parametrize(
    ("vision", "message"),
    [
        (
            {"image_size": 275, "patch_size": 11},
            r"with 25 patches on a side, smolvlm gives patches other pos",
        ),
        ({"image_size": [44, 55]}, r"image_size is \[44, 55\]"),
        (7, r"vision_config is 7; it must be a mapping"),
    ],
)
def test_what_is_refused(vision, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "smolvlm", "vision_config": vision}))
    with pytest.raises(ConfigError, match=rf"{tmp_path}.*config\.json: .*{message}"):
        SiglipVisionConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("section", ["vlm_config", "encoder"])
def test_a_tower_that_is_described_a_level_deeper(section, toy_folder, tmp_path):
    """As ColPali, ColModernVBERT, PI0 and T5Gemma 2 do."""
    shutil.copytree(toy_folder, tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    vision = json.loads(file.read_text())
    inner = {"model_type": "paligemma", "vision_config": vision}
    file.write_text(json.dumps({"model_type": "colpali", section: inner}))
    deeper = SiglipVisionModel.from_pretrained(tmp_path / "m", backend="numpy").config
    assert deeper.hidden_size == vision["hidden_size"]
    assert deeper.num_hidden_layers == vision["num_hidden_layers"]
