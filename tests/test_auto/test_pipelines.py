"""Pipelines against those of transformers, on the same toy models."""

from __future__ import annotations

import base64
import json
import shutil
import types

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, TOY_TEXT, save_image_processor, transformers_full_model
from helpers.toy_vocabularies import write_siglip_tokenizer
from PIL import Image

from numpy_siglip import (
    ConfigError,
    ImageError,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTextModel,
    SiglipVisionModel,
    TextError,
    pipeline,
)
from numpy_siglip.errors import UnknownOptionError

ZERO_SHOT, CLASSES = "zero-shot-image-classification", "image-classification"
FEATURES = "image-feature-extraction"
LABELS = ["a cat", "a dog on a bicycle", "a bowl of ramen", "two cats"]


def _theirs(task, folder, **options):
    """transformers' pipeline, with the image processor that this package equals."""
    options["image_processor"] = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return transformers.pipeline(task, model=str(folder), **options)


def _assert_same_scores(ours, theirs):
    assert [each["label"] for each in ours] == [each["label"] for each in theirs]
    assert all(sorted(each) == ["label", "score"] and type(each["score"]) is float for each in ours)
    scores = ([each["score"] for each in found] for found in (ours, theirs))
    assert_close(*(np.array(found, np.float32) for found in scores), relative=1e-5)


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory):
    """A model of 64 tokens, since transformers' pipeline knows no other length."""
    folder = tmp_path_factory.mktemp("long")
    theirs = transformers_full_model(text_config={**TOY_TEXT, "max_position_embeddings": 64}, **TOY)
    theirs.save_pretrained(folder)
    save_image_processor(folder, TOY["image_size"])
    write_siglip_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def classify(pair_folder):
    return pipeline(ZERO_SHOT, model=pair_folder)


def test_zero_shot_classification_equals_transformers(long_folder, photos):
    theirs, classify = _theirs(ZERO_SHOT, long_folder), pipeline(ZERO_SHOT, model=long_folder)
    paths = [str(photo) for photo in photos]
    options = {"candidate_labels": LABELS}
    _assert_same_scores(classify(paths[0], **options), theirs(paths[0], **options))
    options["hypothesis_template"] = "un café: {}"
    several = classify(paths, batch_size=3, **options)
    for ours, expected in zip(several, theirs(paths, **options), strict=True):
        _assert_same_scores(ours, expected)
    images = (Image.open(path) for path in paths)
    found = classify(images, **options)
    assert isinstance(found, types.GeneratorType)
    assert list(found) == several
    assert classify(images=paths, **options) == several == classify(image=tuple(paths), **options)


def test_transparency_and_orientation_are_those_of_transformers(long_folder, photos, tmp_path):
    """A pipeline drops the one and applies the other; image processors do neither."""
    theirs, classify = _theirs(ZERO_SHOT, long_folder), pipeline(ZERO_SHOT, model=long_folder)
    options = {"candidate_labels": LABELS}
    clear = Image.open(photos[0]).convert("RGBA")
    clear.putalpha(60)
    turned, exif = Image.open(photos[1]), Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as opened:
        for image in (clear, opened):
            _assert_same_scores(classify(image, **options), theirs(image, **options))
        assert classify(tmp_path / "turned.jpg", **options) == classify(opened, **options)


@pytest.mark.parametrize("pool", [False, True])
def test_features_equal_transformers(pool, toy_folder, photos):
    paths = [str(photo) for photo in photos]
    theirs = _theirs(FEATURES, toy_folder)(paths, pool=pool)
    extract = pipeline(FEATURES, model=toy_folder)
    ours = extract(paths, pool=pool, batch_size=2)
    for actual, expected in zip(ours, theirs, strict=True):
        assert_close(np.array(actual, np.float32), np.array(expected, np.float32), relative=1e-5)
    array = extract(paths[0], pool=pool, return_tensors=True)
    assert array.tolist() == ours[0] == extract(paths[0], pool=pool)
    assert array.shape == ((1, 33) if pool else (1, 16, 33))


