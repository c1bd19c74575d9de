"""Every layout in which SigLIP is published gives what the same weights give in that of transformers."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from helpers.layout_writers import flax_tensors, open_clip_tensors, part, save_npz, timm_tensors
from helpers.toy_models import TOY, TOY_TEXT, realistic_weights, transformers_full_model
from safetensors.numpy import save_file

from numpy_siglip import Embedder, SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel
from numpy_siglip.checkpoints.checkpoint import Checkpoint
from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.checkpoints.layouts.recognition import present
from numpy_siglip.tools.inspection import format_report, inspect_model
from numpy_siglip.tools.validate.validation import validate_model

# As wide as a base model, so that the number of heads is known; else as small as can be.
WIDE = {**TOY, "hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 50}
TEXT_HEADS = TOY_TEXT["num_attention_heads"]
HEADS = {"vision_config": {"num_attention_heads": 3}}
HEADS_OF_BOTH = {**HEADS, "text_config": {"num_attention_heads": TEXT_HEADS}}
PIXELS = np.random.default_rng(2).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)


class Published:
    """One model as transformers writes it: its state, its folder and what it computes."""

    def __init__(self, folder, config):
        text = {**TOY_TEXT, "projection_size": config["hidden_size"]}
        model = transformers_full_model(text_config=text, **config)
        self.heads = config["num_attention_heads"]
        state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        self.state = {name: value for name, value in state.items() if not name.endswith("position_ids")}
        model.save_pretrained(folder)
        self.folder = folder
        self.outputs = _outputs(folder)
        self.logits = _logits(folder)

    @property
    def vision_state(self):
        return part(self.state, "vision_model.")


@pytest.fixture(scope="module", params=["toy", "wide"])
def published(request, tmp_path_factory):
    return Published(tmp_path_factory.mktemp(request.param), {"toy": TOY, "wide": WIDE}[request.param])


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("toy"), TOY)


def _outputs(model):
    output = SiglipVisionModel.from_pretrained(model)(PIXELS)
    return output.last_hidden_state, output.pooler_output


def _logits(model):
    """Of the whole model, both towers and the scalars."""
    ids = np.random.default_rng(3).integers(0, 100, (3, 9))
    return SiglipModel.from_pretrained(model)(ids, PIXELS).logits_per_image


def _assert_same_outputs(model, published):
    for actual, expected in zip(_outputs(model), published.outputs, strict=True):
        np.testing.assert_array_equal(actual, expected)


def _assert_same_tensors(location, state):
    tensors = present(open_checkpoint(location))
    assert set(tensors) == set(state)
    for name, expected in state.items():
        assert tensors[name].shape == expected.shape, name
        np.testing.assert_array_equal(tensors.tensor(name), expected, err_msg=name)
        assert tensors.tensor(name).flags.c_contiguous
        tensors.release(name)
        if expected.ndim == 2:
            np.testing.assert_array_equal(tensors.rows(name, np.array([[1, 0]])), expected[[[1, 0]]])


def save(folder, tensors, config=None, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


# -------------------------------------------------------------------- the same outputs, bit for bit


def test_timm(published, tmp_path):
    config = None if published.heads == 12 else HEADS
    folder = save(tmp_path / "m", timm_tensors(published.vision_state), config)
    assert open_model(folder).layout == "timm"
    _assert_same_tensors(folder, part(published.state, "vision_model.", keep=True))
    _assert_same_outputs(folder, published)


def test_open_clip(published, tmp_path):
    tensors = open_clip_tensors(published.state)
    folder = save(tmp_path / "m", tensors, HEADS_OF_BOTH, name="open_clip_model.safetensors")
    if published.heads == 12:
        (folder / "config.json").write_text(json.dumps({"text_config": HEADS_OF_BOTH["text_config"]}))
    assert open_model(folder).layout == "open_clip"
    _assert_same_tensors(folder, published.state)
    _assert_same_outputs(folder, published)
    np.testing.assert_array_equal(_logits(folder), published.logits)


@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize("stacked", [False, True])
def test_big_vision(stacked, prefix, published, tmp_path):
    tensors = flax_tensors(published.state, published.heads, TEXT_HEADS, stacked=stacked)
    save_npz(tmp_path / "model.npz", tensors, prefix)
    assert open_model(tmp_path).layout == "big_vision"
    _assert_same_tensors(tmp_path, published.state)
    _assert_same_outputs(tmp_path / "model.npz", published)  # the file alone: kernels tell the heads
    np.testing.assert_array_equal(_logits(tmp_path), published.logits)


@pytest.mark.parametrize("prefix", ["", "params/", "img/", "params/img/"])
def test_big_vision_tower_alone(prefix, toy, tmp_path):
    save_npz(tmp_path / "m.npz", flax_tensors(toy.vision_state, 3), prefix)
    _assert_same_tensors(tmp_path, part(toy.state, "vision_model.", keep=True))
    _assert_same_outputs(tmp_path, toy)


@pytest.mark.parametrize("stacked", [False, True])
def test_compressed_archive(stacked, toy, tmp_path):
    tensors = flax_tensors(toy.state, 3, TEXT_HEADS, stacked=stacked)
    save_npz(tmp_path / "m.npz", tensors, compressed=True)
    _assert_same_tensors(tmp_path, toy.state)
    _assert_same_outputs(tmp_path, toy)


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
    tokens, pooled = _outputs(tmp_path)
    assert pooled is None
    folder = save(tmp_path / "same", wide, SiglipVisionConfig(**TOY, vision_use_head=False).to_dict())
    np.testing.assert_array_equal(tokens, _outputs(folder)[0])


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
    _assert_same_outputs(save(tmp_path / "m", tensors, config), toy)


def test_a_tower_of_timm_without_a_pooling_head(toy, tmp_path):
    """timm's siglip_gap models, with a classifier or without."""
    state = {name: value for name, value in toy.vision_state.items() if not name.startswith("head.")}
    classifier = {"head.weight": np.ones((5, 33), np.float32), "head.bias": np.ones(5, np.float32)}
    folder = save(tmp_path / "m", timm_tensors(state) | classifier, HEADS)
    assert _outputs(folder)[1] is None
    np.testing.assert_array_equal(_outputs(folder)[0], toy.outputs[0])


