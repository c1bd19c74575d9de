"""Reading checkpoints: every layout that must load, and every damage that must be named."""

from __future__ import annotations

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import torch
from helpers.toy_models import TOY, realistic_weights, transformers_full_model
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Embedder,
    SiglipConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint
from numpy_siglip.weights.vision_weights import vision_tensor_shapes

CONFIG = SiglipVisionConfig(**TOY)
WEIGHTS = realistic_weights(vision_tensor_shapes(CONFIG))
PIXELS = np.random.default_rng(2).uniform(-1, 1, (1, 3, 44, 44)).astype(np.float32)


def _write(folder, tensors, config=CONFIG, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return folder


def _embedding(folder):
    return SiglipVisionModel.from_pretrained(folder)(PIXELS).pooler_output


@pytest.fixture(scope="module")
def flat_folder(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("checkpoint") / "flat", WEIGHTS)


@pytest.fixture(scope="module")
def expected(flat_folder):
    return _embedding(flat_folder)


# ---------------------------------------------------------------------------------- what must load


@pytest.mark.parametrize(
    "prefix",
    [
        "vision_model.",
        "vision_tower.vision_model.",
        "model.vision_tower.",
        "model.vision_tower.vision_model.",
    ],
)
def test_prefixed_keys(prefix, tmp_path, expected):
    tensors = {prefix + name: value for name, value in WEIGHTS.items()}
    others = {
        "language_model.embed.weight": np.ones((2, 2), np.float32),
        "logit_scale": np.ones(1, np.float32),
    }
    np.testing.assert_array_equal(_embedding(_write(tmp_path / "m", tensors | others)), expected)


def test_flat_keys_beside_other_parts(tmp_path, expected):
    others = {
        "classifier.weight": np.ones((2, 33), np.float32),
        "text_model.head.weight": np.ones((2, 33), np.float32),
        "embeddings.position_ids": np.arange(16)[None],  # old versions of transformers saved it
    }
    np.testing.assert_array_equal(_embedding(_write(tmp_path / "m", WEIGHTS | others)), expected)


def test_full_model_as_transformers_writes_it(tmp_path, expected):
    transformers_full_model(**TOY).save_pretrained(tmp_path)
    np.testing.assert_array_equal(_embedding(tmp_path), expected)


def test_shards_as_transformers_writes_them(toy_model, tmp_path, expected):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    assert not (tmp_path / "model.safetensors").exists()
    np.testing.assert_array_equal(_embedding(tmp_path), expected)
    np.testing.assert_array_equal(_embedding(tmp_path / "model.safetensors.index.json"), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_widths_are_converted_to_float32(dtype, toy_model, tmp_path):
    import copy

    narrow = copy.deepcopy(toy_model).to(dtype)
    narrow.save_pretrained(tmp_path / "narrow")
    tensors = {name: value.float().numpy() for name, value in narrow.state_dict().items()}
    _write(tmp_path / "wide", tensors)
    np.testing.assert_array_equal(_embedding(tmp_path / "narrow"), _embedding(tmp_path / "wide"))


def test_a_file_beside_its_config(tmp_path, expected):
    folder = _write(tmp_path / "m", WEIGHTS, name="weights.safetensors")
    np.testing.assert_array_equal(_embedding(folder / "weights.safetensors"), expected)
    np.testing.assert_array_equal(_embedding(str(folder)), expected)  # the only one in its folder


def test_a_read_only_folder(flat_folder, tmp_path, expected):
    folder = shutil.copytree(flat_folder, tmp_path / "m")
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        np.testing.assert_array_equal(_embedding(folder), expected)
    finally:
        folder.chmod(0o755)


def test_a_given_config_replaces_the_file(flat_folder, tmp_path, expected):
    folder = shutil.copytree(flat_folder, tmp_path / "m")
    (folder / "config.json").unlink()
    model = SiglipVisionModel.from_pretrained(folder, config=CONFIG)
    np.testing.assert_array_equal(model(PIXELS).pooler_output, expected)


def test_a_head_may_be_left_alone(flat_folder):
    config = SiglipVisionConfig(**TOY, vision_use_head=False)
    assert SiglipVisionModel.from_pretrained(flat_folder, config=config)(PIXELS).pooler_output is None


def test_a_tensor_is_a_copy_that_nobody_shares(flat_folder):
    checkpoint = open_checkpoint(flat_folder)
    first, second = (checkpoint.tensor("encoder.layers.0.mlp.fc1.weight") for _ in range(2))
    assert not np.shares_memory(first, second)
    assert first.flags.writeable  # as compiled code takes it without another copy
    np.testing.assert_array_equal(first, WEIGHTS["encoder.layers.0.mlp.fc1.weight"])


def test_misaligned_tensors_are_copied_to_an_aligned_place(tmp_path):
    """A header of odd length is legal, and puts every float at an odd address."""
    save_file({"probe": np.arange(6, dtype=np.float32).reshape(2, 3)}, tmp_path / "aligned.safetensors")
    data = (tmp_path / "aligned.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    file = tmp_path / "odd.safetensors"
    file.write_bytes((length + 1).to_bytes(8, "little") + data[8 : 8 + length] + b" " + data[8 + length :])
    tensor = open_checkpoint(file).tensor("probe")
    assert tensor.flags.aligned
    np.testing.assert_array_equal(tensor, np.arange(6).reshape(2, 3))


def test_opening_reads_no_weights(flat_folder, monkeypatch):
    monkeypatch.setattr(
        "numpy_siglip.checkpoints.checkpoint.opened", lambda *_: pytest.fail("weights were read")
    )
    checkpoint = open_checkpoint(flat_folder)
    assert set(checkpoint) == set(WEIGHTS)
    assert checkpoint["head.probe"].shape == (1, 1, 33)


def test_bfloat16_keeps_every_bit(tmp_path):
    values = np.random.default_rng(0).standard_normal(1000).astype(ml_dtypes.bfloat16)
    save_file({"x": values}, tmp_path / "x.safetensors")
    read = open_checkpoint(tmp_path).tensor("x")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read.view(np.uint32), values.view(np.uint16).astype(np.uint32) << 16)


# ------------------------------------------------------------------------------- what must be named


def _changed(**changes):
    tensors = dict(WEIGHTS)
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    return tensors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"post_layernorm__bias": None}, "tensor post_layernorm.bias is missing"),
        ({"head__probe": None}, "head.probe is missing.*vision_use_head"),
        (
            {"embeddings__patch_embedding__weight": None},
            "no tensor whose name ends in embeddings.patch_embedding",
        ),
        (
            {"post_layernorm__weight": np.ones(32, np.float32)},
            r"post_layernorm.weight has shape \(32,\).*\(33,\)",
        ),
        (
            {"encoder__layers__2__mlp__fc1__bias": np.ones(70, np.float32)},
            "encoder.layers.2.mlp.fc1.bias is unexp",
        ),
        (
            {"embeddings__class_embedding": np.ones(33, np.float32)},
            "embeddings.class_embedding is unexpected",
        ),
        ({"head__probe": np.ones((1, 1, 33), np.int32)}, "head.probe has dtype I32.*F32"),
        ({"head__probe": np.ones((1, 1, 33), ml_dtypes.float8_e4m3fn)}, "head.probe has dtype F8_E4M3"),
        (
            {"other__embeddings__patch_embedding__weight": np.ones((33, 3, 11, 11), np.float32)},
            "more than one vision tower",
        ),
    ],
)
def test_wrong_tensors_are_named(changes, message, tmp_path):
    folder = _write(tmp_path / "m", _changed(**changes))
    with pytest.raises(CheckpointError, match=rf"(?s)^{tmp_path}.*{message}") as caught:
        SiglipVisionModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_many_missing_tensors_are_counted(tmp_path):
    folder = _write(tmp_path / "m", {name: v for name, v in WEIGHTS.items() if "layers.1." not in name})
    with pytest.raises(
        CheckpointError, match=r"encoder\.layers\.1\.layer_norm1\.weight.* and 13 more are missing"
    ):
        SiglipVisionModel.from_pretrained(folder)


