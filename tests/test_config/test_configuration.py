from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import transformers

from numpy_siglip import ConfigError, SiglipConfig, SiglipTextConfig, SiglipVisionConfig


@pytest.mark.parametrize("kind", [SiglipVisionConfig, SiglipTextConfig])
def test_defaults_and_names_are_those_of_transformers(kind):
    theirs = getattr(transformers, kind.__name__)()
    for field in dataclasses.fields(kind):
        assert getattr(kind(), field.name) == getattr(theirs, field.name), field.name


def test_what_transformers_saves_is_read_back(tmp_path):
    values = {
        "hidden_size": 48,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_channels": 1,
        "image_size": 30,
        "patch_size": 7,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "attention_dropout": 0.1,
        "vision_use_head": False,
    }
    expected = SiglipVisionConfig(**values)
    transformers.SiglipVisionConfig(**values).save_pretrained(tmp_path / "vision")
    transformers.SiglipConfig(vision_config=values).save_pretrained(tmp_path / "full")
    assert SiglipConfig.from_pretrained(tmp_path / "full").vision_config == expected
    for folder in ("vision", "full"):
        assert SiglipVisionConfig.from_pretrained(tmp_path / folder) == expected
        assert SiglipVisionConfig.from_pretrained(str(tmp_path / folder / "config.json")) == expected
    assert not expected.vision_use_head
    assert (expected.head_dim, expected.patches_per_side, expected.num_patches) == (12, 4, 16)


def test_a_text_configuration_that_transformers_saves_is_read_back(tmp_path):
    values = {
        "vocab_size": 99,
        "hidden_size": 48,
        "intermediate_size": 50,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "attention_dropout": 0.1,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": [1, 3],
        "projection_size": 56,
    }
    transformers.SiglipTextConfig(**values).save_pretrained(tmp_path / "text")
    transformers.SiglipConfig(text_config=values).save_pretrained(tmp_path / "full")
    expected = SiglipTextConfig(**values)
    for folder in ("text", "full"):
        assert SiglipTextConfig.from_pretrained(tmp_path / folder) == expected
    full = SiglipConfig.from_pretrained(tmp_path / "full")
    assert full == SiglipConfig(text_config=expected)
    assert transformers.SiglipConfig.from_dict(full.to_dict()).text_config.projection_size == 56
    assert hash(full) == hash(SiglipConfig(expected))
    assert expected.head_dim == 12


def test_to_dict_is_read_by_transformers_and_by_us():
    config = SiglipVisionConfig(hidden_size=36, num_attention_heads=3, image_size=64)
    theirs = transformers.SiglipVisionConfig.from_dict(config.to_dict())
    assert (theirs.hidden_size, theirs.num_attention_heads, theirs.image_size) == (36, 3, 64)
    assert SiglipVisionConfig.from_dict(config.to_dict()) == config
    full = SiglipConfig(vision_config=config)
    assert SiglipConfig.from_dict(full.to_dict()) == full
    assert transformers.SiglipConfig.from_dict(full.to_dict()).vision_config.hidden_size == 36


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, SiglipVisionConfig()),
        ({"model_type": "siglip"}, SiglipVisionConfig()),
        ({"model_type": "siglip", "vision_config": None}, SiglipVisionConfig()),
        ({"model_type": "siglip", "vision_config": {}}, SiglipVisionConfig()),
        # the published siglip2-base-patch16-512 holds no more than this
        (
            {
                "model_type": "siglip",
                "text_config": {"vocab_size": 256000},
                "vision_config": {"image_size": 512},
            },
            SiglipVisionConfig(image_size=512),
        ),
        ({"model_type": "siglip_vision_model", "image_size": [384, 384]}, SiglipVisionConfig(image_size=384)),
        ({"hidden_act": None, "something_else": 5, "image_size": 256}, SiglipVisionConfig(image_size=256)),
        (
            {
                "model_type": "paligemma",
                "hidden_size": 2048,
                "vision_config": {
                    "model_type": "siglip_vision_model",
                    "hidden_size": 1152,
                    "num_attention_heads": 16,
                    "vision_use_head": False,
                    "projection_dim": 2048,
                },
            },
            SiglipVisionConfig(hidden_size=1152, num_attention_heads=16, vision_use_head=False),
        ),
    ],
)
def test_sparse_and_nested_configurations(values, expected):
    assert SiglipVisionConfig.from_dict(values) == expected


