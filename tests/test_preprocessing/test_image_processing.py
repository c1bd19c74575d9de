"""Preprocessing: every bit of transformers' Pillow backend."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
import transformers
from helpers.noise_images import noise_image
from PIL import Image

from numpy_siglip import ConfigError, ImageError, SiglipImageProcessor

SMALL = {"height": 24, "width": 20}
RANDOM = np.random.default_rng(0)


def _theirs(images, **options) -> np.ndarray:
    processor = transformers.SiglipImageProcessorPil(**{"size": SMALL, **options})
    return np.stack(processor(images)["pixel_values"])


def _assert_same_bits(images, **options) -> None:
    ours = SiglipImageProcessor(**{"size": SMALL, **options})(images)["pixel_values"]
    expected = _theirs(images, **options)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, expected)


MODES = ["RGB", "L", "LA", "P", "PA", "RGBA", "RGBX", "1", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(37, 29), (1, 50), (50, 1), (1, 1), (20, 24), (300, 7)])
def test_every_mode_and_size(mode, size):
    image = noise_image(mode, size)
    assert image.mode == mode
    _assert_same_bits([image])


@pytest.mark.parametrize("transparency", [0, 3, bytes(range(200))])
def test_palette_with_transparency(transparency):
    image = noise_image("P")
    image.info["transparency"] = transparency
    _assert_same_bits([image])


@pytest.mark.parametrize(("mode", "transparency"), [("RGB", (10, 20, 30)), ("L", 7), ("1", 0)])
def test_one_transparent_colour(mode, transparency):
    image = noise_image(mode)
    image.info["transparency"] = transparency
    _assert_same_bits([image])


def _through_a_file(image: Image.Image, kind: str, tmp_path, **options):
    path = tmp_path / f"image.{kind}"
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("png", "RGB", {}),
        ("png", "RGBA", {}),
        ("png", "LA", {}),
        ("png", "L", {}),
        ("png", "1", {}),
        ("png", "P", {}),
        ("png", "P", {"transparency": 5}),
        ("png", "RGB", {"transparency": (1, 2, 3)}),
        ("png", "I;16", {}),
        ("jpg", "RGB", {}),
        ("jpg", "L", {}),
        ("jpg", "CMYK", {}),
        ("webp", "RGB", {}),
        ("webp", "RGBA", {"lossless": True}),
        ("webp", "RGBA", {"quality": 40}),
        ("gif", "P", {}),
        ("gif", "P", {"transparency": 3}),
        ("tiff", "CMYK", {}),
        ("tiff", "F", {}),
        ("bmp", "RGB", {}),
    ],
)
def test_files_are_what_transformers_makes_of_them_opened(kind, mode, options, tmp_path):
    path = _through_a_file(noise_image(mode), kind, tmp_path, **options)
    ours = SiglipImageProcessor(size=SMALL)(path)["pixel_values"]
    with Image.open(path) as opened:
        np.testing.assert_array_equal(ours, _theirs([opened]))


def test_sixteen_bit_colour_png(tmp_path):
    """Pillow cannot write one, so its chunks are put together here."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = RANDOM.integers(0, 65536, (5, 7, 3)).astype(">u2")
    header = struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    with Image.open(path) as opened:
        expected = _theirs([opened])
    np.testing.assert_array_equal(SiglipImageProcessor(size=SMALL)(path)["pixel_values"], expected)


@pytest.mark.parametrize("resample", range(6))
def test_photographs_with_every_filter(photos, resample):
    opened = [Image.open(photo) for photo in photos]
    ours = SiglipImageProcessor(resample=resample)(photos)["pixel_values"]
    expected = _theirs(opened, size={"height": 224, "width": 224}, resample=resample)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"do_resize": False, "do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.27, 0.26, 0.28]},
        {"image_mean": 0.1, "image_std": 3},
        {"size": {"shortest_edge": 17}},
        {"size": {"shortest_edge": 90}},
        {"size": 33},
        {"size": {"height": 1, "width": 1}},
    ],
)
@pytest.mark.parametrize("size", [(37, 29), (29, 37), (40, 40)])
def test_options(options, size):
    _assert_same_bits([noise_image("RGB", size)], **options)


