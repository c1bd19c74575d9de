"""What messages advise, done: each test runs into an error, does what it says, and is answered."""

from __future__ import annotations

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from helpers.layout_writers import flax_tensors, open_clip_tensors, save_npz, timm_tensors
from helpers.published_model import HEADS, PIXELS, TEXT_HEADS, Published, save
from helpers.toy_models import TOY, save_image_processor, transformers_vision_model
from PIL import Image
from safetensors.numpy import load_file, save_file

import numpy_siglip
from numpy_siglip import (
    Embedder,
    Siglip2ImageProcessor,
    SiglipError,
    SiglipImageProcessor,
    SiglipTokenizer,
    SiglipVisionModel,
    convert_model,
    quantize_model,
)
from numpy_siglip.commands.command_line import main


def _advice(pattern: str, call, *arguments, **options) -> re.Match[str]:
    """What an error says, found by a pattern."""
    with pytest.raises(SiglipError) as caught:
        call(*arguments, **options)
    found = re.search(pattern, str(caught.value))
    assert found, str(caught.value)
    return found


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Published(tmp_path_factory.mktemp("advised"), TOY)


def _copy(folder, target, change=lambda values: None, name="config.json"):
    """A copy of a folder, with one of its files changed."""
    shutil.copytree(folder, target)
    values = json.loads((target / name).read_text())
    change(values)
    (target / name).write_text(json.dumps(values))
    return target


# ------------------------------------------------------------------------------------------ checkpoints


def test_the_number_of_heads_goes_into_a_config(toy, tmp_path):
    folder = save(tmp_path / "m", timm_tensors(toy.vision_state))
    found = _advice(
        r"put (\{.*\}) into a config\.json beside the weights", SiglipVisionModel.from_pretrained, folder
    )
    (folder / "config.json").write_text(found[1].replace("N", "3"))
    np.testing.assert_array_equal(SiglipVisionModel.from_pretrained(folder)(PIXELS)[0], toy.outputs[0])


def test_one_of_several_files_is_named(toy, tmp_path):
    folder = shutil.copytree(toy.folder, tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    shutil.copy(folder / "a.safetensors", folder / "b.safetensors")
    found = _advice(
        r"\((a\.safetensors), b\.safetensors\).*name one of them", SiglipVisionModel.from_pretrained, folder
    )
    np.testing.assert_array_equal(
        SiglipVisionModel.from_pretrained(folder / found[1])(PIXELS)[0], toy.outputs[0]
    )


def test_a_tower_without_head_is_told_by_its_configuration(toy, tmp_path):
    config = json.loads((toy.folder / "config.json").read_text())["vision_config"]
    tensors = {name: value for name, value in toy.vision_state.items() if not name.startswith("head.")}
    folder = save(tmp_path / "m", tensors, {**config, "model_type": "siglip_vision_model"})
    _advice("set vision_use_head to false in config.json", SiglipVisionModel.from_pretrained, folder)
    headless = _copy(folder, tmp_path / "n", lambda values: values.update(vision_use_head=False))
    save_image_processor(headless, 44)
    np.testing.assert_array_equal(SiglipVisionModel.from_pretrained(headless)(PIXELS)[0], toy.outputs[0])
    found = _advice(r"use (\w+) and its (last_hidden_state)", Embedder.from_pretrained, headless)
    output = getattr(numpy_siglip, found[1]).from_pretrained(headless)(PIXELS)
    np.testing.assert_array_equal(output[found[2]], toy.outputs[0])


def test_images_of_four_channels_go_in_as_pixel_values(tmp_path):
    transformers_vision_model(**{**TOY, "num_channels": 4}).save_pretrained(tmp_path)
    save_image_processor(tmp_path, 44)
    found = _advice(r"use (\w+) with pixel values of your own", Embedder.from_pretrained, tmp_path)
    pixels = np.concatenate([PIXELS, PIXELS[:, :1]], axis=1)
    assert getattr(numpy_siglip, found[1]).from_pretrained(tmp_path)(pixels).pooler_output.shape == (2, 33)


@pytest.mark.parametrize(
    ("kind", "tried", "advised"),
    [("naflex_pair_folder", "SiglipModel", "Siglip2Model"), ("pair_folder", "Siglip2Model", "SiglipModel")],
)
def test_the_class_of_the_other_family(kind, tried, advised, request):
    folder = request.getfixturevalue(kind)
    found = _advice(r"use (\w+)$", getattr(numpy_siglip, tried).from_pretrained, folder)
    assert found[1] == advised
    assert type(getattr(numpy_siglip, advised).from_pretrained(folder)).__name__ == advised


def test_a_whole_model_is_no_classifier(pair_folder, photos):
    call = numpy_siglip.SiglipForImageClassification.from_pretrained
    found = _advice(r"use (SiglipModel) or (Embedder\.classify)", call, pair_folder)
    assert getattr(numpy_siglip, found[1]).from_pretrained(pair_folder)
    assert len(Embedder.from_pretrained(pair_folder).classify(photos[0], ["a cat", "a dog"])) == 1


def test_a_classifier_is_not_converted_and_opens_in_transformers_and_in_int8(classifier_folder, tmp_path):
    import transformers

    found = _advice(
        r'transformers opens it as it is, with (\w+); dtype="(\w+)" quantises',
        convert_model,
        classifier_folder,
        tmp_path,
    )
    theirs = getattr(transformers, found[1]).from_pretrained(classifier_folder)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(PIXELS)).logits.numpy()
    ours = getattr(numpy_siglip, found[1]).from_pretrained(classifier_folder, dtype=found[2])(PIXELS).logits
    assert np.abs(ours - expected).max() < 0.2 * np.abs(expected).max()


