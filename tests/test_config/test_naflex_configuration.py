"""Configurations of NaFlex: transformers' names and defaults, and which file is for which class."""

from __future__ import annotations

import dataclasses
import json

import pytest
import transformers

from numpy_siglip import (
    ConfigError,
    Siglip2Config,
    Siglip2TextConfig,
    Siglip2VisionConfig,
    SiglipConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
)
from numpy_siglip.config.kinds import AnyVisionConfig

VALUES = {
    "hidden_size": 48,
    "intermediate_size": 50,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_channels": 1,
    "patch_size": 7,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.1,
    "vision_use_head": False,
    "num_patches": 81,
}


@pytest.mark.parametrize("kind", [Siglip2VisionConfig, Siglip2TextConfig])
def test_defaults_and_names_are_those_of_transformers(kind):
    theirs = getattr(transformers, kind.__name__)()
    assert kind.model_type == theirs.model_type
    for field in dataclasses.fields(kind):
        assert getattr(kind(), field.name) == getattr(theirs, field.name), field.name


def test_what_transformers_saves_is_read_back(tmp_path):
    expected = Siglip2VisionConfig(**VALUES)
    transformers.Siglip2VisionConfig(**VALUES).save_pretrained(tmp_path / "vision")
    transformers.Siglip2Config(vision_config=VALUES, text_config={"vocab_size": 99}).save_pretrained(
        tmp_path / "full"
    )
    for folder in ("vision", "full"):
        assert Siglip2VisionConfig.from_pretrained(tmp_path / folder) == expected
        assert AnyVisionConfig.from_pretrained(tmp_path / folder) == expected
    full = Siglip2Config.from_pretrained(tmp_path / "full")
    assert full.vision_config == expected
    assert full.text_config == Siglip2TextConfig(vocab_size=99)
    assert (expected.head_dim, expected.patches_per_side, expected.patch_features) == (12, 9, 49)
    assert not expected.vision_use_head


def test_to_dict_is_read_by_transformers_and_by_us():
    full = Siglip2Config(vision_config=Siglip2VisionConfig(**VALUES))
    assert Siglip2Config.from_dict(full.to_dict()) == full
    theirs = transformers.Siglip2Config.from_dict(full.to_dict())
    assert (theirs.vision_config.num_patches, theirs.vision_config.patch_size) == (81, 7)
    assert theirs.text_config.projection_size == 768


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model_type": "siglip2"}, Siglip2VisionConfig()),
        (
            {"model_type": "siglip2", "vision_config": {"num_patches": 64}},
            Siglip2VisionConfig(num_patches=64),
        ),
        ({"model_type": "siglip2_vision_model", "patch_size": [14, 14]}, Siglip2VisionConfig(patch_size=14)),
        (
            {"model_type": "lfm2_vl", "vision_config": {"model_type": "siglip2_vision_model"}},
            Siglip2VisionConfig(),
        ),
        ({"model_type": "siglip", "vision_config": {"image_size": 512}}, SiglipVisionConfig(image_size=512)),
        ({"hidden_size": 24}, SiglipVisionConfig(hidden_size=24)),
    ],
)
def test_the_kind_of_tower_is_seen_in_the_file(values, expected):
    assert AnyVisionConfig.from_dict(values) == expected


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (SiglipVisionConfig, {"model_type": "siglip2"}, r"^model_type is 'siglip2'.*use Siglip2VisionModel"),
        (SiglipTextConfig, {"model_type": "siglip2_text_model"}, "use Siglip2TextModel"),
        (SiglipConfig, {"model_type": "siglip2"}, "use Siglip2Model"),
        (Siglip2VisionConfig, {"model_type": "siglip"}, r"^model_type is 'siglip'.*use SiglipVisionModel"),
        (Siglip2TextConfig, {"model_type": "siglip"}, "use SiglipTextModel"),
        (Siglip2Config, {"model_type": "siglip"}, "use SiglipModel"),
        (
            SiglipVisionConfig,
            {"model_type": "lfm2_vl", "vision_config": {"model_type": "siglip2_vision_model"}},
            r"^vision_config\.model_type is 'siglip2_vision_model'.*use Siglip2VisionModel",
        ),
        (
            Siglip2VisionConfig,
            {"model_type": "paligemma", "vision_config": {"model_type": "siglip_vision_model"}},
            r"^vision_config\.model_type is 'siglip_vision_model'.*use SiglipVisionModel",
        ),
        (Siglip2VisionConfig, {"model_type": "clip"}, "not a SigLIP vision tower"),
        (Siglip2Config, {"model_type": "siglip2_vision_model"}, "a whole model has 'siglip2'"),
    ],
)
def test_each_class_names_the_right_one(kind, values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        kind.from_dict(values)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"config\.json: "):
        kind.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"num_patches": 255}, "num_patches is 255, which is no square number"),
        ({"num_patches": 0}, "num_patches"),
        ({"num_patches": 10**400}, "num_patches"),
        ({"num_patches": "256"}, "num_patches"),
        ({"patch_size": [16, 14]}, "patch_size"),
        ({"patch_size": 0}, "patch_size"),
        ({"num_attention_heads": 7}, "num_attention_heads"),
        ({"vision_use_head": 1}, "vision_use_head"),
        ({"hidden_act": "soft"}, "hidden_act"),
    ],
)
def test_impossible_values_name_their_field(values, field):
    with pytest.raises(ConfigError, match=f"^{field}"):
        Siglip2VisionConfig.from_dict(values)
    with pytest.raises(ConfigError, match=f"^vision_config: {field}"):
        Siglip2Config(vision_config=values)
