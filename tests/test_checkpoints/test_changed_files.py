"""A file of weights that changes while a model of it is in use: the model stays what it was, or says so."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest
from helpers.layout_writers import flax_tensors, save_npz
from helpers.published_model import PIXELS, TEXT_HEADS
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    Embedder,
    SiglipForImageClassification,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionModel,
    convert_model,
    quantize_model,
)
from numpy_siglip.checkpoints.checkpoint import Checkpoint
from numpy_siglip.checkpoints.description.model_files import open_model

CHANGED = r"{}: was changed or removed after it was opened; load the model again$"


def _truncate(file):
    os.truncate(file, file.stat().st_size // 3)


def _overwrite(file):
    """Other numbers of the same length, in place."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(b"\x3c" * (size - size // 2))


def _replace(file):
    """As another download would: a new file takes the name."""
    other = file.with_name("other")
    shutil.copy(file, other)
    _overwrite(other)
    other.replace(file)


CHANGES = [_truncate, _overwrite, _replace, lambda file: file.unlink()]


@pytest.fixture
def folder(pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    os.utime(folder / "model.safetensors", ns=(1, 1))  # so that writing changes its time, however soon
    return folder


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_vision_tower_stays_what_it_was(change, backend, folder):
    model = SiglipVisionModel.from_pretrained(folder, backend=backend)
    expected = model(PIXELS).pooler_output
    change(folder / "model.safetensors")
    np.testing.assert_array_equal(model(PIXELS).pooler_output, expected)


@pytest.mark.parametrize("change", CHANGES)
def test_a_text_tower_that_was_not_read_yet_says_so(change, folder, photos):
    embedder = Embedder.from_pretrained(folder)
    expected = embedder.embed_images(photos[:1])
    change(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=CHANGED.format("model.safetensors")):
        embedder.embed_texts(["a cat"])
    np.testing.assert_array_equal(embedder.embed_images(photos[:1]), expected)


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_of_tokens_says_so(change, folder):
    model = SiglipTextModel.from_pretrained(folder)
    model(np.ones((1, 16), int))
    change(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=CHANGED.format("model.safetensors")):
        model(np.ones((1, 16), int))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "model_class", [SiglipVisionModel, SiglipTextModel, SiglipModel, SiglipForImageClassification]
)
def test_a_file_that_changes_while_it_is_loaded(change, model_class, folder, classifier_folder, monkeypatch):
    if model_class is SiglipForImageClassification:
        shutil.copytree(classifier_folder, folder, dirs_exist_ok=True)
    stored, seen = Checkpoint.stored_entry, []

    def stored_entry(self, entry):
        seen.append(entry.name)
        if len(seen) == 9:
            change(entry.file)
        return stored(self, entry)

    monkeypatch.setattr(Checkpoint, "stored_entry", stored_entry)
    with pytest.raises(CheckpointError, match=CHANGED.format("model.safetensors")):
        model_class.from_pretrained(folder)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("use", [convert_model, quantize_model])
def test_what_is_open_already_says_so(change, use, folder, tmp_path):
    files = open_model(folder)
    assert len(files.tensors) > 0
    change(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=CHANGED.format("model.safetensors")):
        use(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_says_so(change, compressed, toy, tmp_path):
    file = tmp_path / "m.npz"
    save_npz(file, flax_tensors(toy.state, 3, TEXT_HEADS), compressed=compressed)
    os.utime(file, ns=(1, 1))
    files = open_model(file)
    model = SiglipTextModel.from_pretrained(files)
    change(file)
    with pytest.raises(CheckpointError, match=CHANGED.format(r"m\.npz")):
        SiglipVisionModel.from_pretrained(files)
    if not compressed:  # else its table is in memory
        with pytest.raises(CheckpointError, match=CHANGED.format(r"m\.npz")):
            model(np.ones((1, 16), int))


def test_a_shard_says_so(toy_model, tmp_path):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    files = open_model(tmp_path)
    shard = sorted({entry.file for entry in files.tensors.values()})[-1]
    _truncate(shard)
    with pytest.raises(CheckpointError, match=CHANGED.format(shard.name)):
        SiglipVisionModel.from_pretrained(files)


def test_another_process_compares_length_and_time_alone(folder):
    """It may run on another machine, where a copy of the file has another number.

    What it computes with came with it; what it saves is read from the file.
    """
    model = SiglipTextModel.from_pretrained(folder)
    expected = model(np.ones((1, 16), int)).pooler_output
    content = pickle.dumps(model)
    file = folder / "model.safetensors"
    copy = shutil.copy2(file, folder / "copy")
    copy.replace(file)
    pickle.loads(content).save_pretrained(folder / "saved")
    _overwrite(file)
    again = pickle.loads(content)
    np.testing.assert_array_equal(again(np.ones((1, 16), int)).pooler_output, expected)
    with pytest.raises(CheckpointError, match=CHANGED.format("model.safetensors")):
        again.save_pretrained(folder / "other")
    assert not (folder / "other").exists()


def test_other_weights_are_read_when_the_model_is_loaded_again(folder):
    before = SiglipVisionModel.from_pretrained(folder)(PIXELS).pooler_output
    tensors = load_file(folder / "model.safetensors")
    name = "vision_model.encoder.layers.0.layer_norm1.bias"
    save_file({**tensors, name: tensors[name] + 1}, folder / "model.safetensors")
    assert not np.array_equal(SiglipVisionModel.from_pretrained(folder)(PIXELS).pooler_output, before)