def test_a_missing_head_is_never_invented(tmp_path):
    folder = _write(tmp_path / "m", {name: v for name, v in WEIGHTS.items() if not name.startswith("head.")})
    with pytest.raises(CheckpointError, match=r"head\.probe.*missing.*set vision_use_head to false"):
        SiglipVisionModel.from_pretrained(folder)


@pytest.mark.parametrize("kept", [0, 5, 8, 500, -4, -1])
def test_truncated_files_are_named(kept, flat_folder, tmp_path):
    folder = shutil.copytree(flat_folder, tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"^{file}: not a whole safetensors file"):
        SiglipVisionModel.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip file", b"\x80\x02}q\x00."])
def test_other_files_called_safetensors_are_named(content, flat_folder, tmp_path):
    folder = shutil.copytree(flat_folder, tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        SiglipVisionModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "checkpoint.ckpt"])
def test_pickles_are_refused_with_advice(name, flat_folder, tmp_path):
    folder = shutil.copytree(flat_folder, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1)}, folder / name)
    for path in (folder, folder / name):
        with pytest.raises(CheckpointError, match=rf"{name}: only safetensors.*torch can write it again"):
            SiglipVisionModel.from_pretrained(path)


@pytest.fixture
def sharded_folder(toy_model, tmp_path):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


def _edit_index(folder, change):
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


