"""Every layout in which SigLIP is published gives what the same weights give in that of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from checkpoints import TOY, transformers_full_model
from layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from safetensors.numpy import save_file

from numpy_siglip import SiglipVisionModel
from numpy_siglip.layouts.description import describe

PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)
TEXT_HEADS = 2
HEADS = {"vision_config": {"num_attention_heads": TOY["num_attention_heads"]}}
HEADS_OF_BOTH = {**HEADS, "text_config": {"num_attention_heads": TEXT_HEADS}}


@pytest.fixture(scope="module")
def full_model():
    return transformers_full_model(**TOY)


@pytest.fixture(scope="module")
def full_state(full_model):
    state = {name: value.numpy() for name, value in full_model.state_dict().items()}
    return {name: value for name, value in state.items() if not name.endswith("position_ids")}


@pytest.fixture(scope="module")
def expected(full_model, tmp_path_factory):
    """Outputs of the checkpoint that transformers wrote."""
    folder = tmp_path_factory.mktemp("transformers")
    full_model.save_pretrained(folder)
    return _outputs(folder)


def _outputs(folder):
    output = SiglipVisionModel.from_pretrained(folder)(PIXELS)
    return output.last_hidden_state, output.pooler_output


def _assert_same(folder, expected):
    for actual, wanted in zip(_outputs(folder), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def _save(folder, tensors, config=None, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


# ---------------------------------------------------------------------------------- what must load


def test_timm(full_state, tmp_path, expected):
    folder = _save(tmp_path / "m", timm_tensors(part(full_state, "vision_model.")), HEADS)
    _assert_same(folder, expected)
    assert describe(folder).layout == "timm"


def test_open_clip(full_state, tmp_path, expected):
    folder = _save(
        tmp_path / "m", open_clip_tensors(full_state), HEADS_OF_BOTH, name="open_clip_model.safetensors"
    )
    _assert_same(folder, expected)
    assert describe(folder).layout == "open_clip"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize("stacked", [False, True])
def test_big_vision(stacked, prefix, compressed, full_state, tmp_path, expected):
    tensors = flax_tensors(full_state, TOY["num_attention_heads"], TEXT_HEADS, stacked=stacked)
    save_npz(tmp_path / "model.npz", tensors, prefix, compressed)
    _assert_same(tmp_path / "model.npz", expected)
    _assert_same(tmp_path, expected)
    assert describe(tmp_path).layout == "big_vision"
