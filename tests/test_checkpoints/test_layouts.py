"""Every layout in which SigLIP is published gives what the same weights give in that of transformers."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from helpers.layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from helpers.published_model import (
    HEADS,
    HEADS_OF_BOTH,
    TEXT_HEADS,
    Published,
    assert_same_outputs,
    logits,
    outputs,
    save,
)
from helpers.toy_models import TOY, realistic_weights

from numpy_siglip import Embedder, SiglipVisionConfig
from numpy_siglip.checkpoints.checkpoint import Checkpoint
from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.checkpoints.layouts.recognition import as_transformers

# As wide as a base model, so that the number of heads is known; else as small as can be.
WIDE = {**TOY, "hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 50}


@pytest.fixture(scope="module", params=["toy", "wide"])
def published(request, tmp_path_factory):
    return Published(tmp_path_factory.mktemp(request.param), {"toy": TOY, "wide": WIDE}[request.param])


def _assert_same_tensors(location, state):
    tensors = as_transformers(open_checkpoint(location))
    assert set(tensors) == set(state)
    for name, expected in state.items():
        assert tensors[name].shape == expected.shape, name
        np.testing.assert_array_equal(tensors.tensor(name), expected, err_msg=name)
        assert tensors.tensor(name).flags.c_contiguous
        if expected.ndim == 2:
            np.testing.assert_array_equal(tensors.rows(name, np.array([[1, 0]])), expected[[[1, 0]]])


# -------------------------------------------------------------------- the same outputs, bit for bit


def test_timm(published, tmp_path):
    config = None if published.heads == 12 else HEADS
    folder = save(tmp_path / "m", timm_tensors(published.vision_state), config)
    assert open_model(folder).layout == "timm"
    _assert_same_tensors(folder, part(published.state, "vision_model.", keep=True))
    assert_same_outputs(folder, published)


def test_open_clip(published, tmp_path):
    tensors = open_clip_tensors(published.state)
    folder = save(tmp_path / "m", tensors, HEADS_OF_BOTH, name="open_clip_model.safetensors")
    if published.heads == 12:
        (folder / "config.json").write_text(json.dumps({"text_config": HEADS_OF_BOTH["text_config"]}))
    assert open_model(folder).layout == "open_clip"
    _assert_same_tensors(folder, published.state)
    assert_same_outputs(folder, published)
    np.testing.assert_array_equal(logits(folder), published.logits)


@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize("stacked", [False, True])
def test_big_vision(stacked, prefix, published, tmp_path):
    tensors = flax_tensors(published.state, published.heads, TEXT_HEADS, stacked=stacked)
    save_npz(tmp_path / "model.npz", tensors, prefix)
    assert open_model(tmp_path).layout == "big_vision"
    _assert_same_tensors(tmp_path, published.state)
    assert_same_outputs(tmp_path / "model.npz", published)  # the file alone: kernels tell the heads
    np.testing.assert_array_equal(logits(tmp_path), published.logits)


@pytest.mark.parametrize("prefix", ["", "params/", "img/", "params/img/"])
def test_big_vision_tower_alone(prefix, toy, tmp_path):
    save_npz(tmp_path / "m.npz", flax_tensors(toy.vision_state, 3), prefix)
    _assert_same_tensors(tmp_path, part(toy.state, "vision_model.", keep=True))
    assert_same_outputs(tmp_path, toy)


@pytest.mark.parametrize("stacked", [False, True])
def test_compressed_archive(stacked, toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS, stacked=stacked)
    save_npz(tmp_path / "m.npz", tensors, compressed=True)
    _assert_same_tensors(tmp_path, toy.state)
    assert_same_outputs(tmp_path, toy)


def test_archive_in_fortran_order(toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS, stacked=True)
    tensors = {name: np.asfortranarray(value) for name, value in tensors.items()}
    save_npz(tmp_path / "m.npz", tensors)
    with np.load(tmp_path / "m.npz") as archive:
        assert archive["txt/head/kernel"].flags.f_contiguous
    _assert_same_tensors(tmp_path, toy.state)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_narrow_archive(dtype, toy, tmp_path):
    """NumPy has no bfloat16 and writes it as two bytes without a meaning."""
    narrow = {name: value.astype(dtype) for name, value in toy.state.items()}
    save_npz(tmp_path / "m.npz", flax_tensors(narrow, 3, TEXT_HEADS), "params/")
    with np.load(tmp_path / "m.npz") as archive:
        assert archive["params/t"].dtype.kind == ("V" if dtype == ml_dtypes.bfloat16 else "f")
    _assert_same_tensors(tmp_path, {name: value.astype(np.float32) for name, value in narrow.items()})


@pytest.mark.parametrize("home", ["Transformer/pos_embedding", "Transformer/posembed_input/pos_embedding"])
def test_old_archive_with_positions_inside_the_encoder_and_the_head_beside_it(home, toy, tmp_path):
    tensors = flax_tensors(toy.vision_state, 3)
    tensors[home] = tensors.pop("pos_embedding")
    tensors = {name.removeprefix("MAPHead_0/"): value for name, value in tensors.items()}
    save_npz(tmp_path / "m.npz", tensors, "params/img/")
    _assert_same_tensors(tmp_path, part(toy.state, "vision_model.", keep=True))


def test_positions_of_text_that_were_learned_twice_are_summed(toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS)
    again = np.random.default_rng(5).standard_normal(tensors["txt/pos_embedding"].shape).astype(np.float32)
    tensors["txt/Encoder_0/pos_embedding"] = again
    save_npz(tmp_path / "m.npz", tensors)
    name = "text_model.embeddings.position_embedding.weight"
    _assert_same_tensors(tmp_path, toy.state | {name: toy.state[name] + again[0]})


def test_a_text_tower_without_a_head_gets_one_that_changes_nothing(toy, tmp_path):
    width = len(toy.state["text_model.final_layer_norm.bias"])
    changes_nothing = {
        "text_model.head.weight": np.eye(width, dtype=np.float32),
        "text_model.head.bias": np.zeros(width, np.float32),
    }
    flax = flax_tensors(toy.state, 3, TEXT_HEADS)
    save_npz(tmp_path / "m.npz", {name: value for name, value in flax.items() if "txt/head" not in name})
    _assert_same_tensors(tmp_path / "m.npz", toy.state | changes_nothing)
    tensors = open_clip_tensors(toy.state)
    tensors = {name: value for name, value in tensors.items() if "text_projection" not in name}
    _assert_same_tensors(save(tmp_path / "m", tensors), toy.state | changes_nothing)


def test_a_tower_in_an_archive_of_paligemma(toy, tmp_path):
    """No pooling head, a map into the language model, the language model, and all in bfloat16."""
    state = {
        name: value.astype(ml_dtypes.bfloat16)
        for name, value in toy.vision_state.items()
        if not name.startswith("head.")
    }
    tensors = {f"img/{name}": value for name, value in flax_tensors(state, 3).items()}
    others = {
        "img/head/kernel": np.ones((33, 8), ml_dtypes.bfloat16),
        "img/head/bias": np.ones(8, ml_dtypes.bfloat16),
        "llm/embedder/input_embedding": np.ones((4, 8), ml_dtypes.bfloat16),
    }
    save_npz(tmp_path / "m.npz", tensors | others, "params/")
    wide = {f"vision_model.{name}": value.astype(np.float32) for name, value in state.items()}
    _assert_same_tensors(tmp_path, wide)
    tokens, pooled = outputs(tmp_path)
    assert pooled is None
    folder = save(tmp_path / "same", wide, SiglipVisionConfig(**TOY, vision_use_head=False).to_dict())
    np.testing.assert_array_equal(tokens, outputs(folder)[0])


def test_the_state_of_an_optimizer_is_left_alone(toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS)
    state = {f"opt/0/mu/{name}": value for name, value in tensors.items()}
    save_npz(tmp_path / "m.npz", state | {f"params/{name}": value for name, value in tensors.items()})
    _assert_same_tensors(tmp_path, toy.state)


@pytest.mark.parametrize("prefix", ["vision.", "model.vision.", "model.visual.trunk."])
def test_timm_names_inside_larger_models(prefix, toy, tmp_path):
    """DeepSeek-VL2 has such names, and says little about its tower."""
    tensors = {prefix + name: value for name, value in timm_tensors(toy.vision_state).items()}
    tensors["language.model.embed_tokens.weight"] = np.ones((2, 2), np.float32)
    vision = {"model_name": "siglip_so400m_patch14_384", "model_type": "vision", "width": 33}
    config = {"model_type": "deepseek_vl_v2", "vision_config": {**vision, "num_attention_heads": 3}}
    assert_same_outputs(save(tmp_path / "m", tensors, config), toy)


def test_a_tower_of_timm_without_a_pooling_head(toy, tmp_path):
    """timm's siglip_gap models, with a classifier or without."""
    state = {name: value for name, value in toy.vision_state.items() if not name.startswith("head.")}
    classifier = {"head.weight": np.ones((5, 33), np.float32), "head.bias": np.ones(5, np.float32)}
    folder = save(tmp_path / "m", timm_tensors(state) | classifier, HEADS)
    assert outputs(folder)[1] is None
    np.testing.assert_array_equal(outputs(folder)[0], toy.outputs[0])


