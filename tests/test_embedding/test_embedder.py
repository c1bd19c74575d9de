from __future__ import annotations

import dataclasses
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, save_image_processor, transformers_vision_model
from PIL import Image
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Embedder,
    ImageError,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from numpy_siglip.common.batches import in_batches
from numpy_siglip.embedding.text_embedder import TextEmbedder
from numpy_siglip.kernels.rows.l2_normalize import l2_normalize_reference


@pytest.fixture(scope="module")
def embedder(toy_folder):
    return Embedder.from_pretrained(toy_folder)


def test_photographs_give_the_embeddings_of_transformers(embedder, toy_model, toy_folder, photos):
    """The whole way from a file to an embedding, each side with its own preprocessing."""
    processor = transformers.SiglipImageProcessorPil.from_pretrained(toy_folder)
    inputs = processor([Image.open(photo) for photo in photos], return_tensors="pt")
    with torch.no_grad():
        expected = toy_model(**inputs).pooler_output.numpy()
    assert_close(embedder.embed_images(photos, normalize=False), expected, relative=1e-5)


def test_rows_have_length_one_unless_asked_otherwise(embedder, photos):
    normalized = embedder.embed_images(photos)
    np.testing.assert_allclose(np.linalg.norm(normalized, axis=1), 1, rtol=1e-6)
    raw = embedder.embed_images(photos, normalize=False)
    assert_close(l2_normalize_reference(raw), normalized, relative=1e-6)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.1


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30, 1e38])
def test_lengths_neither_overflow_nor_vanish(scale):
    rows = np.array([[0.5, -2, 1], [0, 0, 0]], np.float32)
    scaled = l2_normalize_reference(rows * np.float32(scale))
    assert scaled.dtype == np.float32
    assert_close(scaled, l2_normalize_reference(rows), relative=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_batches_change_nothing_but_rounding(embedder, photos, batch_size):
    expected = embedder.embed_images(photos, batch_size=2)
    assert_close(embedder.embed_images(photos, batch_size=batch_size), expected, relative=1e-5)


def test_everything_that_is_an_image_is_taken(embedder, photos):
    path = photos[0]
    opened = Image.open(path)
    pixels = np.asarray(opened)
    expected = embedder.embed_images([path])
    for images in (path, str(path), opened, pixels, [opened], (path,), pixels[None], (p for p in [pixels])):
        np.testing.assert_array_equal(embedder.embed_images(images), expected)


def test_no_images_give_no_rows(embedder):
    assert embedder.embed_images([]).shape == (0, 33)
    assert embedder.embed_images(iter(())).dtype == np.float32


def test_a_stream_is_read_no_farther_than_one_batch_ahead(embedder, photos):
    taken = []

    def stream():
        for photo in photos:
            taken.append(photo)
            if len(taken) == 3:
                raise RuntimeError("the third image was asked for")
            yield photo

    model = embedder.model
    calls = []

    def counting(pixel_values):
        calls.append(len(taken))
        return model(pixel_values)

    counting.config, counting.ops = model.config, model.ops
    with pytest.raises(RuntimeError, match="third"):
        Embedder(counting, embedder.processor).embed_images(stream(), batch_size=1)
    assert calls == [2, 3]


def test_errors_name_the_image(embedder, photos, tmp_path):
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        embedder.embed_images([photos[0], tmp_path / "missing.jpg"])


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "8", None, True, 10**30])
def test_impossible_batch_sizes_are_named(batch_size, embedder, photos):
    with pytest.raises(ConfigError, match=r"batch_size is .*; it must be a positive integer"):
        embedder.embed_images(photos, batch_size=batch_size)


@pytest.mark.parametrize("images", [None, 5, object()])
def test_what_is_no_image_is_an_image_error(images, embedder):
    with pytest.raises(ImageError):
        embedder.embed_images(images)