def test_features_of_naflex_and_of_both_towers(
    naflex_pair_folder, naflex_folder, pair_folder, toy_folder, photos
):
    path = str(photos[0])
    theirs = np.array(_theirs(FEATURES, naflex_folder)(path, pool=True), np.float32)
    ours = np.array(pipeline(FEATURES, model=naflex_folder)(path, pool=True), np.float32)
    assert_close(ours, theirs, relative=1e-5)
    # transformers' pipeline runs both towers and fails for want of texts.
    for both, one in [(pair_folder, toy_folder), (naflex_pair_folder, naflex_folder)]:
        extract = pipeline(FEATURES, model=both)
        assert extract(path) == pipeline(FEATURES, model=one)(path)
        assert not hasattr(extract.model, "text_model")


@pytest.mark.parametrize("function", [None, "sigmoid", "Softmax", "none"])
def test_classifiers_equal_transformers(function, classifier_folder, photos):
    paths = [str(photo) for photo in photos]
    theirs = _theirs(CLASSES, classifier_folder)(paths, function_to_apply=function)
    classify = pipeline(CLASSES, model=classifier_folder)
    for ours, expected in zip(classify(paths, function_to_apply=function), theirs, strict=True):
        _assert_same_scores(ours, expected)
    assert [len(found) for found in classify(paths[:2], top_k=2)] == [2, 2]
    assert len(classify(paths[0], top_k=None)) == 3


@pytest.mark.parametrize(
    "problem", ["single_label_classification", "multi_label_classification", "regression"]
)
def test_classifiers_of_other_problems(problem, classifier_folder, photos, tmp_path):
    folder = shutil.copytree(classifier_folder, tmp_path / "model")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"problem_type": problem}))
    path = str(photos[0])
    _assert_same_scores(pipeline(CLASSES, folder)(path), _theirs(CLASSES, folder)(path))


def test_options_of_a_pipeline_hold_for_its_calls(pair_folder, photos):
    usual = pipeline(ZERO_SHOT, pair_folder, candidate_labels=LABELS, batch_size=2, device="cpu")
    assert usual(photos) == pipeline(ZERO_SHOT, pair_folder)(photos, candidate_labels=LABELS)
    assert len(usual(photos[0], candidate_labels=LABELS[:1])) == 1
    assert usual.device == "cpu"
    shorter = {"tokenizer_kwargs": {"max_length": 8}}
    assert usual(photos[0], **shorter) != usual(photos[0])
    small = {"image_processor_kwargs": {"image_mean": 0.2}}
    extract = pipeline(FEATURES, pair_folder)
    assert extract(photos[0], **small) != extract(photos[0])


def test_a_pipeline_of_what_is_loaded(pair_folder, photos):
    model, processor = SiglipModel.from_pretrained(pair_folder), SiglipProcessor.from_pretrained(pair_folder)
    expected = pipeline(ZERO_SHOT, pair_folder, candidate_labels=LABELS)(photos)
    parts = {"image_processor": processor.image_processor, "tokenizer": processor.tokenizer}
    for given in (
        parts,
        {"processor": processor},
        {"processor": str(pair_folder)},
        dict.fromkeys(parts, pair_folder),
    ):
        assert pipeline(ZERO_SHOT, model, candidate_labels=LABELS, **given)(photos) == expected
    with pytest.raises(ConfigError, match="without image_processor; pass image_processor"):
        pipeline(ZERO_SHOT, model)
    with pytest.raises(ConfigError, match="without tokenizer"):
        pipeline(ZERO_SHOT, model, image_processor=processor.image_processor)