def test_another_text_tower_beside_a_tower_of_open_clip(toy, tmp_path):
    """NLLB-SigLIP: the vision tower loads, and the text tower is of another kind."""
    tensors = {name: value for name, value in open_clip_tensors(toy.state).items() if "text." not in name}
    tensors["text.transformer.layers.0.fc1.weight"] = np.ones((2, 2), np.float32)
    assert_same_outputs(save(tmp_path / "m", tensors, HEADS), toy)


@pytest.mark.parametrize("writer", ["timm", "flax"])
def test_naflex(writer, tmp_path):
    """Patches are cut before a linear map, whose features lie in the order row, column, channel."""
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    from numpy_siglip import Siglip2VisionModel as Ours

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
    theirs = Siglip2VisionModel(Siglip2VisionConfig(**sizes, num_patches=16, patch_size=4))
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    state = realistic_weights(shapes)
    theirs.load_state_dict({name: _tensor(value) for name, value in state.items()})
    theirs.save_pretrained(tmp_path / "theirs")
    if writer == "timm":
        save(tmp_path / "ours", timm_tensors(state, naflex=True), HEADS)
    else:
        (tmp_path / "ours").mkdir()
        save_npz(tmp_path / "ours" / "m.npz", flax_tensors(state, 3), "params/img/")
    generator = np.random.default_rng(0)
    inputs = {
        "pixel_values": generator.uniform(-1, 1, (1, 6, 48)).astype(np.float32),
        "pixel_attention_mask": np.ones((1, 6), np.int64),
        "spatial_shapes": np.array([[2, 3]]),
    }
    _assert_same_tensors(tmp_path / "ours", {f"vision_model.{name}": value for name, value in state.items()})
    actual, expected = (Ours.from_pretrained(tmp_path / name)(**inputs) for name in ("ours", "theirs"))
    np.testing.assert_array_equal(actual.last_hidden_state, expected.last_hidden_state)
    np.testing.assert_array_equal(actual.pooler_output, expected.pooler_output)


