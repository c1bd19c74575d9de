"""What a checkpoint says of its model, and what is inferred where it says nothing."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
from helpers.layout_writers import flax_tensors, open_clip_tensors, save_npz, timm_tensors
from helpers.published_model import HEADS, HEADS_OF_BOTH, TEXT_HEADS, assert_same_outputs, save
from helpers.toy_models import TOY

from numpy_siglip import (
    Embedder,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.tools.inspection import format_report, inspect_model
from numpy_siglip.tools.validate.validation import validate_model


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
            "crop_pct": 0.9,
            "mean": [0.25, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    folder = save(tmp_path / "m", timm_tensors(toy.vision_state), config)
    assert SiglipVisionConfig.from_pretrained(folder) == SiglipVisionConfig(**TOY, hidden_act="gelu")
    processor = Embedder.from_pretrained(folder).processor
    assert (processor.resample, processor.image_mean) == (3, (0.25, 0.5, 0.5))  # as the file says
    files = open_model(folder)
    assert files.inferred == ()
    assert files.contradictions == (  # the tag is SigLIP 2's
        "vision hidden_act 'gelu', and every SigLIP was trained with gelu_pytorch_tanh",
        "resample 3 (bicubic), and SigLIP 2 was published with 2 (bilinear)",
        "image_mean [0.25, 0.5, 0.5], and SigLIP 2 was published with 0.5",
        "crop_pct 0.9, and SigLIP takes the whole image, as is done here",
    )
    report = format_report(inspect_model(folder))
    assert all(f"  {line}" in report.splitlines() for line in files.contradictions)


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
    assert_same_outputs(folder, toy)
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


@pytest.mark.parametrize("layout", ["timm", "open_clip", "big_vision", "transformers"])
def test_models_of_every_layout_can_be_sent_to_other_processes(layout, toy, photos, tmp_path):
    folder = tmp_path / "m"
    if layout == "transformers":
        shutil.copytree(toy.folder, folder)
    elif layout == "timm":
        save(folder, timm_tensors(toy.vision_state), HEADS)
    elif layout == "open_clip":
        save(folder, open_clip_tensors(toy.state), HEADS_OF_BOTH)
    else:
        folder.mkdir()
        save_npz(folder / "m.npz", flax_tensors(toy.state, 3, TEXT_HEADS))
    embedder = Embedder.from_pretrained(folder)
    assert embedder.files.layout == layout
    copy = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(copy.embed_images(photos), embedder.embed_images(photos))
    assert repr(copy.files) == f"ModelFiles({str(folder)!r})"
    if layout != "timm":
        model = SiglipModel.from_pretrained(embedder.files)
        ids = np.array([[5, 6, 1]])
        expected = model.get_text_features(ids).pooler_output
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(model)).get_text_features(ids).pooler_output, expected
        )
