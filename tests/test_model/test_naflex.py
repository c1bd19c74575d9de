"""The NaFlex vision tower against transformers, on weights that behave like trained ones."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from helpers.toy_models import NAFLEX_TOY, transformers_naflex_model

from numpy_siglip import (
    ConfigError,
    ImageError,
    Siglip2ImageProcessor,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipVisionModel,
)
from numpy_siglip.tools.published import find_published

TOLERANCE = 1e-5
ATTENTION_TOLERANCE = 5e-5  # exponentials of scores; see test_vision

# (height, width) of 1:8 to 8:1, odd ones, and one that is enlarged to fewer patches than it may have.
IMAGES = [(20, 160), (160, 20), (45, 45), (31, 77), (300, 171), (1, 3), (64, 48), (48, 64)]


def _inputs(sizes=IMAGES, *, max_num_patches=20, patch_size=NAFLEX_TOY["patch_size"], seed=0):
    """What the image processor makes of noise of these sizes."""
    generator = np.random.default_rng(seed)
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return Siglip2ImageProcessor(patch_size=patch_size, max_num_patches=max_num_patches)(images)


def _theirs(model, inputs):
    with torch.no_grad():
        return model(
            **{name: torch.from_numpy(array) for name, array in inputs.items()},
            output_hidden_states=True,
            output_attentions=True,
        )


def _run(model, inputs):
    return model(**inputs, output_hidden_states=True, output_attentions=True)


def _assert_equal_outputs(model, theirs, inputs) -> None:
    """Compare every token, state, map and embedding; and see that what is padded is zero."""
    actual, expected = _run(model, inputs), _theirs(theirs, inputs)
    assert actual.keys() == tuple(expected.keys())
    if "pooler_output" in expected:
        assert_close(
            actual.pooler_output, expected.pooler_output.numpy(), relative=TOLERANCE, name="pooler_output"
        )
    tokens = {"last_hidden_state": (actual.last_hidden_state, expected.last_hidden_state)}
    for index, pair in enumerate(zip(actual.hidden_states, expected.hidden_states, strict=True)):
        tokens[f"hidden_states[{index}]"] = pair
    counts = inputs.spatial_shapes.prod(axis=1)
    for name, (ours, other) in tokens.items():
        for image, count in enumerate(counts):
            own = other[image, :count].numpy()
            assert_close(ours[image, :count], own, relative=TOLERANCE, name=f"{name}[{image}]")
            assert not ours[image, count:].any()
    for index, (ours, other) in enumerate(zip(actual.attentions, expected.attentions, strict=True)):
        for image, count in enumerate(counts):
            own = other[image, :, :count, :count].numpy()
            name = f"attentions[{index}][{image}]"
            assert_close(ours[image, :, :count, :count], own, relative=ATTENTION_TOLERANCE, name=name)
            assert not ours[image, :, count:].any()
            assert not ours[image, :, :, count:].any()


def _bits(output, image: int, count: int) -> list[bytes]:
    """Bytes of all that is an image's own."""
    arrays = [a[image, :count] for a in (output.last_hidden_state, *output.hidden_states)]
    arrays += [output.pooler_output[image], *(a[image, :, :count, :count] for a in output.attentions)]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("sizes", [IMAGES[:1], IMAGES[:3], IMAGES])
def test_toy_equals_transformers(naflex_model, naflex_folder, sizes, backend):
    model = Siglip2VisionModel.from_pretrained(naflex_folder, backend=backend)
    _assert_equal_outputs(model, naflex_model, _inputs(sizes))


@pytest.mark.parametrize("max_num_patches", [1, 2, 7, 64])
def test_any_budget_equals_transformers(naflex_model, naflex_folder, max_num_patches):
    sizes = IMAGES if max_num_patches == 64 else [(20, 30), (20, 160)]
    _assert_equal_outputs(
        Siglip2VisionModel.from_pretrained(naflex_folder),
        naflex_model,
        _inputs(sizes, max_num_patches=max_num_patches),
    )


def test_one_column_of_patches(naflex_model, naflex_folder, monkeypatch):
    """On a CPU, torch 2.13 gives every row of a single column the position of the first row.

    It does so in the layout in which transformers calls it, and does not where channels are last. Positions
    here are interpolated whatever the layout, as they were when the model was trained.
    """
    interpolate = torch.nn.functional.interpolate

    def channels_last(table, **options):
        return interpolate(table.clone(memory_format=torch.channels_last), **options)

    inputs = _inputs([(300, 5), (5, 300), (40, 40)])
    assert inputs.spatial_shapes[:2].tolist() == [[20, 1], [1, 20]]
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    monkeypatch.setattr("torch.nn.functional.interpolate", channels_last)
    _assert_equal_outputs(model, naflex_model, inputs)