def test_preprocessing_that_is_not_siglips_is_replaced_by_a_file(toy, tmp_path, photos):
    folder = save(
        tmp_path / "m", open_clip_tensors(toy.state), {**HEADS, "text_config": {"num_attention_heads": 2}}
    )
    settings = {"model_cfg": {}, "preprocess_cfg": {"resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    _advice(r"add a preprocessor_config\.json$", Embedder.from_pretrained, folder)
    save_image_processor(folder, 44)
    assert Embedder.from_pretrained(folder).embed_images(photos[:1]).shape == (1, 33)


def test_a_quantised_model_is_made_again_of_the_original(toy_folder, tmp_path):
    quantize_model(toy_folder, tmp_path / "int8")
    for call in (convert_model, quantize_model):
        _advice(
            "convert the model that it was made of|name the original", call, tmp_path / "int8", tmp_path / "n"
        )
    convert_model(toy_folder, tmp_path / "copy")
    quantize_model(toy_folder, tmp_path / "again")


def test_scales_that_are_damaged_come_back_by_quantising_again(toy_folder, tmp_path):
    quantize_model(toy_folder, tmp_path / "int8")
    file = next((tmp_path / "int8").glob("*.safetensors"))
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("_scale"))
    save_file({**tensors, name: tensors[name] * np.float32("nan")}, file)
    _advice("quantise the model again", SiglipVisionModel.from_pretrained, tmp_path / "int8")
    quantize_model(toy_folder, tmp_path / "again")
    assert SiglipVisionModel.from_pretrained(tmp_path / "again")


def test_weights_that_are_not_finite_stay_in_float32(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layers.0.mlp.fc1.weight"][0, 0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    found = _advice(r"leave (dtype) at (float32)$", SiglipVisionModel.from_pretrained, folder, dtype="int8")
    assert SiglipVisionModel.from_pretrained(folder, **{found[1]: found[2]})


def test_a_revision_of_what_is_here_is_left_out(toy_folder):
    _advice("leave 'main' out", SiglipVisionModel.from_pretrained, toy_folder, revision="main")
    assert SiglipVisionModel.from_pretrained(toy_folder)


def test_preprocessing_beside_a_text_tower_alone(pair_folder, tmp_path, photos):
    (tmp_path / "config.json").write_text('{"model_type": "siglip_text_model"}')
    _advice("construct an image processor", SiglipImageProcessor.from_pretrained, tmp_path)
    assert SiglipImageProcessor(size={"height": 44, "width": 44})(photos[0])


def test_archives_of_big_vision_take_the_same_configuration(toy, tmp_path):
    """The advice about heads is never needed where the tensors show them."""
    save_npz(tmp_path / "m.npz", flax_tensors(toy.state, 3, TEXT_HEADS))
    np.testing.assert_array_equal(
        SiglipVisionModel.from_pretrained(tmp_path / "m.npz")(PIXELS)[0], toy.outputs[0]
    )


# -------------------------------------------------------------------------------------- images and texts


def test_results_become_tensors_of_torch(photos):
    processor = SiglipImageProcessor()
    _advice(r"for torch, torch\.from_numpy of a result", processor, photos, return_tensors="pt")
    assert torch.from_numpy(processor(photos)["pixel_values"]).shape == (len(photos), 3, 224, 224)


def test_images_of_another_size(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    pixels = np.zeros((1, 3, 55, 44), np.float32)
    found = _advice(r"resize the image, or pass (interpolate_pos_encoding)=True", model, pixels)
    assert model(pixels, **{found[1]: True}).pooler_output.shape == (1, 33)


@pytest.mark.parametrize(
    ("kind", "advised"), [("naflex_folder", "Siglip2ImageProcessor"), ("toy_folder", "SiglipImageProcessor")]
)
def test_the_image_processor_of_the_other_family(kind, advised, request, photos):
    folder = request.getfixturevalue(kind)
    other = SiglipImageProcessor if advised == "Siglip2ImageProcessor" else Siglip2ImageProcessor
    found = _advice(r"use (\w+), or take the file", other.from_pretrained, folder)
    assert found[1] == advised
    assert getattr(numpy_siglip, found[1]).from_pretrained(folder)(photos[0])


def test_images_that_keep_their_aspect_make_no_batch(photos):
    processor = SiglipImageProcessor(size={"shortest_edge": 32})
    images = [np.zeros((40, 60, 3), np.uint8), np.zeros((60, 40, 3), np.uint8)]
    _advice("give them one at a time, or set size to a height and a width", processor, images)
    assert all(processor(image) for image in images)
    assert SiglipImageProcessor(size={"height": 32, "width": 32})(images)


def test_naflex_images_that_are_no_grid_are_resized():
    processor = Siglip2ImageProcessor(do_resize=False, patch_size=16)
    image = Image.new("RGB", (33, 40))
    _advice("resize it, or set do_resize to true", processor, image)
    assert Siglip2ImageProcessor(patch_size=16)(image)
    assert processor(image.resize((32, 48)))


def test_a_tokenizer_without_a_configuration_is_given_the_length(pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    (folder / "config.json").unlink()
    (folder / "tokenizer_config.json").unlink()  # which would tell, too
    found = _advice(r"or pass (context_length)$", SiglipTokenizer.from_pretrained, folder)
    assert SiglipTokenizer.from_pretrained(folder, **{found[1]: 16})("a cat")["input_ids"].shape[-1] == 16


# ------------------------------------------------------------------------------------------- the command


def test_without_numba_the_other_backend_answers(monkeypatch, toy_folder):
    for name in [name for name in sys.modules if name.startswith(("numba", "numpy_siglip.kernels.layers"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    found = _advice(
        r'pip install numba, or choose backend="(\w+)"', SiglipVisionModel.from_pretrained, toy_folder
    )
    assert SiglipVisionModel.from_pretrained(toy_folder, backend=found[1])


def test_labels_are_written_with_commas_between(pair_folder, photos, capfd):
    arguments = ["classify", str(photos[0]), "--model", str(pair_folder), "--labels"]
    assert main([*arguments, ","]) == 2
    found = re.search(r'write them with commas between: "(.*)"', capfd.readouterr().err)
    assert found
    assert main([*arguments, found[1]]) == 0


def test_a_text_file_in_another_encoding_is_converted(pair_folder, tmp_path, capfd):
    texts = tmp_path / "texts.txt"
    texts.write_bytes("eine Tür\n".encode("latin-1"))
    arguments = [
        "embed",
        "--text-file",
        str(texts),
        "--model",
        str(pair_folder),
        "--output",
        str(tmp_path / "t.npy"),
    ]
    assert main(arguments) == 2
    assert "not text in UTF-8; convert it" in capfd.readouterr().err
    texts.write_bytes(texts.read_bytes().decode("latin-1").encode("utf-8"))
    assert main(arguments) == 0


def test_a_model_for_photographs_is_named_as_it_is_published():
    """The advice of a command that nobody gave a model; whether the hub has it, its own test tells."""
    from numpy_siglip.checkpoints.bundled import NOTE
    from numpy_siglip.tools.published import PUBLISHED_CHECKPOINTS

    found = re.search(r"take --model (\S+),", NOTE)
    assert found
    assert found[1] in {model.repository for model in PUBLISHED_CHECKPOINTS}