@pytest.mark.parametrize(
    "shape", [(5, 6, 3), (3, 5, 6), (5, 6, 1), (1, 5, 6), (5, 6, 4), (4, 5, 6), (3, 6, 3)]
)
@pytest.mark.parametrize("kind", ["uint8", "int64", "unit floats", "byte floats"])
def test_arrays_of_every_layout(shape, kind):
    array = RANDOM.integers(0, 256, shape)
    if kind == "unit floats":
        array = RANDOM.uniform(0, 1, shape).astype(np.float32)
    elif kind == "byte floats":
        if 4 in shape:  # transformers takes transparency only from 0 to 1, and so do we
            with pytest.raises(ImageError, match="between 0 and 1"):
                SiglipImageProcessor()(array.astype(np.float64))
            return
        array = array.astype(np.float64)
    else:
        array = array.astype(kind)
    before = array.copy()
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _assert_same_bits([array])
        _assert_same_bits([array], do_rescale=False)
    np.testing.assert_array_equal(array, before)


def test_grey_arrays_without_a_channel_axis():
    grey = RANDOM.integers(0, 256, (9, 11), dtype=np.uint8)
    processor = SiglipImageProcessor(size=SMALL)
    expected = processor(np.stack([grey] * 3))["pixel_values"]
    np.testing.assert_array_equal(processor(grey)["pixel_values"], expected)


def test_floats_that_will_be_rescaled_twice_are_warned_of():
    array = RANDOM.uniform(0, 1, (5, 6, 3))
    with pytest.warns(UserWarning, match="do_rescale=False"):
        SiglipImageProcessor()(array)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SiglipImageProcessor(do_rescale=False)(array)


def test_one_image_several_images_and_batches():
    processor = SiglipImageProcessor(size=SMALL)
    pixels = RANDOM.integers(0, 256, (3, 9, 11, 3), dtype=np.uint8)
    expected = processor(list(pixels))["pixel_values"]
    assert expected.shape == (3, 3, 24, 20)
    for images in (pixels, tuple(pixels), [Image.fromarray(p) for p in pixels], torch.from_numpy(pixels)):
        np.testing.assert_array_equal(processor(images=images)["pixel_values"], expected)
    np.testing.assert_array_equal(processor(pixels[0])["pixel_values"], expected[:1])


def test_nested_images_and_streams_are_flattened_as_by_transformers():
    images = [noise_image("RGB") for _ in range(4)]
    arrays = [np.asarray(image) for image in images]
    expected = _theirs(images)
    processor = SiglipImageProcessor(size=SMALL)
    for nested in ([[images[0], images[1]], images[2:]], [np.stack(arrays[:3]), arrays[3][None]]):
        np.testing.assert_array_equal(processor(nested)["pixel_values"], expected)
        np.testing.assert_array_equal(_theirs(nested), expected)
    np.testing.assert_array_equal(processor(image for image in images)["pixel_values"], expected)


def test_the_result_is_a_dictionary_with_attributes_as_in_transformers():
    image = noise_image("RGB")
    ours = SiglipImageProcessor(size=SMALL)(images=image, return_tensors="np")
    theirs = transformers.SiglipImageProcessorPil(size=SMALL)(images=image, return_tensors="np")
    np.testing.assert_array_equal(ours.pixel_values, theirs.pixel_values)
    assert ours.pixel_values is ours["pixel_values"]
    assert dict(**ours).keys() == dict(**theirs).keys()
    with pytest.raises(AttributeError, match="no 'input_ids'; it has pixel_values"):
        ours.input_ids  # noqa: B018
    assert not hasattr(ours, "input_ids")


def test_arrays_of_other_libraries_are_refused_with_the_step_to_take():
    with pytest.raises(ConfigError, match=r"torch\.from_numpy"):
        SiglipImageProcessor()(noise_image("RGB"), return_tensors="pt")
    with pytest.raises(ConfigError, match="return_tensors is 'jax'"):
        SiglipImageProcessor()(noise_image("RGB"), return_tensors="jax")