@pytest.fixture
def broken(toy_folder, tmp_path):
    """The toy model with one tensor replaced by a constant."""

    def make(name: str, value: float):
        folder = shutil.copytree(toy_folder, tmp_path / "broken")
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, name: np.full_like(tensors[name], value)}, folder / "model.safetensors")
        return folder

    return make


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_weights_that_give_no_finite_embedding_are_an_error_and_no_warning(value, broken, photos):
    folder = broken("post_layernorm.weight", value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError, match=rf"^{folder}: the results are not finite, so the check"):
            Embedder.from_pretrained(folder).embed_images(photos)


def test_pixels_that_are_not_finite_are_not_the_checkpoints_fault(embedder):
    with pytest.raises(ImageError, match="pixel_values holds NaN or infinite numbers"):
        embedder.embed_inputs({"pixel_values": np.full((1, 3, 44, 44), np.nan, np.float32)})


@pytest.mark.parametrize("size", [{"height": 32, "width": 32}, {"height": 44, "width": 60}])
def test_preprocessing_of_another_size_is_told_when_the_model_is_loaded(size, toy_folder, tmp_path, embedder):
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    message = f"a size of {size['height']} x {size['width']} pixels, but image_size is 44"
    with pytest.raises(ConfigError, match=message) as caught:
        Embedder.from_pretrained(folder)
    assert str(folder / "preprocessor_config.json") in str(caught.value)
    assert "config.json beside it" in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        Embedder(embedder.model, SiglipImageProcessor(size=size))


def test_a_tower_of_one_channel_is_told_when_the_model_is_loaded(tmp_path):
    transformers_vision_model(**{**TOY, "num_channels": 1}).save_pretrained(tmp_path)
    save_image_processor(tmp_path, 44)
    with pytest.raises(ConfigError, match="preprocessed to 3 channels, but num_channels is 1"):
        Embedder.from_pretrained(tmp_path)


def test_an_unknown_backend_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="unknown backend 'abacus'"):
        Embedder.from_pretrained(tmp_path, backend="abacus")


def test_exif_orientation_is_an_option(embedder, photos, tmp_path):
    upright = Image.open(photos[0])
    exif = upright.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise to be upright
    turned = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    expected = embedder.embed_images(upright)
    np.testing.assert_array_equal(embedder.embed_images(turned, apply_exif_orientation=True), expected)
    assert np.abs(embedder.embed_images(turned) - expected).max() > 1e-3


def test_a_tower_without_head_has_no_embedding(toy_folder, embedder):
    config = SiglipVisionConfig.from_dict({**embedder.model.config.to_dict(), "vision_use_head": False})
    model = SiglipVisionModel.from_pretrained(toy_folder, config=config)
    with pytest.raises(CheckpointError, match="no pooling head"):
        Embedder(model, embedder.processor)


def test_a_headless_checkpoint_is_named(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "headless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vision_use_head": False}))
    with pytest.raises(CheckpointError, match=rf"^{folder}: this tower has no pooling head"):
        Embedder.from_pretrained(folder)


def test_in_batches_cuts_any_length():
    assert [len(batch) for batch in in_batches(range(7), 3)] == [3, 3, 1]
    assert list(in_batches([], 3)) == []


# ------------------------------------------------------------------------------------------- NaFlex


def test_a_naflex_model_is_found_by_itself(naflex_folder, naflex_model, photos):
    embedder = Embedder.from_pretrained(naflex_folder)
    assert isinstance(embedder.model, Siglip2VisionModel)
    assert isinstance(embedder.processor, Siglip2ImageProcessor)
    inputs = transformers.Siglip2ImageProcessorPil.from_pretrained(naflex_folder)(
        [Image.open(photo) for photo in photos], return_tensors="pt"
    )
    with torch.no_grad():
        expected = naflex_model(**inputs).pooler_output.numpy()
    for batch_size in (1, 3, 8):
        embeddings = embedder.embed_images(photos, batch_size=batch_size, normalize=False)
        assert_close(embeddings, expected, relative=1e-5)
    assert_close(np.linalg.norm(embedder.embed_images(photos), axis=1), np.ones(4, np.float32), relative=1e-6)


def test_naflex_with_another_budget_of_patches(naflex_folder, photos):
    few = Embedder.from_pretrained(naflex_folder)
    many = Embedder(few.model, dataclasses.replace(few.processor, max_num_patches=100))
    assert not np.array_equal(few.embed_images(photos), many.embed_images(photos))


