"""What convert_model writes, transformers opens; and it computes what the source computes."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from helpers.layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from helpers.toy_models import TOY, transformers_full_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from numpy_siglip import CheckpointError, ConfigError, SiglipVisionModel
from numpy_siglip.tools.conversion import convert_model, format_conversion

HEADS = {"vision_config": {"num_attention_heads": 3}, "text_config": {"num_attention_heads": 2}}
PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)


@pytest.fixture(scope="module")
def state():
    values = transformers_full_model(**TOY).state_dict()
    return {name: value.numpy() for name, value in values.items() if not name.endswith("position_ids")}


def _source(layout, state, folder):
    folder.mkdir()
    if layout == "big_vision":
        save_npz(folder / "m.npz", flax_tensors(state, 3, 2, stacked=True), "params/")
        return folder / "m.npz"
    writers = {"timm": lambda hf: timm_tensors(part(hf, "vision_model.")), "open_clip": open_clip_tensors}
    tensors = writers[layout](state)
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(HEADS))
    return folder


def _open(model_class, folder):
    """Opened by transformers, with no tensor missing, unexpected or of another shape."""
    model, report = model_class.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


@pytest.mark.parametrize("layout", ["timm", "open_clip", "big_vision"])
def test_transformers_opens_it(layout, state, tmp_path, photos):
    source = _source(layout, state, tmp_path / "source")
    (tmp_path / "source" / "tokenizer.json").write_text("{}")
    conversion = convert_model(source, tmp_path / "new" / "out")
    assert conversion.layout == layout
    assert [file.name for file in conversion.files] == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    whole = layout != "timm"
    model = _open(
        getattr(transformers, "SiglipModel" if whole else "SiglipVisionModel"), tmp_path / "new/out"
    )
    expected = state if whole else part(state, "vision_model.")
    actual = {name: value.numpy() for name, value in model.state_dict().items() if "position_ids" not in name}
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
    processor = transformers.SiglipImageProcessorPil.from_pretrained(tmp_path / "new/out")
    assert (processor.size["height"], processor.resample, list(processor.image_mean)) == (44, 3, [0.5] * 3)

    ours, before = (SiglipVisionModel.from_pretrained(p)(PIXELS) for p in (tmp_path / "new/out", source))
    np.testing.assert_array_equal(ours.pooler_output, before.pooler_output)


def test_dtypes_are_kept(state, tmp_path):
    """And float64 becomes float32, in which everything is computed."""
    kinds = {"logit_scale": np.float64, "text_model.head.bias": np.float16}
    narrow = {name: value.astype(kinds.get(name, ml_dtypes.bfloat16)) for name, value in state.items()}
    convert_model(_source("big_vision", narrow, tmp_path / "source"), tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in narrow.items():
        expected = value.astype(np.float32) if name == "logit_scale" else value
        assert written[name].dtype == expected.dtype
        np.testing.assert_array_equal(written[name].astype(np.float32), value.astype(np.float32))
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    model = _open(transformers.SiglipModel, tmp_path / "out")
    assert model.vision_model.head.probe.dtype == torch.bfloat16


def test_a_naflex_model(tmp_path):
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20}
    vision = transformers.Siglip2VisionConfig(**sizes, num_patches=16, patch_size=4)
    text = transformers.Siglip2TextConfig(**sizes, vocab_size=20, max_position_embeddings=8)
    theirs = transformers.Siglip2Model(
        transformers.Siglip2Config(vision_config=vision.to_dict(), text_config=text.to_dict())
    )
    state = {name: value.numpy() for name, value in theirs.state_dict().items() if "position_ids" not in name}
    save_npz(tmp_path / "m.npz", flax_tensors(state, 3, 3), "params/")
    conversion = convert_model(tmp_path / "m.npz", tmp_path / "out")
    assert conversion.model_class == "Siglip2Model"
    opened = _open(transformers.Siglip2Model, tmp_path / "out")
    for name, value in opened.state_dict().items():
        if "position_ids" not in name:
            np.testing.assert_array_equal(value.numpy(), state[name], err_msg=name)
    processor = transformers.Siglip2ImageProcessorPil.from_pretrained(tmp_path / "out")
    assert (processor.patch_size, processor.max_num_patches, processor.resample) == (4, 256, 2)


def test_a_tower_inside_a_larger_model_becomes_a_model(toy_folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    tensors = load_file(toy_folder / "model.safetensors")
    others = {"language_model.weight": np.ones((2, 2), np.float32)}
    save_file(
        {f"vision_tower.vision_model.{name}": value for name, value in tensors.items()} | others,
        source / "model.safetensors",
    )
    vision = json.loads((toy_folder / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({"model_type": "paligemma", "vision_config": vision}))
    conversion = convert_model(source, tmp_path / "out")
    assert [file.name for file in conversion.files] == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",  # of its family, since the source has none
    ]
    assert conversion.inferred == (
        "preprocessing of paligemma: resample 3 (bicubic), image_mean and image_std 0.5",
    )
    opened = _open(transformers.SiglipVisionModel, tmp_path / "out")
    for name, value in tensors.items():
        np.testing.assert_array_equal(opened.state_dict()[name].numpy(), value)


def test_what_is_there_is_not_replaced(toy_folder, tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(
        ConfigError, match=rf"^{tmp_path}/config\.json: is there already; name a new or an emp"
    ):
        convert_model(toy_folder, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(ConfigError, match="is there already"):
        convert_model(toy_folder, toy_folder)


def test_nothing_is_left_of_a_conversion_that_fails(state, tmp_path):
    """A dtype that cannot be read shows when its tensor's turn has come."""
    source = _source("big_vision", state, tmp_path / "source")
    tensors = flax_tensors(state, 3, 2)
    tensors["img/embedding/bias"] = tensors["img/embedding/bias"].astype(np.int32)
    save_npz(source, tensors)
    with pytest.raises(CheckpointError, match=r"tensor img/embedding/bias has dtype <i4"):
        convert_model(source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_whole_model_needs_a_scale(state, tmp_path):
    source = tmp_path / "m.npz"
    save_npz(source, {name: value for name, value in flax_tensors(state, 3, 2).items() if name != "t"})
    with pytest.raises(CheckpointError, match=r"m\.npz: tensor logit_scale is missing"):
        convert_model(source, tmp_path / "out")


def test_the_command(state, tmp_path, capsys):
    from numpy_siglip.commands.command_line import main

    source = _source("big_vision", state, tmp_path / "source")
    assert main(["convert", str(source), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("from the layout of big_vision to transformers' SiglipModel\n")
    assert f"  {tmp_path / 'out' / 'model.safetensors'}\n" in printed
    assert "  preprocessing of SigLIP: resample 3 (bicubic), image_mean and image_std 0.5\n" in printed
    assert main(["convert", str(source), str(tmp_path / "out")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_report_of_a_source_that_says_all(toy_folder, tmp_path):
    lines = format_conversion(convert_model(toy_folder, tmp_path / "out")).splitlines()
    assert lines[0] == "from the layout of transformers to transformers' SiglipVisionModel"
    assert len(lines) == 4


def test_a_config_that_does_not_say_what_it_is_of(state, tmp_path):
    """Both sections and both towers are there, so both are written."""
    source = tmp_path / "source"
    transformers_full_model(**TOY).save_pretrained(source)
    values = json.loads((source / "config.json").read_text())
    del values["model_type"]
    (source / "config.json").write_text(json.dumps(values))
    assert convert_model(source, tmp_path / "out").model_class == "SiglipModel"
    assert len(_open(transformers.SiglipModel, tmp_path / "out").state_dict()) >= len(state)


def test_a_classifier_is_told_to_need_no_conversion(tmp_path):
    config = transformers.SiglipConfig(vision_config=TOY, num_labels=3)
    transformers.SiglipForImageClassification(config).save_pretrained(tmp_path / "source")
    with pytest.raises(CheckpointError, match="opens it as it is, with SiglipForImageClassification"):
        convert_model(tmp_path / "source", tmp_path / "out")


def test_scalars_get_the_shape_of_transformers(state, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_text(json.dumps({"model_type": "siglip", **_sections()}))
    file = tmp_path / "source/model.safetensors"
    save_file({**state, "logit_scale": state["logit_scale"].reshape(())}, file)
    convert_model(tmp_path / "source", tmp_path / "out")
    assert load_file(tmp_path / "out/model.safetensors")["logit_scale"].shape == (1,)
    save_file({**state, "logit_scale": state["logit_scale"].reshape(1, 1)}, file)
    with pytest.raises(CheckpointError, match=r"logit_scale has shape \(1, 1\); it must be one number"):
        convert_model(tmp_path / "source", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_folder_that_could_not_be_filled_is_removed(state, tmp_path, monkeypatch):
    source = _source("open_clip", state, tmp_path / "source")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy_siglip.checkpoints.saving.write_safetensors", fail)
    with pytest.raises(OSError, match="No space left"):
        convert_model(source, tmp_path / "new" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def _sections():
    config = transformers_full_model(**TOY).config
    return {name: getattr(config, name).to_dict() for name in ("vision_config", "text_config")}
