"""What is not a model's weights is told by its name, with what to do."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Embedder,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)
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
        ({"weight.absmax": np.ones(2, np.float32)}, "bitsandbytes"),
        ({"qweight": np.ones((2, 2), np.int32)}, "GPTQ or AWQ"),
        ({"weight_packed": np.ones((2, 2), np.int32)}, "compressed-tensors"),
        ({"weight_scale": np.ones(2, np.float32)}, "compressed-tensors"),
        ({"weight": np.ones((2, 2), np.uint32), "scales": np.ones((2, 1), np.float32)}, "MLX"),
    ],
)
def test_weights_that_others_quantised(added, writer, pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    tensors = load_file(pair_folder / "model.safetensors")
    layer = "vision_model.encoder.layers.1.mlp.fc1."
    save_file(
        {**tensors, **{layer + name: value for name, value in added.items()}}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match=f"m: tensor {layer}.* quantised by {writer}"):
        SiglipVisionModel.from_pretrained(folder)
    SiglipTextModel.from_pretrained(folder)  # in which nothing was quantised


def test_a_larger_model_that_was_quantised_but_for_its_tower(pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    tensors = load_file(pair_folder / "model.safetensors")
    added = {"language_model.layers.0.fc1.qweight": np.ones((2, 2), np.int32)}
    save_file({**tensors, **added}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": "gptq"}})
    )
    pixels = np.zeros((1, 3, 44, 44), np.float32)
    expected, actual = (SiglipVisionModel.from_pretrained(one)(pixels) for one in (pair_folder, folder))
    assert actual.pooler_output.tobytes() == expected.pooler_output.tobytes()


@pytest.mark.parametrize(
    ("said", "writer"),
    [
        ({"quantization_config": {"quant_method": "hqq"}}, "hqq"),
        ({"quantization_config": {}}, "another library"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "MLX"),
    ],
)
def test_a_configuration_that_tells_of_a_quantisation(said, writer, pair_folder, tmp_path):
    """Of a library whose tensors are not known here."""
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    tensors = load_file(pair_folder / "model.safetensors")
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    tensors[name.replace("weight", "W_q")] = tensors.pop(name).astype(np.uint8)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **said}))
    for load in (SiglipVisionModel.from_pretrained, SiglipModel.from_pretrained, Embedder.from_pretrained):
        with pytest.raises(
            CheckpointError, match=rf"missing; .* quantised by {writer}, .* name the original"
        ):
            load(folder)
