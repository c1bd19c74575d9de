"""A model without its preprocessing, or with damaged files beside it: what is inferred, told and refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import transformers
from helpers.layout_writers import timm_tensors
from helpers.published_model import save

from numpy_siglip import (
    PUBLISHED_CHECKPOINTS,
    ConfigError,
    Embedder,
    SiglipImageProcessor,
    SiglipTokenizer,
    SiglipVisionConfig,
)
from numpy_siglip.checkpoints.description.family_preprocessing import (
    RESAMPLE_OF_TYPES,
    SHAPES_OF_SECOND,
    infer_preprocessing,
)
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.commands.command_line import main
from numpy_siglip.tools.inspection import format_report, inspect_model


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

    # modernvbert is in the table of processors alone, with that of Idefics 3
    name = {"modernvbert": "idefics3"}.get(model_type, model_type)
    processor = getattr(transformers, IMAGE_PROCESSOR_MAPPING_NAMES[name]["pil"])
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
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ConfigError, match=r"no config\.json; .* or pass context_length"):
        SiglipTokenizer.from_pretrained(tmp_path)
    assert SiglipTokenizer.from_pretrained(tmp_path, context_length=9).context_length == 9
