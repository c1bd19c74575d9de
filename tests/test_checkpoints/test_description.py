"""What a checkpoint says of its model, and what is inferred where it says nothing."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import transformers
from helpers.layout_writers import flax_tensors, open_clip_tensors, save_npz, timm_tensors
from helpers.published_model import HEADS, HEADS_OF_BOTH, TEXT_HEADS, assert_same_outputs, save
from helpers.toy_models import TOY

from numpy_siglip import (
    PUBLISHED_CHECKPOINTS,
    ConfigError,
    Embedder,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipTokenizer,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from numpy_siglip.checkpoints.description.family_preprocessing import (
    RESAMPLE_OF_TYPES,
    SHAPES_OF_SECOND,
    infer_preprocessing,
)
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.commands.command_line import main
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


def _without_preprocessing(folder, target):
    return shutil.copytree(folder, target, ignore=shutil.ignore_patterns("preprocessor_config.json"))


@pytest.mark.parametrize("kind", ["pair", "naflex_pair"])
def test_a_folder_of_transformers_without_preprocessing_gets_that_of_its_family(
    kind, pair_folder, naflex_pair_folder, photos, tmp_path
):
    whole = {"pair": pair_folder, "naflex_pair": naflex_pair_folder}[kind]
    folder = _without_preprocessing(whole, tmp_path / "m")
    files = open_model(folder)
    family = "SigLIP: resample 3 (bicubic)" if kind == "pair" else "SigLIP 2: resample 2 (bilinear)"
    assert files.inferred == (f"preprocessing of {family}, image_mean and image_std 0.5",)
    expected, actual = Embedder.from_pretrained(whole), Embedder.from_pretrained(files)
    np.testing.assert_array_equal(
        actual.embed_inputs(actual.processor(photos)),
        expected.embed_inputs(
            expected.processor(photos, **({"max_num_patches": 256} if kind == "naflex_pair" else {}))
        ),
    )
    assert list(inspect_model(folder)["inferred"]) == list(files.inferred)
    assert f"  preprocessing of {family}" in format_report(inspect_model(folder))


def test_the_command_line_says_in_one_line_what_was_inferred(pair_folder, photos, tmp_path, capfd):
    folder = _without_preprocessing(pair_folder, tmp_path / "m")
    arguments = ["embed", str(photos[0]), "--model", str(folder), "--output", str(tmp_path / "a.npy")]
    assert main(arguments) == 0
    line = "numpy-siglip: inferred, since no file says it: preprocessing of SigLIP: resample 3 (bicubic), "
    assert [told for told in capfd.readouterr().err.splitlines() if "inferred" in told] == [
        f"{line}image_mean and image_std 0.5"
    ]
    assert main([*arguments, "--quiet"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("preprocessor_config.json", "{", "not valid JSON"),
        ("preprocessor_config.json", "[1]", "holds a list"),
        ("processor_config.json", '{"image_processor": []}', "holds no image_processor"),
        ("processor_config.json", '{"image_processor": "x"}', "holds no image_processor"),
        ("processor_config.json", '{"image_processor": {"size": "large"}}', "size is 'large'"),
    ],
)
def test_damaged_preprocessing_is_not_replaced_by_the_familys(file, content, message, pair_folder, tmp_path):
    folder = _without_preprocessing(pair_folder, tmp_path / "m")
    (folder / file).write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Embedder.from_pretrained(folder)
    assert str(caught.value).startswith(str(folder / file))


def test_a_processor_file_of_a_tokenizer_alone_says_nothing_of_images(pair_folder, tmp_path):
    folder = _without_preprocessing(pair_folder, tmp_path / "m")
    (folder / "processor_config.json").write_text('{"processor_class": "SiglipProcessor"}')
    assert "preprocessing of SigLIP" in open_model(folder).inferred[0]


@pytest.mark.parametrize(
    ("config", "names", "resample"),
    [
        ({"model_type": "siglip", "text_config": {"vocab_size": 32000}}, "", 3),
        ({"model_type": "siglip", "text_config": {"vocab_size": 256000}}, "", 2),
        ({"model_type": "siglip2"}, "", 2),
        ({"model_type": "siglip2_vision_model"}, "", 2),
        ({"model_type": "siglip_vision_model"}, "google/siglip2-base-patch16-224", 2),
        (
            {"model_type": "siglip_vision_model", "hidden_size": 1536, "patch_size": 16, "image_size": 384},
            "",
            2,
        ),
        (
            {"model_type": "siglip_vision_model", "hidden_size": 768, "patch_size": 16, "image_size": 384},
            "",
            3,
        ),
        ({"model_type": "gemma3", "vision_config": {"hidden_size": 1152}}, "", 2),
        ({"model_type": "smolvlm", "vision_config": {"hidden_size": 1152}}, "", 1),
        ({"model_type": "paligemma", "vision_config": {"hidden_size": 1152}}, "", 3),
        ({"vision_config": []}, "", 3),  # what is no mapping is told by who reads it
    ],
)
def test_the_family_is_told_by_type_vocabulary_names_and_shape(config, names, resample):
    assert infer_preprocessing(config, {}, names)[0]["resample"] == resample


def test_shapes_of_siglip_2_alone_are_those_that_were_published():
    shapes = {}
    for checkpoint in PUBLISHED_CHECKPOINTS:
        config = checkpoint.config
        if isinstance(config, SiglipVisionConfig):
            shape = (config.hidden_size, config.patch_size, config.image_size)
            shapes.setdefault(shape, set()).add(checkpoint.family)
    assert {shape for shape, families in shapes.items() if families == {"SigLIP 2"}} == SHAPES_OF_SECOND


@pytest.mark.parametrize("model_type", sorted(RESAMPLE_OF_TYPES))
def test_larger_models_resize_as_their_processors_in_transformers_do(model_type):
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    processor = getattr(transformers, IMAGE_PROCESSOR_MAPPING_NAMES[model_type]["pil"])
    assert int(processor.resample) == RESAMPLE_OF_TYPES[model_type]
    assert processor.image_mean == processor.image_std == [0.5, 0.5, 0.5]


def _with(folder, target, **config):
    """A copy without preprocessing, whose configuration has other values."""
    _without_preprocessing(folder, target)
    values = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**values, **config}))
    return target


def test_a_side_may_be_given_as_two(toy_folder, tmp_path):
    folder = _with(toy_folder, tmp_path / "m", image_size=[44, 44])
    assert SiglipImageProcessor.from_pretrained(folder).size == {"height": 44, "width": 44}
    assert inspect_model(folder)["inferred"]
    for size in ({"h": 44}, [44, 55], "44", []):
        folder = _with(toy_folder, tmp_path / str(size), image_size=size)
        with pytest.raises(ConfigError, match=r"config\.json: size"):
            SiglipImageProcessor.from_pretrained(folder)


@pytest.mark.parametrize(
    "values",
    [{"model_type": "siglip_text_model"}, {"model_type": "acme_vit"}, {"model_type": "siglip2_text_model"}],
)
def test_what_is_no_vision_tower_has_no_preprocessing_to_infer(values, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(
        ConfigError, match=r"no preprocessor_config\.json, and there is no vision tower of SigLIP"
    ):
        SiglipImageProcessor.from_pretrained(tmp_path)


def test_a_link_to_nothing_is_damage_and_not_an_absence(pair_folder, tmp_path):
    """As a download leaves it that was broken off: a guess in its place would be another model's."""
    for name in ("preprocessor_config.json", "config.json", "tokenizer_config.json"):
        folder = shutil.copytree(pair_folder, tmp_path / name.partition(".")[0])
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "nothing")
        with pytest.raises(
            ConfigError, match=rf"^{folder / name}: is a link to nothing; fetch the file again"
        ):
            Embedder.from_pretrained(folder).embed_texts(["a cat"])


