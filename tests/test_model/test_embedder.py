from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from comparison import assert_close
from PIL import Image

from numpy_siglip import CheckpointError, Embedder, ImageError, SiglipVisionConfig, SiglipVisionModel
from numpy_siglip.embedder import in_batches, normalize_rows


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
    assert_close(normalize_rows(raw), normalized, relative=1e-6)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.1


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


def test_a_stream_is_read_one_batch_at_a_time(embedder, photos):
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

    counting.config = model.config
    with pytest.raises(RuntimeError, match="third"):
        Embedder(counting, embedder.processor).embed_images(stream(), batch_size=1)
    assert calls == [1, 2]


def test_errors_name_the_image(embedder, photos, tmp_path):
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        embedder.embed_images([photos[0], tmp_path / "missing.jpg"])
    with pytest.raises(ImageError, match="batch_size is 0"):
        embedder.embed_images(photos, batch_size=0)


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


def test_in_batches_cuts_any_length():
    assert [len(batch) for batch in in_batches(range(7), 3)] == [3, 3, 1]
    assert list(in_batches([], 3)) == []