def test_files_of_two_kinds_do_not_fit_each_other(naflex_folder, toy_folder, tmp_path):
    for config, preprocessing, message in (
        (naflex_folder, toy_folder, "use SiglipImageProcessor"),
        (toy_folder, naflex_folder, "use Siglip2ImageProcessor"),
    ):
        folder = shutil.copytree(config, tmp_path / config.name)
        shutil.copy(preprocessing / "preprocessor_config.json", folder)
        with pytest.raises(ConfigError, match=rf"preprocessor_config\.json: .*{message}"):
            Embedder.from_pretrained(folder)
    naflex, fixed = Embedder.from_pretrained(naflex_folder), Embedder.from_pretrained(toy_folder)
    with pytest.raises(ConfigError, match="a NaFlex tower takes patches"):
        Embedder(naflex.model, fixed.processor)
    with pytest.raises(ConfigError, match="takes whole images"):
        Embedder(fixed.model, naflex.processor)
    with pytest.raises(ConfigError, match="patches of 16 pixels, but patch_size is 11"):
        Embedder(naflex.model, Siglip2ImageProcessor())


def test_rows_of_a_batch_are_those_of_its_images(pair_folder, photos):
    """However images come, nested or as an array of several: one row for one image, and no image twice."""
    embedder = Embedder.from_pretrained(pair_folder)
    pixels = np.random.default_rng(0).integers(256, size=(3, 9, 9, 3), dtype=np.uint8)
    for images, count in (
        ([[photos[0], photos[1]], photos[2]], 3),
        ([pixels, pixels], 6),
        ([[], photos[0]], 1),
        (photos[0], 1),
        (str(photos[0]), 1),
        ([], 0),
    ):
        batches = list(embedder.embed_batches(images, batch_size=2))
        assert all(len(embedded) == len(rows) for embedded, rows in batches)
        assert sum(len(rows) for _, rows in batches) == count
        assert embedder.embed_images(images).shape == (count, 33)


@pytest.mark.parametrize("first", [0, 1])
def test_a_picture_beside_an_array_of_several_is_refused(first, pair_folder, photos):
    """Rows could not be told apart by the entries of the list."""
    images = [photos[0], np.zeros((3, 9, 9, 3), np.uint8)]
    with pytest.raises(ImageError, match=r"entry 1 is (one image|an array of several images), and"):
        Embedder.from_pretrained(pair_folder).embed_images(images if first == 0 else images[::-1])


def test_one_bad_image_of_several_is_left_out_alone(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    left_out = {}
    images = [[photos[0], "no.jpg", photos[1]], photos[2]]
    ((embedded, rows),) = embedder.embed_batches(images, on_error=left_out.__setitem__)
    assert embedded == [photos[0], photos[1], photos[2]]
    np.testing.assert_array_equal(rows, embedder.embed_images(embedded))
    assert list(left_out) == ["no.jpg"]
    assert str(left_out["no.jpg"]).startswith("no.jpg: ")


@pytest.mark.parametrize("whole", [True, False])
def test_a_configuration_may_be_given(whole, pair_folder, naflex_pair_folder, photos):
    for folder, kind in ((pair_folder, SiglipConfig), (naflex_pair_folder, Siglip2Config)):
        config = kind.from_pretrained(folder)
        vision, text = (config, config) if whole else (config.vision_config, config.text_config)
        embedder = Embedder.from_pretrained(folder, config=vision)
        expected = Embedder.from_pretrained(folder)
        np.testing.assert_array_equal(embedder.embed_images(photos), expected.embed_images(photos))
        texts = TextEmbedder.from_pretrained(folder, config=text)
        np.testing.assert_array_equal(texts.embed_texts(["a cat"]), expected.embed_texts(["a cat"]))
    with pytest.raises(ConfigError, match="it must be a SiglipVisionConfig or Siglip2VisionConfig, which"):
        Embedder.from_pretrained(pair_folder, config={"hidden_size": 33})
