"""Damaged image files, and whatever a program may take for an image: pixels, or an error of the package."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from helpers.fuzzing import fuzz, mutated_bytes
from PIL import Image

from numpy_siglip import Embedder, ImageError, Siglip2ImageProcessor, SiglipImageProcessor, load_image
from numpy_siglip.preprocessing.image_formats import readable_suffixes

CASES = [200, pytest.param(4000, marks=pytest.mark.slow)]
PROCESSOR = SiglipImageProcessor(size={"height": 32, "width": 32})
NAFLEX = Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
FORMATS = [".jpg", ".png", ".gif", ".webp", ".tif", ".bmp", ".ppm", ".avif", ".jp2", ".tga", ".qoi"]


@pytest.fixture(autouse=True)
def _warnings_of_pillow():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _content(photo, suffix, mode="RGB"):
    stream = io.BytesIO()
    with Image.open(photo) as picture:
        picture.resize((60, 45)).convert(mode).save(stream, Image.registered_extensions()[suffix])
    return stream.getvalue()


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files(suffix, cases, photos, tmp_path):
    if suffix not in readable_suffixes():
        pytest.skip("this Pillow does not read it")
    content = _content(photos[0], suffix)
    file = tmp_path / f"a{suffix}"

    def case(generator):
        damaged = mutated_bytes(generator, content, first=int(generator.choice([0, 0, 40])))
        file.write_bytes(damaged)
        image = load_image(file, apply_exif_orientation=bool(generator.integers(2)))
        assert np.isfinite(PROCESSOR(image)["pixel_values"]).all()
        PROCESSOR(damaged)

    case.__qualname__ = f"damaged {suffix}"
    count = fuzz(case, cases)
    assert count.refused > 0


@pytest.mark.parametrize("cases", CASES)
def test_blocks_of_exif(cases, photos, tmp_path):
    with Image.open(photos[0]) as picture:
        small = picture.resize((60, 45))
    block = Image.Exif()
    for tag, value in ((0x0112, 6), (0x010F, "maker"), (0x8769, {0x9000: b"0232"}), (0x011A, 72.0)):
        block[tag] = value
    content = block.tobytes()

    def case(generator):
        small.save(tmp_path / "a.jpg", exif=mutated_bytes(generator, content, first=6))
        size = load_image(tmp_path / "a.jpg", apply_exif_orientation=True).size
        assert size in ((60, 45), (45, 60))

    assert fuzz(case, cases).refused == 0  # whatever the block is, the picture is sound


_MODES = ("1", "L", "P", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "La")
_DTYPES = ("?", "i8", "u2", "f2", "c8", "O", "U3", "M8[s]", "V4")
_OBJECTS = (None, {}, [], "", b"", 3, object(), type, "no.jpg", [[]], {"a": 1}, 1j, ())


def _odd(generator):
    """Something that a program may hold, at random."""

    def shape(most_axes, longest):
        return generator.integers(0, longest, int(generator.integers(0, most_axes)))

    def one_of(values):
        return values[int(generator.integers(len(values)))]

    kinds = (
        lambda: generator.integers(0, 300, shape(6, 6)),
        lambda: generator.uniform(-2, 2, shape(5, 40)),
        lambda: np.full((9, 9, 3), one_of((np.nan, np.inf, -1, 256, 1e30))),
        lambda: np.zeros((int(generator.integers(0, 9)), 9, int(generator.integers(1, 6))), np.uint8),
        lambda: np.zeros((4, 4, 3), one_of(_DTYPES)),
        lambda: Image.new(one_of(_MODES), (int(generator.integers(0, 4)), 3)),
        lambda: one_of(_OBJECTS),
        lambda: memoryview(generator.bytes(9)),
        lambda: np.ma.masked_array(np.zeros((5, 5, 3), np.uint8), mask=generator.random((5, 5, 3)) > 0.9),
    )
    return one_of(kinds)()


@pytest.mark.parametrize("cases", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("processor", [PROCESSOR, NAFLEX], ids=["fixed", "naflex"])
def test_odd_objects(processor, cases):
    def case(generator):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="an image array holds floats from 0 to 1")
            images = _odd(generator)
            if generator.random() < 0.3:
                images = [images, _odd(generator)]
            assert np.isfinite(processor(images)["pixel_values"]).all()

    count = fuzz(case, cases)
    assert min(count) > 0


@pytest.mark.parametrize("cases", CASES)
def test_rows_are_as_many_as_are_told(cases, toy_folder, photos):
    """Of any list, rows and indices agree, and every entry is a row or an error."""
    embedder = Embedder.from_pretrained(toy_folder, backend="numpy")

    def case(generator):
        images = [photos[0] if generator.random() < 0.3 else _odd(generator) for _ in range(3)]
        images = [image for image in images if not isinstance(image, (list, tuple))]
        images = [image for image in images if getattr(image, "ndim", 3) not in (1, 4)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="an image array holds floats from 0 to 1")
            result = embedder.embed_images(images, on_error="skip", batch_size=2)
        assert len(result.rows) == len(result.indices)
        assert sorted([*result.indices, *result.errors]) == list(range(len(images)))
        assert all(isinstance(error, ImageError) for error in result.errors.values())

    fuzz(case, cases)
