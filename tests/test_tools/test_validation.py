"""The comparison with transformers must find what is wrong, and where it begins."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, transformers_vision_model
from safetensors.numpy import load_file, save_file

from numpy_siglip import ConfigError, Siglip2VisionModel, SiglipTextModel, SiglipVisionModel
from numpy_siglip.embedding.vision_kinds import open_vision_model
from numpy_siglip.kernels.backend import get_backend
from numpy_siglip.tools.validate.transformers_peer import transformers_stages, vision_peer
from numpy_siglip.tools.validate.validation import (
    compare_arrays,
    format_validation,
    validate_model,
)


def test_every_stage_but_the_pooling_maps_is_compared(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    traced = list(model.trace(np.zeros((1, 3, 44, 44), np.float32)))
    validation = validate_model(toy_folder)
    assert [stage.stage for stage in validation.stages] == [
        name for name in traced if name != "head/attention/weights"
    ]
    assert validation.first_divergence is None
    assert 0 < validation.worst.relative_difference < 1e-5


def test_photographs_are_compared_from_the_preprocessing_on(toy_folder, photos):
    validation = validate_model(toy_folder, list(photos))
    assert validation.stages[0].stage == "pixel_values"
    assert validation.stages[0].max_difference == 0
    assert validation.stages[0].shape == (4, 3, 44, 44)
    assert validation.first_divergence is None


def test_naflex_is_compared_at_every_stage_but_for_its_padding(naflex_folder, photos):
    noise = validate_model(naflex_folder)
    with_photos = validate_model(naflex_folder, list(photos))
    assert with_photos.stages[0].stage == "pixel_values"
    assert with_photos.stages[0].max_difference == 0
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    patches = np.zeros((1, 16, 363), np.float32)
    traced = [name for name in model.trace(patches, None, [[4, 4]]) if name != "head/attention/weights"]
    for validation, stages in ((noise, noise.stages), (with_photos, with_photos.stages[1:])):
        assert [stage.stage for stage in stages] == traced
        assert validation.first_divergence is None
        assert 0 < validation.worst.relative_difference < 5e-5


@pytest.mark.parametrize(
    ("broken", "stage"),
    [
        ("layer_norm", "encoder/layers/00/layer_norm1"),
        ("attention", "encoder/layers/00/attention/weights"),
        ("patch_embedding", "embeddings"),
        ("attention_pooling", "head/attention"),
    ],
)
def test_the_first_wrong_stage_is_named(broken, stage, toy_folder, monkeypatch):
    """Each operation in turn is a thousandth too large; everything before it is still equal."""
    right = getattr(get_backend("numpy"), broken)

    def too_large(*arguments, **options):
        result = right(*arguments, **options)
        if isinstance(result, tuple):
            return tuple(part * np.float32(1.001) for part in result)
        return result * np.float32(1.001)

    wrong = get_backend("numpy")._replace(**{broken: too_large})
    monkeypatch.setattr("numpy_siglip.model.backends.get_backend", lambda *_: wrong)
    validation = validate_model(toy_folder)
    assert validation.first_divergence.stage == stage
    text = format_validation(validation)
    assert f"not equal: the first stage beyond 0.0001 is {stage}" in text
    assert "beyond tolerance" in text


def test_a_nan_is_a_divergence(toy_folder, monkeypatch):
    right = get_backend("numpy").linear

    def with_nan(*arguments, **options):
        result = right(*arguments, **options)
        result[..., 0] = np.nan
        return result

    wrong = get_backend("numpy")._replace(linear=with_nan)
    monkeypatch.setattr("numpy_siglip.model.backends.get_backend", lambda *_: wrong)
    first = validate_model(toy_folder).first_divergence
    assert first.stage == "encoder/layers/00/attention/query"
    assert first.problem == "not finite in this package"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_called_that_and_not_a_difference(value, toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layers.1.layer_norm1.weight"
    save_file({**tensors, name: np.full_like(tensors[name], value)}, folder / "model.safetensors")
    text = format_validation(validate_model(folder))
    problem = "not finite in this package and in transformers"
    assert text.splitlines()[-1] == (
        f"not comparable: the first such stage is encoder/layers/01/layer_norm1, {problem}"
    )
    assert text.splitlines()[-2].endswith(problem)
    assert "beyond tolerance" not in text


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1, "1e-4", None])
def test_a_tolerance_that_means_nothing_is_refused(tolerance, toy_folder):
    with pytest.raises(ConfigError, match=r"tolerance is .*; it must be a number that is not negative"):
        validate_model(toy_folder, tolerance=tolerance)


@pytest.mark.parametrize(
    ("ours", "theirs", "relative"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([0.0, 1e-30], [0.0, 0.0], np.inf),
        ([0.0, np.nan], [0.0, np.nan], np.inf),
        ([0.0, np.inf], [0.0, np.inf], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
    ],
)
def test_compare_arrays(ours, theirs, relative):
    assert compare_arrays("x", np.array(ours), np.array(theirs)).relative_difference == relative


def _changed(folder, factor=1.0, prefix=""):
    """The tensors of a checkpoint, one of them scaled, under other names."""
    tensors = load_file(folder / "model.safetensors")
    tensors["post_layernorm.weight"] = tensors["post_layernorm.weight"] * np.float32(factor)
    return {prefix + name: value for name, value in tensors.items()}


def test_the_file_that_was_named_is_the_one_compared(toy_folder, tmp_path, monkeypatch):
    """Two files in a folder: each is itself on both sides, and only one is what our side reads."""
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    other = folder / "other.safetensors"
    save_file(_changed(folder, factor=2.0), other)
    assert validate_model(other).first_divergence is None
    (folder / "model.safetensors").unlink()
    assert validate_model(folder).first_divergence is None  # the only one there is, whatever its name

    opened = []

    def keep(transformers, files):
        opened.append(vision_peer(transformers, files))
        return opened[0]

    monkeypatch.setattr("numpy_siglip.tools.validate.validation.vision_peer", keep)
    validate_model(other)
    theirs = opened[0].state_dict()
    for name, value in load_file(other).items():
        np.testing.assert_array_equal(theirs[name].numpy(), value)


@pytest.mark.parametrize("prefix", ["vision_model.", "model.vision_tower.vision_model.", "some.tower."])
def test_a_tower_inside_a_larger_model_is_compared(prefix, toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    others = {"language_model.embed_tokens.weight": np.ones((3, 2), np.float32)}
    save_file({**_changed(folder, prefix=prefix), **others}, folder / "model.safetensors")
    assert validate_model(folder).first_divergence is None


def test_a_tower_without_head_is_compared(tmp_path):
    transformers_vision_model(**TOY, vision_use_head=False).save_pretrained(tmp_path)
    validation = validate_model(tmp_path)
    assert validation.first_divergence is None
    assert validation.stages[-1].stage == "post_layernorm"


def test_transformers_is_filled_as_it_would_fill_itself(toy_folder):
    """What is read here and handed over is what transformers reads by itself, to the bit.

    What it then computes is compared within rounding: the order in which torch sums depends on where the
    weights lie in memory, which differs between the two, and on the processor.
    """
    filled = vision_peer(transformers, open_vision_model(toy_folder))
    read = transformers.SiglipVisionModel.from_pretrained(toy_folder, attn_implementation="eager")
    saved = {"_name_or_path", "architectures", "dtype"}  # which saving adds; they shape nothing
    written = read.config.to_dict()
    assert {**filled.config.to_dict(), **{name: written[name] for name in saved}} == written
    assert not filled.training
    expected = read.state_dict()
    assert filled.state_dict().keys() == expected.keys()
    for name, value in filled.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected[name].numpy())
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 44, 44)).astype(np.float32)
    stages = transformers_stages(filled, pixel_values=pixels)
    for name, array in transformers_stages(read, pixel_values=pixels).items():
        assert_close(stages[name], array, relative=1e-5, name=name)


def test_both_towers_and_their_logits_are_compared(pair_folder, photos):
    validation = validate_model(pair_folder, list(photos[:2]))
    stages = {stage.stage: stage for stage in validation.stages}
    text = SiglipTextModel.from_pretrained(pair_folder)
    expected = [f"text/{name}" for name in text.trace([[1] * 16])]
    assert [name for name in stages if name.startswith("text/")] == expected
    assert list(stages)[-1] == "logits_per_image"
    assert stages["logits_per_image"].shape == (2, 4)
    assert validation.first_divergence is None
    assert 0 < validation.worst.relative_difference < 5e-5


def test_naflex_is_compared_with_its_texts(naflex_pair_folder):
    validation = validate_model(naflex_pair_folder)
    assert validation.stages[-1].stage == "logits_per_image"
    assert validation.first_divergence is None


def test_a_mistake_in_the_text_tower_is_found(pair_folder, monkeypatch):
    from numpy_siglip.model import text

    def shifted(checkpoint, config, ops):
        weights = load(checkpoint, config, ops)
        return weights._replace(position_embedding=weights.position_embedding + np.float32(1))

    load = text.load_text_weights
    monkeypatch.setattr(text, "load_text_weights", shifted)
    assert validate_model(pair_folder).first_divergence.stage == "text/embeddings"
