"""Configurations with impossible values: each is refused where it is read, by name of its file, or works."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers.fuzzing import fuzz, mutated_bytes, mutated_values
from helpers.layout_writers import open_clip_tensors, timm_tensors
from helpers.published_model import Published, save
from helpers.toy_models import TOY

from numpy_siglip import (
    ConfigError,
    Embedder,
    Siglip2VisionModel,
    SiglipForImageClassification,
    SiglipTokenizer,
    SiglipVisionModel,
    inspect_model,
)

CASES = [200, pytest.param(4000, marks=pytest.mark.slow)]
_MOST_PATCHES = 1000
"""Of an image that is embedded: attention in plain NumPy holds all scores, ten gigabytes of 20,000 patches"""
PICTURE = np.random.default_rng(0).integers(256, size=(30, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("fuzzed"), TOY)


def _fuzz_file(name, folder, use, cases):
    values = json.loads((folder / name).read_text())
    text = json.dumps(values).encode()

    def case(generator):
        if generator.random() < 0.1:
            (folder / name).write_bytes(mutated_bytes(generator, text))
        else:
            (folder / name).write_text(json.dumps(mutated_values(generator, values)))
        with np.errstate(all="ignore"):
            use(folder)

    case.__qualname__ = f"{name} of {folder.name}"
    count = fuzz(case, cases)
    assert min(count) > 0


def _embed(folder):
    embedder = Embedder.from_pretrained(folder, backend="numpy")
    if getattr(embedder.processor, "max_num_patches", 0) <= _MOST_PATCHES:
        embedder.embed_images([PICTURE])
    else:
        embedder.processor([PICTURE])


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", ["toy_folder", "pair_folder", "naflex_folder"])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_files_of_transformers(name, kind, cases, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / kind)
    _fuzz_file(name, folder, _embed, cases)


@pytest.mark.parametrize("cases", CASES)
def test_a_classifier(cases, classifier_folder, tmp_path):
    folder = shutil.copytree(classifier_folder, tmp_path / "classifier")

    def use(folder):
        model = SiglipForImageClassification.from_pretrained(folder, backend="numpy")
        model(np.zeros((1, 3, 44, 44), np.float32))

    _fuzz_file("config.json", folder, use, cases)


@pytest.mark.parametrize("cases", CASES)
def test_what_inspect_says(cases, pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "pair")
    _fuzz_file("config.json", folder, inspect_model, cases)


@pytest.mark.parametrize("cases", CASES)
def test_a_configuration_of_timm(cases, toy, tmp_path):
    config = {
        "architecture": "vit_base_patch16_siglip_224",
        "model_args": {"img_size": [44, 44], "num_heads": 3, "act_layer": "gelu_tanh"},
        "pretrained_cfg": {
            "tag": "v2_webli",
            "input_size": [3, 44, 44],
            "interpolation": "bicubic",
            "crop_pct": 0.9,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    folder = save(tmp_path / "timm", timm_tensors(toy.vision_state), config)
    _fuzz_file("config.json", folder, _embed, cases)


@pytest.mark.parametrize("cases", CASES)
def test_a_configuration_of_open_clip(cases, toy, tmp_path):
    config = {"num_attention_heads": 3, "text_config": {"num_attention_heads": 2}}
    folder = save(tmp_path / "open_clip", open_clip_tensors(toy.state), config)
    settings = {
        "model_cfg": {
            "vision_cfg": {"image_size": 44, "timm_model_name": "vit_base_patch16_siglip_224"},
            "text_cfg": {"heads": 2, "hf_tokenizer_name": "a", "norm_kwargs": {"eps": 1e-6}},
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    _fuzz_file("open_clip_config.json", folder, _embed, cases)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", ["pair_folder", "naflex_pair_folder"])
def test_settings_of_tokenizers(kind, cases, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / kind)
    _fuzz_file(
        "tokenizer_config.json",
        folder,
        lambda folder: SiglipTokenizer.from_pretrained(folder)(["a cat", ""]),
        cases,
    )


@pytest.mark.parametrize("cases", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("kind", "name"), [("pair_folder", "spiece.model"), ("naflex_pair_folder", "tokenizer.json")]
)
def test_vocabularies(kind, name, cases, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / kind)
    content = (folder / name).read_bytes()

    def case(generator):
        (folder / name).write_bytes(mutated_bytes(generator, content))
        SiglipTokenizer.from_pretrained(folder)(["a cat", "", "</s> x"])

    count = fuzz(case, cases)
    assert min(count) > 0


def test_a_library_that_gives_up_on_a_vocabulary(naflex_pair_folder, tmp_path):
    """tokenizers raises what is no Exception where a template names a token that it does not describe."""
    folder = shutil.copytree(naflex_pair_folder, tmp_path / "m")
    values = json.loads((folder / "tokenizer.json").read_text())
    assert values["post_processor"]["special_tokens"].pop("<eos>")
    (folder / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"tokenizer\.json: .*fetch the file again"):
        SiglipTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize(
    ("kind", "model_class"), [("toy_folder", SiglipVisionModel), ("naflex_folder", Siglip2VisionModel)]
)
def test_values_that_a_program_passes(kind, model_class, cases, request):
    values = json.loads((request.getfixturevalue(kind) / "config.json").read_text())

    def case(generator):
        model_class.config_class.from_dict(mutated_values(generator, values))

    count = fuzz(case, cases)
    assert min(count) > 0
