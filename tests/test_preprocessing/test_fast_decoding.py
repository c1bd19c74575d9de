"""JPEG files decoded at a fraction of their size, for those who ask for it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from numpy_siglip import ConfigError, Embedder, ImageError, Siglip2ImageProcessor, SiglipImageProcessor
from numpy_siglip.commands.command_line import main
from numpy_siglip.preprocessing.images import load_image, read_image


def _write(path, size, mode="RGB", **options):
    """A picture with structure of every width."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    channels = [np.sin(40 * x * y), np.cos(9 * x), np.sin(5 * y + 3 * x)]
    pixels = (np.stack(channels, axis=-1) * 100 + 128).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((4000, 3000), (224, 224), (1000, 750)),
        ((1792, 1792), (224, 224), (448, 448)),  # exactly twice
        ((1790, 1790), (224, 224), (895, 895)),
        ((895, 4000), (224, 224), (895, 4000)),  # the short side decides
        ((640, 427), (384, 384), (640, 427)),
        ((8000, 600), (30, 30), (1000, 75)),  # an eighth is the least
    ],
)
def test_no_side_becomes_less_than_twice_what_is_needed(size, target, expected, tmp_path):
    file = _write(tmp_path / "a.jpg", size)
    assert read_image(file, lambda height, width: target).size == expected
    assert read_image(file).size == size
    assert read_image(file, lambda height, width: None).size == size


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_modes_stay_what_they_are(mode, tmp_path):
    file = _write(tmp_path / "a.jpg", (800, 800), mode)
    image = read_image(file, lambda height, width: (100, 100))
    assert (image.mode, image.size) == (mode, (200, 200))


def test_other_formats_are_decoded_as_ever(tmp_path, toy_folder):
    embedder = Embedder.from_pretrained(toy_folder)
    files = [_write(tmp_path / f"a.{suffix}", (900, 700)) for suffix in ("png", "webp", "gif", "bmp")]
    np.testing.assert_array_equal(embedder.embed_images(files, decode="fast"), embedder.embed_images(files))


def test_embeddings_of_photographs_stay_close(photos):
    """On a model that was trained: measured, the least similar of the four has a cosine of 0.9990."""
    embedder = Embedder.from_pretrained("emoji")
    exact, fast = embedder.embed_images(photos), embedder.embed_images(photos, decode="fast")
    cosines = (exact * fast).sum(axis=1)
    assert cosines.min() > 0.998
    assert (exact != fast).any()
    alone = np.concatenate([embedder.embed_images([photo], decode="fast") for photo in photos])
    np.testing.assert_array_equal(alone, fast)


def test_an_image_that_is_turned_keeps_enough_of_both_sides(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = _write(tmp_path / "a.jpg", (1600, 1000), exif=exif)
    processor = SiglipImageProcessor(size={"height": 300, "width": 50})
    image = read_image(file, processor.size_after_resizing)
    assert min(image.size) >= 600
    embedder = Embedder.from_pretrained("emoji")
    exact, fast = (
        embedder.embed_images([file], apply_exif_orientation=True, decode=decode)
        for decode in ("exact", "fast")
    )
    assert (exact * fast).sum() > 0.998
    assert (exact * embedder.embed_images([file], decode="fast")).sum() < 0.998  # lying on its side


def test_sizes_that_processors_resize_to(tmp_path):
    for processor in (
        SiglipImageProcessor(size={"height": 32, "width": 48}),
        SiglipImageProcessor(size={"shortest_edge": 40}),
        Siglip2ImageProcessor(patch_size=16, max_num_patches=64),
    ):
        height, width = processor.size_after_resizing(300, 500)
        resized = processor(load_image(_write(tmp_path / "a.png", (500, 300))))
        if "spatial_shapes" in resized:
            assert (resized["spatial_shapes"][0] * 16).tolist() == [height, width]
        else:
            assert resized["pixel_values"].shape[2:] == (height, width)
    assert SiglipImageProcessor(do_resize=False).size_after_resizing(3, 4) is None
    assert Siglip2ImageProcessor(do_resize=False).size_after_resizing(3, 4) is None


def test_a_damaged_file_is_still_an_error(tmp_path, toy_folder):
    file = _write(tmp_path / "a.jpg", (900, 900))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.jpg"):
        Embedder.from_pretrained(toy_folder).embed_images([file], decode="fast")


def test_other_words_are_refused(toy_folder, photos):
    embedder = Embedder.from_pretrained(toy_folder)
    with pytest.raises(ConfigError, match="decode is 'quick'; it must be 'exact' or 'fast'"):
        embedder.embed_images(photos, decode="quick")


def test_the_option_of_the_command_line(toy_folder, tmp_path):
    file = _write(tmp_path / "a.jpg", (900, 700))
    rows = {}
    for decode in ("exact", "fast"):
        output = tmp_path / f"{decode}.npy"
        command = ["embed", str(file), "--model", str(toy_folder), "--output", str(output), "--quiet"]
        assert main([*command, "--decode", decode]) == 0
        rows[decode] = np.load(output)
    assert (rows["exact"] != rows["fast"]).any()
    np.testing.assert_array_equal(
        rows["fast"],
        Embedder.from_pretrained(toy_folder).embed_images([file], normalize=False, decode="fast"),
    )
