"""The advice about pickled weights, followed: what comes of it computes what the pickled model did."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
import torch
from helpers.layout_writers import open_clip_tensors, timm_tensors
from helpers.published_model import HEADS, HEADS_OF_BOTH, assert_same_outputs, logits

from numpy_siglip import CheckpointError, SiglipVisionModel
from numpy_siglip.checkpoints.pickled_weights import advice_on_pickle


def _advised(path) -> list[str]:
    """The arguments of python that the error of a folder or file tells."""
    with pytest.raises(CheckpointError, match=r"only safetensors and \.npz weights") as caught:
        SiglipVisionModel.from_pretrained(path)
    command = shlex.split(str(caught.value).partition("without running any: ")[2])
    assert command[:2] == ["python", "-c"]
    return command[2:]


def _follow(path, monkeypatch):
    program, *arguments = _advised(path)
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    exec(compile(program, "advice", "exec"), {})


def _pickle(folder, tensors, name="pytorch_model.bin", config=None):
    folder.mkdir(exist_ok=True)
    torch.save({key: torch.from_numpy(value.copy()) for key, value in tensors.items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_of_transformers(toy, tmp_path, monkeypatch):
    config = json.loads((toy.folder / "config.json").read_text())
    folder = _pickle(tmp_path / "m", toy.state, config=config)
    _follow(folder, monkeypatch)
    assert_same_outputs(folder, toy)
    assert (logits(folder) == toy.logits).all()


def test_of_timm(toy, tmp_path, monkeypatch):
    config = {"architecture": "vit_base_patch16_siglip_224", "model_args": {"num_heads": 3}}
    folder = _pickle(tmp_path / "m", timm_tensors(toy.vision_state), config=config)
    _follow(folder, monkeypatch)
    assert_same_outputs(folder, toy)


def test_of_open_clip(toy, tmp_path, monkeypatch):
    folder = _pickle(
        tmp_path / "m", open_clip_tensors(toy.state), "open_clip_pytorch_model.bin", config=HEADS_OF_BOTH
    )
    _follow(folder, monkeypatch)
    assert_same_outputs(folder, toy)
    assert (logits(folder) == toy.logits).all()


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_of_a_training_script_with_other_things_beside(key, toy, tmp_path, monkeypatch):
    folder = _pickle(tmp_path / "m", {}, config=HEADS)
    state = {name: torch.from_numpy(value) for name, value in timm_tensors(toy.vision_state).items()}
    state["norm.bias"] = torch.cat([state["norm.bias"]] * 2)[: len(state["norm.bias"])]  # part of a storage
    torch.save({key: state, "epoch": 3, "optimizer": {"lr": 0.1}}, folder / "last.ckpt")
    (folder / "pytorch_model.bin").unlink()
    _follow(folder / "last.ckpt", monkeypatch)
    assert_same_outputs(folder, toy)


def test_of_a_model_in_several_files(toy, tmp_path, monkeypatch):
    config = json.loads((toy.folder / "config.json").read_text())
    names = sorted(toy.state)
    for part in (1, 2, 3):
        tensors = {name: toy.state[name] for name in names[part - 1 :: 3]}
        _pickle(tmp_path / "m", tensors, f"pytorch_model-0000{part}-of-00003.bin", config)
    _follow(tmp_path / "m", monkeypatch)
    assert_same_outputs(tmp_path / "m", toy)


def test_names_reach_the_program_through_a_shell(toy, tmp_path):
    folder = _pickle(tmp_path / 'a "quoted" $name; it\'s', timm_tensors(toy.vision_state), config=HEADS)
    with pytest.raises(CheckpointError) as caught:
        SiglipVisionModel.from_pretrained(folder)
    command = str(caught.value).partition("without running any: python")[2]
    subprocess.run(f"{shlex.quote(sys.executable)}{command}", shell=True, check=True)
    assert_same_outputs(folder, toy)


def test_a_pickle_that_runs_code_is_refused_by_what_is_advised(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        _follow(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "others", [["flax_model.msgpack", "optimizer.pt", "training_args.bin"], ["scheduler.pt"]]
)
def test_the_file_of_the_model_is_meant_and_not_what_lies_beside_it(others, tmp_path):
    for name in (*others, "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: only safetensors"):
        SiglipVisionModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["flax_model.msgpack", "tf_model.h5", "model.pkl"])
def test_what_torch_does_not_read_either_is_to_be_fetched_in_another_format(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"{name}: weights .* fetch the model as a \.safetensors file"):
        SiglipVisionModel.from_pretrained(tmp_path)


def test_weights_beside_the_pickle_are_named_instead(toy):
    assert "model.safetensors lies beside it; name that" in advice_on_pickle(toy.folder / "pytorch_model.bin")