def test_pillow_images_that_cannot_be_converted_are_image_errors(photos, tmp_path):
    with pytest.raises(ImageError, match="from mode La"):
        SiglipImageProcessor()(Image.new("La", (4, 4)))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photos[0].read_bytes()[:3000])
    with Image.open(cut) as opened, pytest.raises(ImageError, match=r"cut\.jpg: .*truncated"):
        SiglipImageProcessor()(opened)


def test_a_ribbon_is_not_resized_to_terabytes():
    with pytest.raises(ImageError, match="too large to hold"):
        SiglipImageProcessor(size={"shortest_edge": 10_000})(Image.new("RGB", (20_000, 1)))


@pytest.mark.parametrize(
    "extreme", [{"rescale_factor": 1e38}, {"image_mean": 3e38, "image_std": 0.1}, {"image_std": 1e-45}]
)
def test_settings_that_overflow_are_refused_before_an_image_comes(extreme):
    with pytest.raises(ConfigError, match="make numbers of pixels that float32 cannot hold"):
        SiglipImageProcessor(size=SMALL, **extreme)


def test_an_image_given_by_pillow_is_left_alone():
    image = noise_image("P")
    before = (image.mode, image.tobytes(), dict(image.info))
    SiglipImageProcessor()(image)
    assert (image.mode, image.tobytes(), dict(image.info)) == before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    """By default as transformers treats an opened image; upright only on demand."""
    transpositions = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = noise_image("RGB")
    exif = image.getexif()
    exif[0x0112] = orientation
    path = _through_a_file(image, "png", tmp_path, exif=exif)
    upright = image.transpose(transpositions[orientation]) if orientation > 1 else image
    processor = SiglipImageProcessor(size=SMALL)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(processor(path)["pixel_values"], _theirs([opened]))
    expected = processor(upright)["pixel_values"]
    with Image.open(path) as opened:
        for given in (path, opened):
            turned = processor(given, apply_exif_orientation=True)["pixel_values"]
            np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "not an image"),
        (5, "expected"),
        (object(), "not an image"),
        ({"pixel": 1}, "not an image"),
        (np.zeros((2, 3), object), "not an image"),
        (np.zeros((2, 3), complex), "not an image"),
        (np.zeros((2, 3), bool), "not an image"),
        (np.zeros((0, 5, 3), np.uint8), "not an image"),
        (np.zeros((5, 6, 2), np.uint8), r"shape \(5, 6, 2\)"),
        (np.zeros((2, 2, 2, 5, 3), np.uint8), "shape"),
        (np.full((5, 6, 3), 256), "values from 256 to 256"),
        (np.full((5, 6, 3), -1), "values from -1"),
        (np.full((5, 6, 3), 1.5), "values from 1.5"),
        (np.full((5, 6, 3), np.nan), "values from nan"),
        (np.full((5, 6, 3), np.inf), "values from inf"),
        (b"bytes", "given as 5 bytes: not an image in a format that Pillow reads"),
        (io.BytesIO(b"bytes"), "PIL.Image.open"),
        ("https://example.org/photo.jpg", "URL"),
        ("missing.jpg", "missing.jpg: no such file"),
    ],
)
def test_what_is_no_image_raises_image_error(image, message):
    for images in (image, [image], [np.zeros((4, 4, 3), np.uint8), image]):
        with pytest.raises(ImageError, match=message):
            SiglipImageProcessor(size=SMALL)(images)


def test_no_images_raise_image_error():
    for images in ([], (), [[]], iter([]), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(ImageError, match="no images"):
            SiglipImageProcessor()(images)


def test_results_of_different_shapes_are_no_batch():
    images = [noise_image("RGB", (20, 30)), noise_image("RGB", (30, 20))]
    with pytest.raises(ImageError, match=r"different shapes \(\(3, 10, 15\), \(3, 15, 10\)\)"):
        SiglipImageProcessor(size={"shortest_edge": 10})([images[0], images[1]])


@pytest.mark.parametrize("image", [noise_image("L"), noise_image("RGBA"), np.zeros((4, 4, 1), np.uint8)])
def test_without_conversion_only_rgb_is_taken(image):
    with pytest.raises(ImageError, match="do_convert_rgb is off"):
        SiglipImageProcessor(do_convert_rgb=False)(image)
    _assert_same_bits([noise_image("RGB")], do_convert_rgb=False)
