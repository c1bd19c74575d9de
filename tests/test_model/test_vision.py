"""The vision tower against transformers, on weights that behave like trained ones."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, transformers_full_model, transformers_vision_model

from numpy_siglip import (
    PUBLISHED_CHECKPOINTS,
    ConfigError,
    ImageError,
    Siglip2VisionConfig,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from numpy_siglip.tools.published import find_published

# Relative to the largest magnitude of each tensor. Attention weights are exponentials of scores of some
# tens, so that a last bit in a score is many in its weight, on transformers' side as on ours.
TOLERANCE = 1e-5
ATTENTION_TOLERANCE = 5e-5

_LONG_EDGE_PATCHES, _SHORT_EDGE_PATCHES = 3, -4


def _shape_classes():
    """Every distinct shape of tower in the table, once; those that take long are marked slow."""
    seen = {}
    for checkpoint in PUBLISHED_CHECKPOINTS:
        if isinstance(checkpoint.config, Siglip2VisionConfig):
            continue  # see test_naflex
        seen.setdefault(checkpoint.config, checkpoint.repository.removeprefix("google/"))
    for config, name in seen.items():
        # 729 tokens, heads of 72 and an MLP of 4304 are awkward enough to be worth their six seconds
        slow = config.num_patches * config.hidden_size > 390_000 and name != "siglip-so400m-patch14-384"
        yield pytest.param(config, id=name, marks=[pytest.mark.slow] if slow else [])


def _config_of(config: SiglipVisionConfig, **changes) -> dict:
    values = {**config.to_dict(), **changes}
    del values["model_type"]
    return values


def _noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def _assert_equal_outputs(model, theirs, pixel_values: np.ndarray, **options) -> None:
    """Compare everything that transformers hands out: tokens, embedding, every state, every map."""
    with torch.no_grad():
        expected = theirs(
            pixel_values=torch.from_numpy(pixel_values),
            output_hidden_states=True,
            output_attentions=True,
            **options,
        )
    actual = model(pixel_values, output_hidden_states=True, output_attentions=True, **options)
    assert actual.keys() == tuple(expected.keys())
    assert len(actual.hidden_states) == len(expected.hidden_states)
    assert len(actual.attentions) == len(expected.attentions)
    pairs = {"last_hidden_state": (actual.last_hidden_state, expected.last_hidden_state)}
    if "pooler_output" in expected:
        pairs["pooler_output"] = (actual.pooler_output, expected.pooler_output)
    for kind in ("hidden_states", "attentions"):
        for index, pair in enumerate(zip(actual[kind], expected[kind], strict=True)):
            pairs[f"{kind}[{index}]"] = pair
    for name, (ours, other) in pairs.items():
        relative = ATTENTION_TOLERANCE if name.startswith("attentions") else TOLERANCE
        assert_close(ours, other.numpy(), relative=relative, name=name)


@pytest.mark.parametrize("config", list(_shape_classes()))
def test_every_published_shape_equals_transformers(config, photos, tmp_path):
    layers = 2 if config.num_patches <= 256 else 1
    theirs = transformers_vision_model(**_config_of(config, num_hidden_layers=layers))
    theirs.save_pretrained(tmp_path)
    model = SiglipVisionModel.from_pretrained(tmp_path)
    size = {"height": config.image_size, "width": config.image_size}
    pixel_values = SiglipImageProcessor(size=size)(photos[:3])["pixel_values"]

    _assert_equal_outputs(model, theirs, pixel_values[:1])
    if config.num_patches <= 1024:  # three images of 4096 tokens have 3 GB of attention maps in each layer
        _assert_equal_outputs(model, theirs, pixel_values)
    if config.num_patches <= 576:
        height = (config.patches_per_side + _LONG_EDGE_PATCHES) * config.patch_size
        width = (config.patches_per_side + _SHORT_EDGE_PATCHES) * config.patch_size + 1
        stretched = _noise(3, 3, height, width)
        _assert_equal_outputs(model, theirs, stretched, interpolate_pos_encoding=True)
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("repository", ["google/siglip-base-patch16-224", "google/siglip-so400m-patch14-384"])
def test_full_depth_equals_transformers(repository, photos, tmp_path):
    config = find_published(repository).config
    theirs = transformers_vision_model(**_config_of(config))
    theirs.save_pretrained(tmp_path)
    model = SiglipVisionModel.from_pretrained(tmp_path)
    size = {"height": config.image_size, "width": config.image_size}
    pixel_values = SiglipImageProcessor(size=size)(photos[:3])["pixel_values"]
    _assert_equal_outputs(model, theirs, pixel_values[:1])
    _assert_equal_outputs(model, theirs, pixel_values)


@pytest.mark.parametrize("batch", [1, 3])
def test_toy_equals_transformers(toy_model, toy_folder, batch):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    _assert_equal_outputs(model, toy_model, _noise(batch, 3, 44, 44))


@pytest.mark.parametrize("size", [(44, 55), (11, 11), (99, 12), (46, 46), (44, 47), (88, 88)])
def test_interpolated_positions_equal_transformers(toy_model, toy_folder, size):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    _assert_equal_outputs(model, toy_model, _noise(2, 3, *size), interpolate_pos_encoding=True)


@pytest.mark.parametrize(
    "hidden_act", ["gelu", "gelu_10", "quick_gelu", "relu", "relu2", "silu", "mish", "hardswish", "laplace"]
)
def test_other_activations_equal_transformers(hidden_act, tmp_path):
    theirs = transformers_vision_model(**TOY, hidden_act=hidden_act)
    theirs.save_pretrained(tmp_path)
    _assert_equal_outputs(SiglipVisionModel.from_pretrained(tmp_path), theirs, _noise(1, 3, 44, 44))


def test_tower_without_head_equals_transformers(tmp_path):
    theirs = transformers_vision_model(**TOY, vision_use_head=False)
    theirs.save_pretrained(tmp_path)
    model = SiglipVisionModel.from_pretrained(tmp_path)
    pixel_values = _noise(2, 3, 44, 44)
    assert model(pixel_values).pooler_output is None
    _assert_equal_outputs(model, theirs, pixel_values)


def test_grey_images_equal_transformers(tmp_path):
    theirs = transformers_vision_model(**TOY, num_channels=1)
    theirs.save_pretrained(tmp_path)
    _assert_equal_outputs(SiglipVisionModel.from_pretrained(tmp_path), theirs, _noise(2, 1, 44, 44))


def test_other_epsilon_equals_transformers(tmp_path):
    theirs = transformers_vision_model(**TOY, layer_norm_eps=0.1)
    theirs.save_pretrained(tmp_path)
    _assert_equal_outputs(SiglipVisionModel.from_pretrained(tmp_path), theirs, _noise(2, 3, 44, 44))


def test_full_checkpoint_equals_transformers(tmp_path):
    theirs = transformers_full_model(**TOY)
    theirs.save_pretrained(tmp_path)
    _assert_equal_outputs(
        SiglipVisionModel.from_pretrained(tmp_path), theirs.vision_model, _noise(2, 3, 44, 44)
    )


def test_only_what_is_asked_for_is_returned(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixel_values = _noise(1, 3, 44, 44)
    assert model(pixel_values).keys() == ("last_hidden_state", "pooler_output")
    states = model(pixel_values, output_hidden_states=True)
    assert states.attentions is None
    assert len(states.hidden_states) == 3
    maps = model(pixel_values, output_attentions=True)
    assert maps.hidden_states is None
    assert [a.shape for a in maps.attentions] == [(1, 3, 16, 16)] * 2


def test_output_reads_like_transformers(toy_folder):
    output = SiglipVisionModel.from_pretrained(toy_folder)(_noise(1, 3, 44, 44))
    assert output["pooler_output"] is output.pooler_output
    assert output[0] is output.last_hidden_state
    assert output[:2] == (output.last_hidden_state, output.pooler_output)
    assert list(output) == ["last_hidden_state", "pooler_output"]
    with pytest.raises(KeyError):
        output["hidden_states"]


def test_trace_names_every_stage_in_order(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixel_values = _noise(2, 3, 44, 44)
    stages = model.trace(pixel_values)
    layer = [
        "layer_norm1",
        "attention/query",
        "attention/key",
        "attention/value",
        "attention/weights",
        "attention/heads",
        "attention",
        "layer_norm2",
        "mlp/activation",
    ]
    expected = ["embeddings"]
    for index in ("00", "01"):
        expected += [f"encoder/layers/{index}/{name}" for name in layer] + [f"encoder/layers/{index}"]
    expected += ["post_layernorm", "head/attention/weights", "head/attention", "head/layernorm", "head"]
    assert list(stages) == expected
    output = model(pixel_values)
    np.testing.assert_array_equal(stages["head"], output.pooler_output)
    np.testing.assert_array_equal(stages["post_layernorm"], output.last_hidden_state)
    np.testing.assert_allclose(stages["head/attention/weights"].sum(axis=-1), 1, rtol=1e-6)


def test_trace_to_a_listener_keeps_nothing(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    names = []
    assert (
        model.trace(_noise(1, 3, 44, 44), lambda name, _: names.append(name), output_attentions=False) == {}
    )
    assert names[0] == "embeddings"
    assert not any(name.endswith("weights") for name in names)


def test_input_is_not_changed_and_may_be_read_only(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixel_values = _noise(2, 3, 44, 44)
    before = pixel_values.copy()
    pixel_values.flags.writeable = False
    model(pixel_values)
    np.testing.assert_array_equal(pixel_values, before)


def test_any_memory_order_and_float_dtype_is_accepted(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixel_values = _noise(2, 3, 44, 44)
    expected = model(pixel_values).pooler_output
    strided = np.moveaxis(np.ascontiguousarray(np.moveaxis(pixel_values, 1, -1)), -1, 1)
    for same in (np.asfortranarray(pixel_values), strided, pixel_values.astype(np.float64)):
        result = model(same).pooler_output
        assert_close(result, expected, relative=1e-6)
    assert_close(model(torch.from_numpy(pixel_values)).pooler_output, expected, relative=0)


def test_an_image_does_not_depend_on_its_batch(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixel_values = _noise(3, 3, 44, 44)
    together = model(pixel_values).pooler_output
    for index in range(3):
        assert_close(model(pixel_values[index : index + 1]).pooler_output[0], together[index], relative=1e-6)


def test_a_batch_of_none_gives_none(toy_folder):
    output = SiglipVisionModel.from_pretrained(toy_folder)(np.zeros((0, 3, 44, 44), np.float32))
    assert output.last_hidden_state.shape == (0, 16, 33)
    assert output.pooler_output.shape == (0, 33)


@pytest.mark.parametrize(
    ("pixel_values", "options", "message"),
    [
        (np.zeros((3, 44, 44), np.float32), {}, r"shape \(3, 44, 44\).*\(batch, 3, 44, 44\)"),
        (np.zeros((1, 1, 44, 44), np.float32), {}, r"shape \(1, 1, 44, 44\)"),
        (np.zeros((1, 44, 44, 3), np.float32), {}, r"shape \(1, 44, 44, 3\)"),
        (np.zeros((1, 3, 55, 44), np.float32), {}, "interpolate_pos_encoding"),
        (np.zeros((1, 3, 10, 44), np.float32), {"interpolate_pos_encoding": True}, "smaller than one patch"),
        (np.zeros((1, 3, 44, 44), np.uint8), {}, "dtype uint8.*SiglipImageProcessor"),
        ("photo.jpg", {}, "dtype"),
        (None, {}, "dtype object"),
    ],
)
def test_pixels_that_do_not_fit_raise_image_error(toy_folder, pixel_values, options, message):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    with pytest.raises(ImageError, match=message):
        model(pixel_values, **options)


def test_unknown_backend_is_named(toy_folder):
    with pytest.raises(ConfigError, match="unknown backend 'abacus'; there are: numba, numpy"):
        SiglipVisionModel.from_pretrained(toy_folder, backend="abacus")