def test_a_missing_shard_is_named(sharded_folder):
    shard = sorted(sharded_folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=rf"{shard.name}: missing, though model.safetensors.index.json"):
        SiglipVisionModel.from_pretrained(sharded_folder)


def test_a_shard_without_its_tensor_is_named(sharded_folder):
    shard = sorted(sharded_folder.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    gone = next(iter(tensors))
    del tensors[gone]
    save_file(tensors, shard)
    with pytest.raises(CheckpointError, match=rf"{shard.name}: no tensor {gone}"):
        SiglipVisionModel.from_pretrained(sharded_folder)


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "/etc/passwd", "sub/one.safetensors", ""])
def test_an_index_cannot_lead_out_of_its_folder(shard, sharded_folder):
    def lead_out(content):
        content["weight_map"]["head.probe"] = shard

    _edit_index(sharded_folder, lead_out)
    with pytest.raises(CheckpointError, match="not a plain file name"):
        SiglipVisionModel.from_pretrained(sharded_folder)


@pytest.mark.parametrize("weight_map", [None, [], {"head.probe": 3}])
def test_a_malformed_index_is_named(weight_map, sharded_folder):
    _edit_index(sharded_folder, lambda content: content.update(weight_map=weight_map))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json: no weight_map"):
        SiglipVisionModel.from_pretrained(sharded_folder)


def test_missing_things_are_named(tmp_path, flat_folder):
    with pytest.raises(CheckpointError, match=r"no/such/folder: no such file or folder"):
        SiglipVisionModel.from_pretrained("./no/such/folder")
    with pytest.raises(CheckpointError, match=rf"{tmp_path}: no model.safetensors"):
        SiglipVisionModel.from_pretrained(tmp_path)
    shutil.copy(flat_folder / "model.safetensors", tmp_path)
    with pytest.raises(ConfigError, match=rf"{tmp_path}: no config.json"):
        SiglipVisionModel.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json: not a \.safetensors or \.npz file"):
        SiglipVisionModel.from_pretrained(tmp_path / "config.json")
    for name in ("a", "b"):
        shutil.copy(flat_folder / "model.safetensors", tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"several weight files \(a\.safetensors, b\.safetensors\)"):
        SiglipVisionModel.from_pretrained(tmp_path)


def test_what_is_there_and_cannot_be_opened_is_named_with_the_reason(tmp_path, monkeypatch):
    """A folder in the weights' place, a link to nothing and a link to itself are not damaged files."""
    weights = tmp_path / "model.safetensors"
    weights.mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read \(Is a directory\)"):
        SiglipVisionModel.from_pretrained(tmp_path)
    weights.rmdir()
    for target, reason in (("nothing", "No such file"), (weights.name, "Too many levels of symbolic links")):
        weights.symlink_to(target)
        with pytest.raises(CheckpointError, match=rf"model\.safetensors: cannot be read \({reason}"):
            SiglipVisionModel.from_pretrained(tmp_path)
        weights.unlink()
    weights.write_bytes(b"")
    monkeypatch.setattr(type(tmp_path), "open", _denied)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read \(Permission denied\)"):
        open_checkpoint(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "iterdir", _denied)
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}: cannot be read \(Permission denied\)"):
        open_checkpoint(tmp_path)


def _denied(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_the_wrong_thing_is_named_before_what_it_lacks(photos, tmp_path):
    """Not that a photograph, or a folder of photographs, has no config.json."""
    for loader in (SiglipVisionModel, Embedder):
        for wrong in (photos[0], "/dev/null"):
            with pytest.raises(
                CheckpointError, match=rf"^{wrong}: not a \.safetensors or \.npz file, nor a fold"
            ):
                loader.from_pretrained(wrong)
        with pytest.raises(CheckpointError, match=r"no model\.safetensors .*; name a folder that holds"):
            loader.from_pretrained(tmp_path)


@pytest.mark.parametrize("config", [{}, {"hidden_size": 33}, "config.json", 5])
def test_a_config_of_another_type_is_refused(config, flat_folder):
    with pytest.raises(
        ConfigError, match=r"it must be a SiglipVisionConfig, which SiglipVisionConfig.from_d"
    ):
        SiglipVisionModel.from_pretrained(flat_folder, config=config)


def test_a_config_of_a_full_model_is_taken(flat_folder):
    config = SiglipConfig(vision_config=CONFIG)
    assert SiglipVisionModel.from_pretrained(flat_folder, config=config).config == config.vision_config


def test_a_config_of_another_model_is_told_by_shape(flat_folder):
    config = SiglipVisionConfig(**{**TOY, "image_size": 55})
    with pytest.raises(CheckpointError, match=r"position_embedding.weight has shape \(16, 33\).*\(25, 33\)"):
        SiglipVisionModel.from_pretrained(flat_folder, config=config)
