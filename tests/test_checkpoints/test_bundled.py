"""The model that comes with the package: where its name leads, what it answers, and what lies beside it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers.command_runs import process, run
from helpers.repository import REPOSITORY
from PIL import Image
from safetensors import safe_open

import numpy_siglip
from numpy_siglip import CheckpointError, Embedder, SiglipModel, SiglipProcessor
from numpy_siglip.checkpoints.hub import locate_model

FOLDER = Path(numpy_siglip.__file__).parent / "emoji"
LION = FOLDER / "lion.png"
# Of the held-out style; what they are taken for may not depend on which of these they are told from.
UNMISTAKABLE = ["banana", "cactus", "guitar", "panda", "penguin", "pizza", "soccer ball", "volcano"]


def pictures_of(names: list[str]) -> list[Image.Image]:
    """Pictures of the sample, by name."""
    sample = json.loads((FOLDER / "sample.json").read_text("utf-8"))
    side = sample["side"]
    with Image.open(FOLDER / "sample.png") as file:
        sheet = file.convert("RGB")
    found = []
    for name in names:
        top, left = (side * place for place in divmod(sample["names"].index(name), sample["columns"]))
        found.append(sheet.crop((left, top, left + side, top + side)))
    return found


# ------------------------------------------------------------------------------------------ what it answers


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_unmistakable_pictures_are_named(backend):
    embedder = Embedder.from_pretrained(backend=backend)
    probabilities = embedder.classify(pictures_of(UNMISTAKABLE), UNMISTAKABLE)
    own = probabilities.diagonal()
    others = np.where(np.eye(len(UNMISTAKABLE)), 0, probabilities).max(axis=1)
    assert own.min() > 0.1
    assert (own > 20 * others).all()


def test_keywords_find_their_picture():
    answers = {
        "fruit": "banana",
        "desert plant": "cactus",
        "music instrument": "guitar",
        "bear": "panda",
        "bird": "penguin",
        "cheese": "pizza",
        "mountain eruption": "volcano",
    }
    embedder = Embedder.from_pretrained("emoji")
    cosines = embedder.embed_texts(list(answers)) @ embedder.embed_images(pictures_of(UNMISTAKABLE)).T
    assert [UNMISTAKABLE[best] for best in cosines.argmax(axis=1)] == list(answers.values())


def test_transformers_opens_the_folder_and_answers_alike():
    from transformers import AutoProcessor
    from transformers import SiglipModel as TheirModel

    texts = [f"This is a photo of {name}." for name in UNMISTAKABLE]
    images = [Image.open(LION).convert("RGB"), *pictures_of(UNMISTAKABLE)]
    processor = AutoProcessor.from_pretrained(FOLDER)
    inputs = processor(images=images, text=texts, padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        theirs = TheirModel.from_pretrained(FOLDER).eval()(**inputs)
    ours = SiglipModel.from_pretrained("emoji")(**SiglipProcessor.from_pretrained("emoji")(images, texts))
    scale = np.abs(theirs.logits_per_image.numpy()).max()
    np.testing.assert_allclose(
        ours.logits_per_image, theirs.logits_per_image.numpy(), rtol=0, atol=1e-5 * scale
    )
    expected = torch.sigmoid(theirs.logits_per_image).numpy()
    probabilities = Embedder.from_pretrained().classify(images, UNMISTAKABLE)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


# ---------------------------------------------------------------------------------------- what it is called


@pytest.mark.parametrize(
    "name",
    [
        "SiglipConfig",
        "SiglipImageProcessor",
        "SiglipModel",
        "SiglipProcessor",
        "SiglipTextConfig",
        "SiglipTextModel",
        "SiglipTokenizer",
        "SiglipVisionConfig",
        "SiglipVisionModel",
    ],
)
def test_every_class_knows_the_short_name(name):
    assert getattr(numpy_siglip, name).from_pretrained("emoji")


def test_the_short_name_is_not_that_of_a_folder_here(toy_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_folder, tmp_path / "emoji")
    assert locate_model("emoji") == FOLDER
    for path in ("./emoji", Path("emoji"), tmp_path / "emoji"):
        assert locate_model(path).resolve() == (tmp_path / "emoji").resolve()
    with pytest.raises(CheckpointError, match="emoji: is here, and only a model on the hub has revisions"):
        locate_model("emoji", "main")


def test_a_command_without_a_model_takes_it_and_says_so(tmp_path, capsys):
    labels = "a lion, a pizza, a bicycle"
    assert run("classify", LION, "--labels", labels) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split(maxsplit=1)[1] == "a lion"
    assert captured.err.count("\n") == 1
    assert captured.err.startswith('numpy-siglip: no --model named, so the bundled "emoji" answers')
    assert "--model google/siglip-base-patch16-224" in captured.err

    assert run("classify", LION, "--labels", labels, "--model", "emoji") == 0
    assert capsys.readouterr() == (captured.out, "")


@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["embed", "--text", "a lion", "--output", "t.npy"],
        ["similarity", LION, "--text", "a lion"],
    ],
    ids=lambda command: command[0],
)
def test_other_commands_have_it_as_its_default(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*command) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith('numpy-siglip: no --model named, so the bundled "emoji" answers')


def test_quiet_is_quiet(tmp_path, capsys):
    assert run("embed", "--text", "a lion", "--quiet", "--output", tmp_path / "t.npy") == 0
    assert capsys.readouterr().err == ""


def test_the_published_table_needs_no_model(capsys):
    assert run("inspect", "--published") == 0
    assert capsys.readouterr().err == ""


def test_help_names_it():
    assert "default: emoji" in process("classify", "--help").stdout


# -------------------------------------------------------------------------------------- what lies beside it


def test_the_folder_is_small_and_half_precision():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8_000_000
    with safe_open(FOLDER / "model.safetensors", "numpy") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


def test_licences_are_named_and_none_is_share_alike():
    licences = (FOLDER / "LICENCES.txt").read_text("utf-8")
    sources = REPOSITORY / "examples" / "emoji" / "package.json"
    packages = json.loads(sources.read_text("utf-8"))["dependencies"]
    assert len(packages) > 9
    for package in packages:
        assert package in licences
    assert "-SA" not in licences


def test_the_sample_names_what_it_shows():
    sample = json.loads((FOLDER / "sample.json").read_text("utf-8"))
    assert len(sample["names"]) == len(sample["groups"]) == 600
    assert set(sample["names"]) <= set(sample["labels"])
    assert "CC BY 4.0" in sample["style"]
    rows = -(-len(sample["names"]) // sample["columns"])
    with Image.open(FOLDER / "sample.png") as sheet:
        assert sheet.size == (sample["columns"] * sample["side"], rows * sample["side"])


def test_it_is_found_from_wherever_the_file_that_finds_it_lies(monkeypatch):
    """The same source, loaded as a module of a folder in a folder of the package."""
    from numpy_siglip.checkpoints import bundled

    name = "numpy_siglip.some.folder.bundled"
    moved = ModuleType(name)
    moved.__file__ = str(FOLDER.parent / "some" / "folder" / "bundled.py")
    monkeypatch.setitem(sys.modules, name, moved)
    exec(compile(Path(bundled.__file__).read_text(), moved.__file__, "exec"), vars(moved))
    assert moved.bundled_folder("emoji") == FOLDER