@pytest.mark.parametrize(
    "repository", ["google/siglip2-base-patch16-naflex", "google/siglip2-so400m-patch16-naflex"]
)
def test_published_shapes_equal_transformers(repository, photos, tmp_path):
    values = find_published(repository).config.to_dict() | {"num_hidden_layers": 1}
    del values["model_type"]
    theirs = transformers_naflex_model(**values)
    theirs.save_pretrained(tmp_path)
    model = Siglip2VisionModel.from_pretrained(tmp_path)
    _assert_equal_outputs(model, theirs, Siglip2ImageProcessor()(photos[:2]))
    wide = np.random.default_rng(1).integers(0, 256, (40, 320, 3), dtype=np.uint8)
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    _assert_equal_outputs(model, theirs, Siglip2ImageProcessor(max_num_patches=300)([wide, photos[0], tall]))


@pytest.mark.slow
@pytest.mark.parametrize("max_num_patches", [64, 1024])
def test_full_depth_equals_transformers(max_num_patches, photos, tmp_path):
    values = find_published("google/siglip2-base-patch16-naflex").config.to_dict()
    del values["model_type"]
    theirs = transformers_naflex_model(**values)
    theirs.save_pretrained(tmp_path)
    model = Siglip2VisionModel.from_pretrained(tmp_path)
    for count in (1, 3):
        inputs = Siglip2ImageProcessor(max_num_patches=max_num_patches)(photos[:count])
        _assert_equal_outputs(model, theirs, inputs)


@pytest.mark.parametrize("changes", [{"vision_use_head": False}, {"num_channels": 1}, {"hidden_act": "gelu"}])
def test_other_configurations_equal_transformers(changes, tmp_path):
    theirs = transformers_naflex_model(**{**NAFLEX_TOY, **changes})
    theirs.save_pretrained(tmp_path)
    inputs = _inputs(IMAGES[:3])
    if "num_channels" in changes:
        inputs["pixel_values"] = np.ascontiguousarray(inputs.pixel_values[..., ::3])
    _assert_equal_outputs(Siglip2VisionModel.from_pretrained(tmp_path), theirs, inputs)


# ------------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_padding_changes_no_bit(naflex_folder, backend):
    model = Siglip2VisionModel.from_pretrained(naflex_folder, backend=backend)
    inputs = _inputs()
    counts = inputs.spatial_shapes.prod(axis=1)
    expected = _run(model, inputs)
    for length, content in ((64, 0.0), (256, np.nan), (1024, 1e30)):
        padded = np.full((len(IMAGES), length, inputs.pixel_values.shape[2]), content, np.float32)
        mask = np.arange(length) < counts[:, None]
        padded[mask] = inputs.pixel_values[inputs.pixel_attention_mask != 0]
        for given in (mask, None):
            output = _run(model, {**inputs, "pixel_values": padded, "pixel_attention_mask": given})
            assert output.last_hidden_state.shape[1] == length
            for image, count in enumerate(counts):
                assert _bits(output, image, count) == _bits(expected, image, count)


@pytest.mark.parametrize("max_num_patches", [64, 256, 1024])
def test_an_image_has_the_same_bits_at_every_place_of_every_batch(naflex_folder, max_num_patches):
    model = Siglip2VisionModel.from_pretrained(naflex_folder, threads=2)
    everything = _inputs(max_num_patches=max_num_patches)
    counts = everything.spatial_shapes.prod(axis=1)

    def some(images):
        return _run(model, {name: array[images] for name, array in everything.items()})

    alone = [_bits(some([image]), 0, count) for image, count in enumerate(counts)]
    for order in (range(8), [7, 6, 5, 4, 3, 2, 1, 0], [2, 2, 0], [6, 1, 7]):
        output = some(list(order))
        for place, image in enumerate(order):
            assert _bits(output, place, counts[image]) == alone[image]


def test_any_number_of_threads_gives_the_same_bits(naflex_folder):
    inputs = _inputs()
    expected = None
    for threads in (1, 2, 2 * (os.cpu_count() or 1) + 3):
        model = Siglip2VisionModel.from_pretrained(naflex_folder, threads=threads)
        output = _run(model, inputs)
        bits = [output.last_hidden_state.tobytes(), output.pooler_output.tobytes()]
        expected = expected or bits
        assert bits == expected
        plain = model(**inputs)
        assert [plain.last_hidden_state.tobytes(), plain.pooler_output.tobytes()] == expected


def test_padding_costs_no_arithmetic(naflex_folder):
    """The encoder sees as many tokens as an image has patches of its own, and equal counts together."""
    model = Siglip2VisionModel.from_pretrained(naflex_folder, backend="numpy")
    seen = []

    def watched(hidden, *arguments):
        seen.append(hidden.shape)
        return encoder(hidden, *arguments)

    encoder = model.ops.encoder
    model.ops = model.ops._replace(encoder=watched)
    inputs = _inputs([(40, 40), (60, 60), (10, 100)], max_num_patches=20)
    model(**inputs)
    counts = inputs.spatial_shapes.prod(axis=1).tolist()
    assert counts[0] == counts[1] < 20
    assert seen == [(2, counts[0], 33), (1, counts[2], 33)]


# -------------------------------------------------------------------------------------------- stages


