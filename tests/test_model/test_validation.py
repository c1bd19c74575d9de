"""The comparison with transformers must find what is wrong, and where it begins."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numpy_siglip import CheckpointError, SiglipVisionModel
from numpy_siglip.checkpoint import open_checkpoint
from numpy_siglip.kernels.backend import get_backend
from numpy_siglip.validation import compare_arrays, format_validation, validate_model


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
    monkeypatch.setattr("numpy_siglip.vision.get_backend", lambda *_: wrong)
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
    monkeypatch.setattr("numpy_siglip.vision.get_backend", lambda *_: wrong)
    assert validate_model(toy_folder).first_divergence.stage == "encoder/layers/00/attention/query"


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


def test_a_checkpoint_that_transformers_cannot_fill_is_refused(toy_folder, tmp_path):
    """transformers would go on with random weights under an unknown prefix; the comparison must not."""
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    save_file({f"some.tower.{name}": value for name, value in tensors.items()}, folder / "model.safetensors")
    assert len(open_checkpoint(folder)) == len(tensors)
    with pytest.raises(CheckpointError, match="does not find"):
        validate_model(folder)