def test_every_form_of_an_image_gives_the_same(classify, photos):
    expected = classify(photos[0], candidate_labels=LABELS)
    content = photos[0].read_bytes()
    address = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    array = np.asarray(Image.open(photos[0]))
    for image in (str(photos[0]), content, address, array, torch.from_numpy(array.copy())):
        assert classify(image, candidate_labels=LABELS) == expected
        assert classify([image], candidate_labels=LABELS) == [expected]
    assert classify(np.stack([array, array]), candidate_labels=LABELS) == [expected, expected]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"candidate_labels": "a cat, a dog"},
            TextError,
            "candidate_labels is 'a cat, a dog'; it must be a list",
        ),
        ({"candidate_labels": []}, TextError, "candidate_labels is empty"),
        ({"candidate_labels": ["a", 5]}, TextError, "text 2 of 2 is 5"),
        ({}, TextError, "candidate_labels is None"),
        ({"candidate_labels": ["a"], "hypothesis_template": "a photo"}, ConfigError, "prompt is 'a photo'"),
        ({"candidate_labels": ["a"], "hypothesis": "{}"}, UnknownOptionError, "no option 'hypothesis'"),
        ({"candidate_labels": ["a"], "batch_size": -1}, ConfigError, "batch_size is -1"),
        ({"candidate_labels": ["a"], "images": "data:image/png;base64,%"}, ImageError, "is not base64"),
        (
            {"candidate_labels": ["a"], "images": "http://a.de/b.jpg"},
            ImageError,
            "a URL, which is not fetched",
        ),
    ],
)
def test_calls_that_make_no_sense_are_told(options, error, message, classify, photos):
    with pytest.raises(error, match=message):
        classify(**{"images": photos[0], **options})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "text-generation"}, "task is 'text-generation'; there are: zero-shot-image-class"),
        ({"task": None}, "task is None"),
        ({"model": None}, "no model named"),
        ({"device": 0}, "device is 0; everything is computed on the CPU"),
        ({"device": torch.device("cuda")}, "everything is computed on the CPU"),
        ({"device_map": "cuda"}, "device_map is 'cuda'"),
        ({"dtype": torch.bfloat16}, "weights of any type load"),
        ({"trust_remote_code": True}, "code that comes with a model is never run"),
        ({"frame_work": "pt"}, "do you mean 'framework'"),
        ({"framework": "pt"}, "framework is 'pt'"),
        ({"model_kwargs": 5}, "model_kwargs is 5"),
        ({"model_kwargs": {"thread": 1}}, "do you mean 'threads'"),
        ({"image_processor": 5}, "image_processor is 5"),
        ({"processor": 5}, "image_processor is 5"),
    ],
)
def test_pipelines_that_make_no_sense_are_told(arguments, message, pair_folder):
    with pytest.raises(ConfigError, match=message):
        pipeline(**{"task": ZERO_SHOT, "model": pair_folder, **arguments})


def test_a_model_without_the_tower_that_a_task_takes_is_told(toy_folder, pair_folder):
    processor = SiglipImageProcessor.from_pretrained(toy_folder)
    with pytest.raises(ConfigError, match="compares images with texts, and SiglipVisionModel has no tower"):
        pipeline(
            ZERO_SHOT,
            SiglipVisionModel.from_pretrained(toy_folder),
            image_processor=processor,
            tokenizer=pair_folder,
        )
    with pytest.raises(ConfigError, match="model_type is 'siglip_vision_model'"):
        pipeline(ZERO_SHOT, toy_folder)
    with pytest.raises(ConfigError, match="SiglipTextModel has no tower for images"):
        pipeline(FEATURES, SiglipTextModel.from_pretrained(pair_folder), image_processor=processor)
    with pytest.raises(ConfigError, match="takes a classifier, and SiglipModel is none"):
        pipeline(CLASSES, SiglipModel.from_pretrained(pair_folder), image_processor=processor)


def test_options_of_classifiers_are_told(classifier_folder, photos):
    classify = pipeline(CLASSES, classifier_folder)
    for options, message in [
        ({"top_k": 0}, "top_k is 0"),
        ({"function_to_apply": "tanh"}, "function_to_apply is 'tanh'; there are: sigmoid, softmax, none"),
        ({"topk": 1}, "do you mean 'top_k'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            classify(photos[0], **options)


def test_texts_are_embedded_once(classify, photos, monkeypatch):
    texts = []
    embed = type(classify.model.text_model).__call__
    monkeypatch.setattr(
        type(classify.model.text_model),
        "__call__",
        lambda self, ids, **o: texts.append(ids) or embed(self, ids, **o),
    )
    assert len(classify(photos, candidate_labels=LABELS, batch_size=1)) == len(photos)
    assert len(texts) == 1