def test_trace_names_every_stage_and_pads_it(naflex_folder):
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    inputs = _inputs()
    together = model.trace(**inputs)
    output = _run(model, inputs)
    np.testing.assert_array_equal(together["post_layernorm"], output.last_hidden_state)
    np.testing.assert_array_equal(together["head"], output.pooler_output)
    for image, count in enumerate(inputs.spatial_shapes.prod(axis=1)):
        alone = model.trace(**{name: array[image : image + 1] for name, array in inputs.items()})
        assert list(alone) == list(together)
        for name, stage in alone.items():
            np.testing.assert_array_equal(together[name][image], stage[0], err_msg=name)
        weights = alone["head/attention/weights"]
        np.testing.assert_allclose(weights[..., :count].sum(axis=-1), 1, rtol=1e-6)
    kept = []
    assert model.trace(**inputs, listener=lambda name, _: kept.append(name), output_attentions=False) == {}
    assert kept == [name for name in together if not name.endswith("weights")]


def test_a_batch_of_none_gives_none(naflex_folder):
    empty = {name: array[:0] for name, array in _inputs().items()}
    output = _run(Siglip2VisionModel.from_pretrained(naflex_folder), empty)
    assert output.last_hidden_state.shape == (0, 20, 33)
    assert output.pooler_output.shape == (0, 33)
    assert [a.shape for a in output.attentions] == [(0, 3, 20, 20)] * 2


def test_input_is_not_changed_and_may_be_of_any_kind(naflex_folder):
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    inputs = _inputs()
    expected = model(**inputs).pooler_output
    before = {name: array.copy() for name, array in inputs.items()}
    for array in inputs.values():
        array.flags.writeable = False
    np.testing.assert_array_equal(model(**inputs).pooler_output, expected)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, before[name])
    other = {
        "pixel_values": np.asfortranarray(before["pixel_values"].astype(np.float64)),
        "pixel_attention_mask": before["pixel_attention_mask"] == 1,
        "spatial_shapes": before["spatial_shapes"].tolist(),
    }
    np.testing.assert_array_equal(model(**other).pooler_output, expected)
    tensors = {name: torch.from_numpy(array) for name, array in before.items()}
    np.testing.assert_array_equal(model(**tensors).pooler_output, expected)


# -------------------------------------------------------------------------------------------- errors


def _changed(name: str, place, value):
    def change(inputs):
        inputs[name] = inputs[name].copy()
        inputs[name][place] = value

    return change


def _replaced(name: str, make):
    def change(inputs):
        inputs[name] = make(inputs[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed("pixel_attention_mask", (1, 3), 0), r"pixel_attention_mask\[1\] has a zero before a one"),
        (
            _replaced("pixel_attention_mask", lambda m: m[:, ::-1]),
            r"pixel_attention_mask\[1\] has a zero before",
        ),
        (
            _replaced("pixel_attention_mask", np.ones_like),
            r"\[1\] marks 20 patches, but spatial_shapes\[1\] is",
        ),
        (_replaced("pixel_attention_mask", lambda m: m[:, :5]), r"pixel_attention_mask has shape \(3, 5\)"),
        (_changed("spatial_shapes", (2, 0), 0), r"spatial_shapes\[2\] is 0 x"),
        (
            _changed("spatial_shapes", (0, 1), 100),
            r"spatial_shapes\[0\] is .* x 100, but pixel_values has 20",
        ),
        (_replaced("spatial_shapes", lambda s: s[:2]), r"spatial_shapes has shape \(2, 2\)"),
        (_replaced("spatial_shapes", lambda s: s / 2), "dtype float64"),
        (_replaced("spatial_shapes", lambda s: None), "spatial_shapes has shape"),
        (_replaced("pixel_values", lambda p: p[0]), r"shape \(20, 363\).*\(batch, patches, 363\)"),
        (_replaced("pixel_values", lambda p: p[..., :-1]), r"shape \(3, 20, 362\)"),
        (_replaced("pixel_values", lambda p: p.astype(np.int64)), "dtype int64.*Siglip2ImageProcessor"),
    ],
)
def test_what_does_not_fit_raises_image_error(naflex_folder, change, message):
    inputs = _inputs(IMAGES[1:4])
    change(inputs)
    model = Siglip2VisionModel.from_pretrained(naflex_folder)
    with pytest.raises(ImageError, match=message):
        model(**inputs)


def test_the_wrong_class_names_the_right_one(naflex_folder, toy_folder):
    with pytest.raises(
        ConfigError, match=r"config\.json: model_type is 'siglip2_vision_model'.*Siglip2VisionModel"
    ):
        SiglipVisionModel.from_pretrained(naflex_folder)
    with pytest.raises(
        ConfigError, match=r"config\.json: model_type is 'siglip_vision_model'.*SiglipVisionModel"
    ):
        Siglip2VisionModel.from_pretrained(toy_folder)
    with pytest.raises(ConfigError, match="must be a SiglipVisionConfig"):
        SiglipVisionModel.from_pretrained(toy_folder, config=Siglip2VisionConfig())
