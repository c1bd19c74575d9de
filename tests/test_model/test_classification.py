"""SiglipForImageClassification against transformers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from helpers.toy_models import (
    NAFLEX_TOY,
    TOY,
    transformers_classifier,
    transformers_naflex_classifier,
)
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Siglip2ForImageClassification,
    Siglip2ImageProcessor,
    SiglipConfig,
    SiglipForImageClassification,
)

LABELS = ("cat", "dog", "bicycle")
PIXELS = np.random.default_rng(0).uniform(-1, 1, (3, 3, 44, 44)).astype(np.float32)


def _theirs(model, pixels=PIXELS, **options):
    with torch.no_grad():
        return model(torch.from_numpy(pixels), **options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_logits_equal_transformers(backend, classifier_folder):
    model = SiglipForImageClassification.from_pretrained(classifier_folder, backend=backend)
    options = {"output_hidden_states": True, "output_attentions": True}
    ours = model(PIXELS, **options)
    theirs = _theirs(transformers_classifier(labels=LABELS, **TOY), **options)
    assert_close(ours.logits, theirs.logits.numpy(), relative=1e-5)
    assert ours.keys() == tuple(theirs.keys())
    for state, expected in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert_close(state, expected.numpy(), relative=1e-5)
    assert model.config.id2label == {0: "cat", 1: "dog", 2: "bicycle"}
    assert model(PIXELS).keys() == ("logits",)


def test_images_of_other_sizes(classifier_folder):
    pixels = np.random.default_rng(1).uniform(-1, 1, (1, 3, 66, 55)).astype(np.float32)
    model = SiglipForImageClassification.from_pretrained(classifier_folder)
    ours = model(pixels, interpolate_pos_encoding=True)
    theirs = _theirs(transformers_classifier(labels=LABELS, **TOY), pixels, interpolate_pos_encoding=True)
    assert_close(ours.logits, theirs.logits.numpy(), relative=1e-5)


def test_an_image_has_the_same_bits_in_any_batch(classifier_folder):
    model = SiglipForImageClassification.from_pretrained(classifier_folder, threads=2)
    together = model(PIXELS).logits
    alone = np.concatenate([model(PIXELS[i : i + 1]).logits for i in range(3)])
    assert together.tobytes() == alone.tobytes()


def test_without_classes_the_mean_is_returned(classifier_folder):
    config = SiglipConfig(vision_config=TOY, id2label={})
    ours = SiglipForImageClassification.from_pretrained(classifier_folder, config=config)(PIXELS)
    with torch.no_grad():
        theirs = transformers_classifier(labels=LABELS, **TOY)
        tokens = theirs.vision_model(torch.from_numpy(PIXELS)).last_hidden_state
    assert_close(ours.logits, tokens.mean(dim=1).numpy(), relative=1e-5)


def test_a_default_of_two_classes_is_read(tmp_path):
    """transformers leaves the names of two unnamed classes out."""
    theirs = transformers_classifier(labels=("LABEL_0", "LABEL_1"), **TOY)
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values.pop("id2label", None)
    (tmp_path / "config.json").write_text(json.dumps(values))
    ours = SiglipForImageClassification.from_pretrained(tmp_path)
    assert_close(ours(PIXELS).logits, _theirs(theirs).logits.numpy(), relative=1e-5)


def test_what_is_no_classifier_is_told(pair_folder, classifier_folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"classifier\.weight is missing.*Embedder\.classify"):
        SiglipForImageClassification.from_pretrained(pair_folder)
    config = SiglipConfig(vision_config=TOY, id2label={0: "a", 1: "b"})
    with pytest.raises(CheckpointError, match=r"shape \(3, 33\).*\(2, 33\)"):
        SiglipForImageClassification.from_pretrained(classifier_folder, config=config)
    shutil.copytree(classifier_folder, tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, tmp_path / "m" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"classifier\.bias is missing"):
        SiglipForImageClassification.from_pretrained(tmp_path / "m")


@pytest.mark.parametrize("labels", [{0: "a", 2: "b"}, {"x": "a"}, {0: 5}, ["a", "b"], {1: "a", 0: None}])
def test_impossible_names_of_classes(labels):
    with pytest.raises(ConfigError, match=r"^id2label"):
        SiglipConfig(id2label=labels)


# ----------------------------------------------------------------------------------------------- NaFlex


@pytest.fixture(scope="module")
def naflex_classifier():
    return transformers_naflex_classifier(labels=LABELS, **NAFLEX_TOY)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_naflex_logits_equal_transformers(backend, naflex_classifier, naflex_folder, photos, tmp_path):
    naflex_classifier.save_pretrained(tmp_path)
    processor = Siglip2ImageProcessor.from_pretrained(naflex_folder)
    images = [np.zeros((50, 20, 3), np.uint8), *photos[:2]]  # of different numbers of patches
    inputs = processor(images)
    model = Siglip2ForImageClassification.from_pretrained(tmp_path, backend=backend)
    with torch.no_grad():
        theirs = naflex_classifier(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    assert_close(model(**inputs).logits, theirs.logits.numpy(), relative=1e-5)
    alone = np.concatenate([model(**processor(image)).logits for image in images])
    if backend == "numba":
        assert alone.tobytes() == model(**inputs).logits.tobytes()


def test_the_number_of_labels_alone_will_do(classifier_folder, tmp_path):
    folder = shutil.copytree(classifier_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"]
    del config["label2id"]
    (folder / "config.json").write_text(json.dumps({**config, "num_labels": 3}))
    model = SiglipForImageClassification.from_pretrained(folder)
    assert model.config.num_labels == 3
    assert model.config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    expected = SiglipForImageClassification.from_pretrained(classifier_folder)(PIXELS).logits
    np.testing.assert_array_equal(model(PIXELS).logits, expected)


@pytest.mark.parametrize("count", [-1, 2.5, "3", True, 10**30])
def test_a_number_of_labels_that_cannot_be(count):
    with pytest.raises(ConfigError, match="num_labels is"):
        SiglipConfig.from_dict({"model_type": "siglip", "num_labels": count})
