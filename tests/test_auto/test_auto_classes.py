"""Which class is built of which files, against transformers' choice."""

from __future__ import annotations

import json
import shutil

import pytest
import transformers

import numpy_siglip
from numpy_siglip import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    ConfigError,
    SiglipTextModel,
    SiglipTokenizer,
)


@pytest.mark.parametrize("fixture", ["toy_folder", "naflex_folder", "pair_folder", "naflex_pair_folder"])
def test_models_are_of_the_classes_that_transformers_chooses(fixture, request):
    folder = request.getfixturevalue(fixture)
    theirs = transformers.AutoModel.from_pretrained(folder)
    ours = AutoModel.from_pretrained(folder, device_map="auto", dtype="auto")
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.num_parameters() == theirs.num_parameters()
    without = (model.num_parameters(exclude_embeddings=True) for model in (ours, theirs))
    assert len(set(without)) == 1
    assert {name: tuple(value.shape) for name, value in theirs.state_dict().items()} == {
        name.removeprefix("vision_model.") if fixture in ("toy_folder", "naflex_folder") else name: shape
        for name, shape in ours.tensor_shapes().items()
    }
    assert type(AutoConfig.from_pretrained(folder)).__name__ == type(theirs.config).__name__
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert type(AutoImageProcessor.from_pretrained(folder)).__name__ + "Pil" == type(processor).__name__


def test_other_tasks(pair_folder, naflex_pair_folder, classifier_folder, toy_folder):
    for folder in (pair_folder, naflex_pair_folder):
        ours, theirs = (
            library.AutoModelForZeroShotImageClassification.from_pretrained(folder)
            for library in (numpy_siglip, transformers)
        )
        assert type(ours).__name__ == type(theirs).__name__
    ours = AutoModelForImageClassification.from_pretrained(classifier_folder)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(classifier_folder)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.num_parameters() == theirs.num_parameters()
    with pytest.raises(ConfigError, match="model_type is 'siglip_vision_model'; AutoModelForZeroShot"):
        AutoModelForZeroShotImageClassification.from_pretrained(toy_folder)


def test_a_text_tower_of_its_own(pair_model, tmp_path):
    pair_model.text_model.save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    assert type(model) is SiglipTextModel
    assert model.num_parameters() == pair_model.text_model.num_parameters()


def test_processors(pair_folder, naflex_pair_folder, toy_folder, tmp_path):
    for folder in (pair_folder, naflex_pair_folder):
        theirs = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
        assert type(AutoProcessor.from_pretrained(folder)).__name__ == type(theirs).__name__
        assert type(AutoTokenizer.from_pretrained(folder, use_fast=True)) is SiglipTokenizer
    # of images or of texts alone, as transformers does
    theirs = transformers.AutoProcessor.from_pretrained(toy_folder, backend="pil")
    assert type(AutoProcessor.from_pretrained(toy_folder)).__name__ + "Pil" == type(theirs).__name__
    shutil.copy(pair_folder / "spiece.model", tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path, context_length=7)("a").input_ids.shape == (1, 7)
    (tmp_path / "spiece.model").unlink()
    with pytest.raises(ConfigError, match="no preprocessor_config"):
        AutoProcessor.from_pretrained(tmp_path)


def test_layouts_of_other_libraries_are_told_by_their_tensors():
    assert type(AutoModel.from_pretrained("emoji")).__name__ == "SiglipModel"


def test_a_larger_model_is_told_what_loads_its_tower(toy_folder, tmp_path):
    shutil.copytree(toy_folder, tmp_path, dirs_exist_ok=True)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "paligemma", "vision_config": values}))
    with pytest.raises(
        ConfigError, match=r"config\.json: model_type is 'paligemma'; AutoModel has .*SiglipVision"
    ):
        AutoModel.from_pretrained(tmp_path)


def test_there_are_no_objects_of_them():
    for name in ("AutoModel", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor", "AutoConfig"):
        with pytest.raises(ConfigError, match=f"{name} is made by {name}.from_pretrained"):
            getattr(numpy_siglip, name)()