def _tensor(array):
    import torch

    return torch.from_numpy(array)


# ------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("layout", ["open_clip", "big_vision"])
def test_a_vision_tower_is_loaded_without_reading_the_text_tower(layout, toy, tmp_path, monkeypatch):
    read = []
    stored_entry = Checkpoint.stored_entry

    def watched(self, entry):
        read.append(entry.name)
        return stored_entry(self, entry)

    monkeypatch.setattr(Checkpoint, "stored_entry", watched)
    if layout == "open_clip":
        folder = save(tmp_path / "m", open_clip_tensors(toy.state), HEADS_OF_BOTH)
    else:
        folder = tmp_path
        save_npz(folder / "m.npz", flax_tensors(toy.state, 3, TEXT_HEADS, stacked=True), "params/")
    Embedder.from_pretrained(folder)
    assert not [name for name in read if name.startswith(("text.", "params/txt/"))]
    assert [name for name in read if name.startswith(("visual.", "params/img/"))]


def test_float32_of_an_archive_is_a_view_of_the_file_where_it_lies_aligned(toy, tmp_path):
    save_npz(tmp_path / "m.npz", {"x": np.arange(16, dtype=np.float32)})
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint["x"].packed_in is None
    assert not checkpoint.stored("x").flags.owndata
    np.testing.assert_array_equal(checkpoint.tensor("x"), np.arange(16))