def test_another_text_tower_beside_a_tower_of_open_clip(toy, tmp_path):
    """NLLB-SigLIP: the vision tower loads, and the text tower is of another kind."""
    tensors = {name: value for name, value in open_clip_tensors(toy.state).items() if "text." not in name}
    tensors["text.transformer.layers.0.fc1.weight"] = np.ones((2, 2), np.float32)
    _assert_same_outputs(save(tmp_path / "m", tensors, HEADS), toy)


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


# -------------------------------------------------------------------------- what is read, and what is told


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
    assert checkpoint["x"].packed_in == ""
    assert not checkpoint.stored("x").flags.owndata
    np.testing.assert_array_equal(checkpoint.tensor("x"), np.arange(16))


def test_what_is_inferred_is_told(toy, tmp_path):
    save_npz(tmp_path / "webli_en_b16.npz", flax_tensors(toy.state, 3, TEXT_HEADS))
    description = open_model(tmp_path)
    assert description.inferred == (
        "vision hidden_act gelu_pytorch_tanh, with which every SigLIP was trained",
        "image_size 44, from 4 x 4 positions of patches of 11",
        "text hidden_act gelu_pytorch_tanh, with which every SigLIP was trained",
        "preprocessing of SigLIP: resample 3 (bicubic), image_mean and image_std 0.5",
    )
    # the rest is what transformers wrote, whose ids of tokens are defaults in both
    assert SiglipConfig.from_pretrained(tmp_path) == SiglipConfig.from_pretrained(toy.folder)


@pytest.mark.parametrize(("size", "heads"), [("base", 12), ("large", 16), ("so400m", 16), ("giant-opt", 16)])
def test_published_sizes_are_told_from_shapes(size, heads, tmp_path):
    """No numbers are read for this, so none are written: the file is one hole."""
    from numpy_siglip.tools.published import _SIZES
    from numpy_siglip.weights.vision_weights import vision_tensor_shapes

    sizes = {**_SIZES[size], "num_hidden_layers": 2}
    config = SiglipVisionConfig(**sizes, patch_size=14, image_size=384)
    state = {
        name: np.broadcast_to(np.float32(0), shape) for name, shape in vision_tensor_shapes(config).items()
    }
    _write_hole(tmp_path / "model.safetensors", timm_tensors(state))
    assert SiglipVisionConfig.from_pretrained(tmp_path) == config
    assert config.num_attention_heads == heads


def _write_hole(file, tensors):
    header, end = {}, 0
    for name, value in tensors.items():
        size = 4 * value.size
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)