@pytest.mark.parametrize("model", ["paligemma", "gemma3", "llava", "llava_onevision"])
def test_towers_of_larger_models(model, tmp_path):
    """The configuration files that transformers writes for models with a SigLIP tower inside."""
    tower = {
        "model_type": "siglip_vision_model",
        "image_size": 448,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = transformers.AutoConfig.for_model(model, vision_config=tower)
    config.save_pretrained(tmp_path)
    read = SiglipVisionConfig.from_pretrained(tmp_path)
    assert (read.image_size, read.patch_size, read.vision_use_head) == (448, 14, False)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"num_attention_heads": 7}, "num_attention_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"hidden_size": -768}, "hidden_size"),
        ({"hidden_size": 768.0}, "hidden_size"),
        ({"hidden_size": "768"}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_channels": -3}, "num_channels"),
        ({"image_size": 15}, "image_size"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": [224, 448]}, "image_size"),
        ({"image_size": [224]}, "image_size"),
        ({"patch_size": [16, 14]}, "patch_size"),
        ({"patch_size": -16}, "patch_size"),
        ({"hidden_act": "gelu_tanh"}, "hidden_act"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"layer_norm_eps": 0}, "layer_norm_eps"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps"),
        ({"layer_norm_eps": "1e-6"}, "layer_norm_eps"),
        ({"attention_dropout": 1.5}, "attention_dropout"),
        ({"vision_use_head": "false"}, "vision_use_head"),
        ({"vision_use_head": 0}, "vision_use_head"),
        ({"model_type": "siglip2", "vision_config": {}}, "model_type"),
        ({"model_type": "clip"}, "model_type"),
        ({"model_type": "clip", "vision_config": {}}, "vision_config.model_type"),
        (
            {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}},
            "vision_config.model_type",
        ),
        ({"model_type": "siglip", "vision_config": {"model_type": "siglip2_vision_model"}}, "vision_config"),
        ({"vision_config": 5}, "vision_config"),
        ({"layer_norm_eps": 10**400}, "layer_norm_eps"),
        ({"layer_norm_eps": 1e300}, "layer_norm_eps"),
        ({"attention_dropout": 10**400}, "attention_dropout"),
        ({"image_size": 10**400}, "image_size"),
        ({"image_size": 10**6}, "image_size"),
        ({"patch_size": 10**6, "image_size": 10**6}, "image_size"),
        ({"hidden_size": 10**30}, "hidden_size"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_channels": 10**9}, "num_channels"),
    ],
)
def test_impossible_values_name_their_field(values, field, tmp_path):
    with pytest.raises(ConfigError, match=f"^{field}"):
        SiglipVisionConfig.from_dict(values)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=rf"^{tmp_path}.*config\.json: {field}"):
        SiglipVisionConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"vocab_size": 2**40}, "vocab_size"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
        ({"projection_size": -1}, "projection_size"),
        ({"num_attention_heads": 7}, "num_attention_heads"),
        ({"hidden_act": "gelu_tanh"}, "hidden_act"),
        ({"pad_token_id": "1"}, "pad_token_id"),
        ({"pad_token_id": [1]}, "pad_token_id"),
        ({"bos_token_id": True}, "bos_token_id"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id"),
        ({"model_type": "siglip_vision_model"}, "model_type"),
        ({"model_type": "paligemma", "text_config": {"model_type": "gemma"}}, "text_config.model_type"),
    ],
)
def test_impossible_values_of_a_text_tower_name_their_field(values, field):
    with pytest.raises(ConfigError, match=f"^{field}"):
        SiglipTextConfig.from_dict(values)


@pytest.mark.parametrize("model_type", ["siglip_vision_model", "siglip_text_model", "paligemma", ["siglip"]])
def test_a_whole_model_is_not_made_up_from_one_tower(model_type):
    with pytest.raises(ConfigError, match=r"^model_type is .*a whole model"):
        SiglipConfig.from_dict({"model_type": model_type, "vision_config": {}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no config.json"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[1, 2]", "holds a list"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_unreadable_files_are_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{tmp_path}.*{message}"):
        SiglipVisionConfig.from_pretrained(tmp_path)


def test_a_file_that_cannot_be_opened_is_not_called_missing(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read \(Is a directory\)"):
        SiglipVisionConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("values", [None, [1], "config.json", 5])
def test_what_is_no_mapping_is_refused(values):
    for read in (SiglipVisionConfig.from_dict, SiglipConfig.from_dict):
        with pytest.raises(ConfigError, match=r"^the configuration is .*; it must be a mapping"):
            read(values)
    if values is not None:
        with pytest.raises(ConfigError, match=r"^vision_config is .*; it must be a mapping"):
            SiglipConfig(vision_config=values)


def test_a_full_configuration_takes_what_transformers_takes():
    assert SiglipConfig(vision_config=None) == SiglipConfig()
    assert SiglipConfig(vision_config={"image_size": 384}).vision_config == SiglipVisionConfig(image_size=384)
    assert SiglipConfig({"vocab_size": 250_000}).text_config == SiglipTextConfig(vocab_size=250_000)
    with pytest.raises(ConfigError, match=r"^vision_config: image_size"):
        SiglipConfig(vision_config={"image_size": 0})
    with pytest.raises(ConfigError, match=r"^text_config: model_type"):
        SiglipConfig.from_dict({"text_config": {"model_type": "gemma"}})


def test_numpys_numbers_are_numbers():
    config = SiglipVisionConfig(image_size=np.int64(32), layer_norm_eps=np.float32(0.5))
    assert config == SiglipVisionConfig(image_size=32, layer_norm_eps=0.5)
    assert json.loads(json.dumps(config.to_dict()["image_size"])) == 32


def test_configurations_are_frozen_and_comparable():
    config = SiglipVisionConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 1
    assert len({config, SiglipVisionConfig()}) == 1
