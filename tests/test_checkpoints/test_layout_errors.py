"""What is wrong with a checkpoint of another layout is told by file and tensor."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from helpers.layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from helpers.toy_models import TOY, transformers_full_model
from safetensors.numpy import save_file

from numpy_siglip import CheckpointError, ConfigError, Embedder, SiglipVisionConfig, SiglipVisionModel

HEADS = {"vision_config": {"num_attention_heads": 3}, "text_config": {"num_attention_heads": 2}}


@pytest.fixture(scope="module")
def state():
    values = transformers_full_model(**TOY).state_dict()
    return {name: value.numpy() for name, value in values.items() if not name.endswith("position_ids")}


@pytest.fixture
def write(state, tmp_path):
    """Write a layout with some tensors taken out (None) or put in."""

    def write(layout, changes=None, config=HEADS):
        tensors = {
            "timm": lambda: timm_tensors(part(state, "vision_model.")),
            "open_clip": lambda: open_clip_tensors(state),
            "split": lambda: flax_tensors(state, 3, 2),
            "stacked": lambda: flax_tensors(state, 3, 2, stacked=True),
        }[layout]()
        for name, value in (changes or {}).items():
            if value is None:
                del tensors[name]
            else:
                tensors[name] = value.astype(np.float32)
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        if layout in ("split", "stacked"):
            save_npz(tmp_path / "m.npz", tensors)
        else:
            tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
            save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("timm", "blocks.0.attn.qkv.bias"),
        ("timm", "blocks.1.norm2.weight"),
        ("timm", "pos_embed"),
        ("timm", "attn_pool.kv.weight"),
        ("open_clip", "visual.trunk.attn_pool.latent"),
        ("open_clip", "text.transformer.resblocks.0.mlp.c_fc.bias"),
        ("split", "img/Transformer/encoderblock_1/MlpBlock_0/Dense_1/kernel"),
        ("split", "img/MAPHead_0/LayerNorm_0/scale"),
        ("split", "txt/Encoder_0/encoder_norm/bias"),
        ("stacked", "img/Transformer/encoderblock/LayerNorm_1/scale"),
    ],
)
def test_a_missing_tensor(layout, name, write):
    folder = write(layout, {name: None})
    with pytest.raises(CheckpointError, match=rf"^{folder}: no tensor {name}.*the file is incomplete"):
        SiglipVisionModel.from_pretrained(folder)


def test_a_missing_layer_among_others(write, state):
    names = [name for name in timm_tensors(part(state, "vision_model.")) if name.startswith("blocks.0.")]
    with pytest.raises(CheckpointError, match=r"no tensor blocks\.0\.norm1\.weight and 15 more, though"):
        SiglipVisionModel.from_pretrained(write("timm", dict.fromkeys(names)))


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("timm", "cls_token"),
        ("timm", "blocks.0.ls1.gamma"),
        ("open_clip", "visual.trunk.reg_token"),
        ("open_clip", "text.cls_emb"),
        ("split", "img/cls"),
        ("split", "img/head/kernel"),
        ("stacked", "txt/MAPHead_0/probe"),
    ],
)
def test_a_tensor_that_has_no_place(layout, name, write):
    folder = write(layout, {name: np.ones((33, 33))})
    with pytest.raises(CheckpointError, match=rf"^{folder}: tensor {name} has no place in a SigLIP tower"):
        SiglipVisionModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("layout", "name", "shape", "message"),
    [
        ("timm", "blocks.0.attn.qkv.weight", (98, 33), r"\(98, 33\), which cannot be cut into 3 equal parts"),
        ("timm", "pos_embed", (33,), r"\(33,\); in this layout it has 2 or 3 or 4 axes"),
        ("timm", "attn_pool.kv.weight", (66, 32), r"do not fit each other"),
        ("split", "img/embedding/kernel", (11, 3, 33), r"\(11, 3, 33\); in this layout it has 2 axes"),
        ("split", "img/MAPHead_0/MlpBlock_0/Dense_0/kernel", (33,), r"\(33,\); in this layout it has 2 axes"),
        (
            "stacked",
            "img/Transformer/encoderblock/LayerNorm_0/scale",
            (1, 33),
            r", too short for layer 1",
        ),
        ("timm", "pos_embed", (1, 15, 33), r"tensor pos_embed has 15 positions, which are no square grid"),
        ("timm", "norm.bias", (32,), r"shape \(32,\), but"),
    ],
)
def test_a_shape_that_does_not_fit(layout, name, shape, message, write):
    folder = write(layout, {name: np.zeros(shape)})
    with pytest.raises(CheckpointError, match=rf"{folder}.*{message}"):
        SiglipVisionModel.from_pretrained(folder)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_unknown_heads_say_how_to_give_them(tower, write, state):
    width = state[f"{tower}_model.embeddings.position_embedding.weight"].shape[1]
    known = {name: value for name, value in HEADS.items() if name != f"{tower}_config"}
    folder = write("open_clip", config=known)
    message = (
        rf"^{folder}/model\.safetensors: num_attention_heads of the {tower} tower cannot be .* is {width}"
        rf" wide; put {{.{tower}_config.: {{.num_attention_heads.: N}}}} into a config\.json"
    )
    with pytest.raises(ConfigError, match=message):
        SiglipVisionModel.from_pretrained(folder)


def test_a_map_of_the_embedding(write):
    folder = write("open_clip", {"visual.head.proj.weight": np.ones((33, 33))})
    with pytest.raises(
        CheckpointError, match=r"tensor visual\.head\.proj\.weight maps the embedding of the im"
    ):
        SiglipVisionModel.from_pretrained(folder)


def test_several_towers(write, state):
    second = {f"second.{name}": value for name, value in timm_tensors(part(state, "vision_model.")).items()}
    with pytest.raises(CheckpointError, match=r"more than one vision tower \(.*second\.\)"):
        SiglipVisionModel.from_pretrained(write("timm", second))


def test_what_is_in_no_known_layout(tmp_path):
    save_npz(tmp_path / "m.npz", {"conv_root/kernel": np.ones((3, 3), np.float32)})
    with pytest.raises(
        ConfigError, match=rf"^{tmp_path}: no config\.json; nor have the tensors the names of timm"
    ):
        SiglipVisionModel.from_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=rf"^{tmp_path}: no tensor whose name ends in embeddings\.patch_e"
    ):
        SiglipVisionModel.from_pretrained(tmp_path, config=SiglipVisionConfig(**TOY))


# ------------------------------------------------------------------------------------- damaged files


def test_a_truncated_archive(write):
    file = write("split") / "m.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=rf"^{file}: not a whole \.npz archive .*; it may be truncated"):
        SiglipVisionModel.from_pretrained(file)
    file.write_bytes(b"not a zip file")
    with pytest.raises(CheckpointError, match=rf"^{file}: not a whole \.npz archive"):
        SiglipVisionModel.from_pretrained(file)


def test_a_compressed_member_that_is_damaged(state, tmp_path):
    file = tmp_path / "m.npz"
    save_npz(file, flax_tensors(state, 3, 2), compressed=True)
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("img/embedding/kernel.npy")
    data = bytearray(file.read_bytes())
    middle = info.header_offset + 200 + info.compress_size // 2
    data[middle : middle + 8] = bytes(8)
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"^{file}: img/embedding/kernel\.npy cannot be unpacked"):
        SiglipVisionModel.from_pretrained(file)


def test_python_objects_are_not_opened(tmp_path):
    np.savez(tmp_path / "m.npz", **{"params/img/embedding/kernel": np.array([{}], object)})
    with pytest.raises(CheckpointError, match=r"m\.npz: params/img/embedding/kernel holds Python objects"):
        SiglipVisionModel.from_pretrained(tmp_path)


def test_integers_are_refused(state, tmp_path):
    tensors = flax_tensors(state, 3, 2)
    save_npz(tmp_path / "m.npz", tensors | {"img/embedding/bias": np.zeros(33, np.int32)})
    with pytest.raises(CheckpointError, match=r"m\.npz: tensor img/embedding/bias has dtype <i4; supported"):
        SiglipVisionModel.from_pretrained(tmp_path)


def test_several_archives(write, tmp_path):
    write("split")
    (tmp_path / "second.npz").write_bytes((tmp_path / "m.npz").read_bytes())
    with pytest.raises(CheckpointError, match=r"several weight files \(m\.npz, second\.npz\)"):
        SiglipVisionModel.from_pretrained(tmp_path)
    SiglipVisionModel.from_pretrained(tmp_path / "second.npz")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preprocess_cfg": {"resize_mode": "shortest"}}, r"resize_mode is 'shortest'; only 'squash'"),
        (
            {"preprocess_cfg": {"interpolation": "cubist"}},
            r"interpolation is 'cubist'; supported are nearest",
        ),
        (
            {"model_cfg": {"vision_cfg": {"image_size": [44, 55]}}},
            r"images of \[44, 55\] pixels; only squares",
        ),
        ({"model_cfg": []}, None),
        ({"model_cfg": {"text_cfg": "x"}}, r"cannot be understood"),
    ],
)
def test_settings_of_open_clip_that_cannot_be(settings, message, write):
    folder = write("open_clip")
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    if message is None:  # an empty one says nothing
        Embedder.from_pretrained(folder)
        return
    with pytest.raises(ConfigError, match=rf"^{folder}/open_clip_config\.json: {message}"):
        Embedder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"architecture": "vit", "model_args": {"act_layer": "cubic"}},
            r"act_layer is 'cubic'; supported are",
        ),
        ({"architecture": "vit", "pretrained_cfg": {"input_size": 3}}, r"cannot be understood"),
        ({"architecture": "vit", **HEADS, "image_size": "x"}, r"image_size is 'x'; it must be"),
        (
            {"architecture": "vit", "num_attention_heads": 7},
            r"num_attention_heads is 7, which does not divide",
        ),
    ],
)
def test_settings_of_timm_that_cannot_be(config, message, write):
    folder = write("timm", config=config)
    with pytest.raises(ConfigError, match=rf"^{folder}/.*{message}"):
        SiglipVisionModel.from_pretrained(folder)