def test_timm_settings(toy, tmp_path):
    """A config.json as timm writes it."""
    config = {
        "architecture": "vit_base_patch16_siglip_224",
        "num_classes": 0,
        "model_args": {"img_size": [44, 44], "num_heads": 3, "act_layer": "gelu"},
        "pretrained_cfg": {
            "tag": "v2_webli",
            "input_size": [3, 44, 44],
            "interpolation": "bicubic",
            "mean": [0.25, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    folder = save(tmp_path / "m", timm_tensors(toy.vision_state), config)
    assert SiglipVisionConfig.from_pretrained(folder) == SiglipVisionConfig(**TOY, hidden_act="gelu")
    processor = Embedder.from_pretrained(folder).processor
    assert (processor.resample, processor.image_mean) == (2, (0.25, 0.5, 0.5))  # the tag is SigLIP 2's
    assert open_model(folder).inferred == ("preprocessing of SigLIP 2: resample 2 (bilinear)",)


def test_open_clip_settings(toy, tmp_path):
    """An open_clip_config.json as open_clip writes it, and a config.json of Marqo, which names it."""
    config = {
        "model_cfg": {
            "vision_cfg": {"image_size": 44, "timm_model_name": "vit_base_patch16_siglip_224"},
            "text_cfg": {
                "heads": 2,
                "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
                "norm_kwargs": {"eps": 1e-5},
                "act_kwargs": {"approximate": "tanh"},
            },
        },
        "preprocess_cfg": {
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }
    named = {"model_type": "siglip", "open_clip_model_name": "hf-hub:Marqo/toy", "num_attention_heads": 3}
    folder = save(tmp_path / "m", open_clip_tensors(toy.state), named)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    values = open_model(folder).config.values
    assert values["text_config"]["num_attention_heads"] == 2
    assert values["text_config"]["layer_norm_eps"] == 1e-5
    assert Embedder.from_pretrained(folder).processor.resample == 3  # as its settings say
    assert open_model(folder).inferred == (
        "vision hidden_act gelu_pytorch_tanh, with which every SigLIP was trained",
    )


@pytest.mark.parametrize(
    ("name", "vocabulary", "resample"),
    [("webli_en_b16_224.npz", 32, 3), ("siglip2_b16_224.npz", 32, 2), ("m.npz", 256000, 2)],
)
def test_preprocessing_is_that_of_the_family(name, vocabulary, resample, toy, tmp_path, photos):
    table = "text_model.embeddings.token_embedding.weight"
    state = toy.state | {table: np.zeros((vocabulary, 26), np.float32)}
    save_npz(tmp_path / name, flax_tensors(state, 3, TEXT_HEADS))
    embedder = Embedder.from_pretrained(tmp_path / name)
    assert embedder.processor.resample == resample
    assert embedder.processor.size == {"height": 44, "width": 44}
    assert embedder.embed_images(photos[:1]).shape == (1, 33)


@pytest.mark.parametrize("layout", ["open_clip", "big_vision"])
def test_validate_and_inspect(layout, toy, tmp_path, photos):
    """The same tensors and the same inferred preprocessing go to transformers' own model."""
    if layout == "open_clip":
        location = save(tmp_path / "m", open_clip_tensors(toy.state), HEADS_OF_BOTH)
        stored = "visual.trunk.blocks.1.attn.qkv.weight[33:66]"
    else:
        location = tmp_path / "siglip2.npz"
        save_npz(location, flax_tensors(toy.state, 3, TEXT_HEADS, stacked=True))
        stored = "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/key/kernel[1]"
    validation = validate_model(location, photos[:1])
    assert validation.first_divergence is None
    assert validation.stages[0].stage == "pixel_values"
    report = inspect_model(location)
    assert report["layout"] == layout
    assert "preprocessing of SigLIP" in report["inferred"][-1]
    places = {tensor["name"]: tensor["stored_as"] for tensor in report["tensors"]}
    assert places["encoder.layers.1.self_attn.k_proj.weight"] == stored
    printed = format_report(report)
    assert f"in the layout of {layout}\n" in printed
    assert f", as {stored}" in printed


def test_a_whole_config_beside_other_weights_is_believed(toy, tmp_path):
    folder = save(tmp_path / "m", timm_tensors(toy.vision_state), SiglipVisionConfig(**TOY).to_dict())
    _assert_same_outputs(folder, toy)
    assert Embedder.from_pretrained(folder).processor.size == {"height": 44, "width": 44}
    given = SiglipVisionConfig(**TOY, hidden_act="gelu")
    (folder / "config.json").unlink()
    assert SiglipVisionModel.from_pretrained(folder, config=given).config == given


@pytest.mark.hub
@pytest.mark.parametrize(
    ("repository", "same"),
    [
        ("timm/vit_base_patch16_siglip_224.webli", "google/siglip-base-patch16-224"),
        ("timm/ViT-B-16-SigLIP", "google/siglip-base-patch16-224"),
        ("timm/ViT-B-16-SigLIP2-256", "google/siglip2-base-patch16-256"),
    ],
)
def test_published_twins(repository, same):
    """The same weights in another layout; not their preprocessing, in which open_clip's SigLIP 2 differs."""
    models = [SiglipVisionModel.from_pretrained(name) for name in (repository, same)]
    side = models[0].config.image_size
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    first, second = (model(pixels).pooler_output for model in models)
    np.testing.assert_array_equal(first, second)