def test_an_image_processor_says_what_the_configuration_lacks(toy, tmp_path):
    """The weights of timm are there, and only the number of their heads cannot be told."""
    folder = save(tmp_path / "m", timm_tensors(toy.vision_state))
    with pytest.raises(ConfigError, match="num_attention_heads of the vision tower cannot be told"):
        SiglipImageProcessor.from_pretrained(folder)


def test_an_empty_object_asks_for_the_defaults(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    (folder / "preprocessor_config.json").write_text("{}")
    assert SiglipImageProcessor.from_pretrained(folder) == SiglipImageProcessor()


def test_inspect_describes_a_model_whose_preprocessing_is_damaged(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    (folder / "preprocessor_config.json").write_text("{")
    report = inspect_model(folder)
    (problem,) = report["problems"]
    assert problem.startswith(f"{folder / 'preprocessor_config.json'}: not valid JSON")
    assert problem in format_report(report)
    assert inspect_model(toy_folder)["problems"] == []


def test_a_tokenizer_needs_no_weights(pair_folder, tmp_path):
    for name in ("spiece.model", "tokenizer_config.json"):
        shutil.copy(pair_folder / name, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_siglip_224"}))
    assert SiglipTokenizer.from_pretrained(tmp_path).context_length == 64
    (tmp_path / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no config\.json; .* or pass context_length"):
        SiglipTokenizer.from_pretrained(tmp_path)
    assert SiglipTokenizer.from_pretrained(tmp_path, context_length=9).context_length == 9


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
