"""What is not a model's weights is told by its name, with what to do."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numpy_siglip import CheckpointError, ConfigError, SiglipVisionConfig
from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 371\n"


@pytest.mark.parametrize("name", ["model.safetensors", "m.npz"])
def test_a_pointer_of_git_lfs_in_the_place_of_weights(name, tmp_path):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=f"{name}: is a pointer of git-lfs .* git lfs pull"):
        open_checkpoint(tmp_path)


def test_a_pointer_of_git_lfs_in_the_place_of_a_configuration(pair_folder, tmp_path):
    shutil.copy(pair_folder / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_bytes(POINTER)
    with pytest.raises(ConfigError, match=r"config\.json: is a pointer of git-lfs"):
        SiglipVisionConfig.from_pretrained(tmp_path)


def test_an_adapter_alone(tmp_path):
    save_file({"a.lora_A.weight": np.ones((2, 2), np.float32)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds an adapter .* merge"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("m.gguf", "GGUF"), ("m.onnx", "ONNX")])
def test_models_of_other_programs(name, kind, tmp_path):
    (tmp_path / name).write_bytes(b"GGUF")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(CheckpointError, match=kind):
            open_checkpoint(path)


@pytest.mark.parametrize(
    ("added", "writer"),
    [
        ({"fc1.weight.absmax": np.ones(2, np.float32)}, "bitsandbytes"),
        ({"fc1.qweight": np.ones((2, 2), np.int32)}, "GPTQ or AWQ"),
        ({"fc1.weight_packed": np.ones((2, 2), np.int32)}, "compressed-tensors"),
        ({"fc1.weight_scale": np.ones(2, np.float32)}, "compressed-tensors"),
        ({"fc1.weight": np.ones((2, 2), np.uint32), "fc1.scales": np.ones((2, 1), np.float32)}, "MLX"),
    ],
)
def test_weights_that_others_quantised(added, writer, pair_folder, tmp_path):
    tensors = load_file(pair_folder / "model.safetensors")
    save_file({**tensors, **added}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"quantised by {writer}"):
        open_checkpoint(tmp_path)
