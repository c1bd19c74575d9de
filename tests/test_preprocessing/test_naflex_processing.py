"""Preprocessing for NaFlex: every bit of transformers' Pillow backend."""

from __future__ import annotations

import json

import numpy as np
import pytest
import transformers
from PIL import Image
from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches

from numpy_siglip import ConfigError, ImageError, Siglip2ImageProcessor, SiglipImageProcessor
from numpy_siglip.preprocessing.naflex_processing import fit_to_patches

RANDOM = np.random.default_rng(0)


def _theirs(images, **options) -> dict[str, np.ndarray]:
    processor = transformers.Siglip2ImageProcessorPil(**options)
    # The published files have a null do_convert_rgb, on which transformers 5.23 fails for all but RGB.
    return dict(processor(images, do_convert_rgb=True, return_tensors="np"))


def _assert_same_bits(images, **options) -> None:
    ours = Siglip2ImageProcessor(**options)(images)
    expected = _theirs([Image.open(i) if not hasattr(i, "mode") else i for i in images], **options)
    assert ours.keys() == expected.keys()
    for name, array in ours.items():
        assert array.dtype == expected[name].dtype, name
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def _noise(mode: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    if mode == "I;16":
        return Image.fromarray(RANDOM.integers(0, 65536, (height, width), dtype=np.uint16))
    image = Image.fromarray(RANDOM.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


SIZES = [(37, 29), (1, 1), (1, 500), (500, 1), (16, 16), (17, 15), (800, 100), (100, 800), (3000, 2000)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("max_num_patches", [1, 64, 256, 1024])
def test_every_size(size, max_num_patches):
    _assert_same_bits([_noise("RGB", size)], max_num_patches=max_num_patches)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK", "I;16"])
def test_every_mode(mode):
    _assert_same_bits([_noise(mode, (37, 29)), _noise(mode, (1, 300))])


@pytest.mark.parametrize(
    "options",
    [
        {"patch_size": 7},
        {"patch_size": 14, "max_num_patches": 100},
        {"resample": 3},
        {"do_rescale": False},
        {"do_normalize": False},
        {"rescale_factor": 0.01, "image_mean": (0.1, 0.2, 0.3), "image_std": (0.4, 0.5, 0.6)},
    ],
)
def test_every_setting(options, photos):
    _assert_same_bits(photos, **options)


def test_images_that_need_no_resize():
    images = [_noise("RGB", (64, 32)), _noise("RGB", (16, 240))]
    _assert_same_bits(images, do_resize=False, max_num_patches=20)
    processor = Siglip2ImageProcessor(do_resize=False, max_num_patches=20)
    for size in [(64, 30), (16 * 21, 16), (8, 8)]:
        with pytest.raises(
            ImageError, match=rf"{size[0]} x {size[1]} pixels.*at most 20 patches of 16 pixels"
        ):
            processor(_noise("RGB", size))


def test_arrays_of_bytes_and_of_floats():
    array = RANDOM.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        Siglip2ImageProcessor()(array).pixel_values, _theirs([array])["pixel_values"]
    )
    floats = (array / 255).astype(np.float32)
    np.testing.assert_array_equal(
        Siglip2ImageProcessor(do_rescale=False)(floats).pixel_values,
        _theirs([floats], do_rescale=False)["pixel_values"],
    )


def test_sizes_are_those_of_transformers():
    """The bisection stops early, so that the last bit of the scale may decide over a row of patches."""
    for height, width in [*RANDOM.integers(1, 3000, (400, 2)).tolist(), (1, 100_000), (10**6, 3)]:
        for patch_size, most in ((16, 256), (16, 1024), (14, 64), (3, 7)):
            expected = get_image_size_for_max_num_patches(height, width, patch_size, most)
            assert fit_to_patches(height, width, patch_size, most) == expected
            assert expected[0] * expected[1] <= most * patch_size**2


def test_the_budget_of_one_call():
    image, processor = _noise("RGB", (300, 200)), Siglip2ImageProcessor()
    for name, array in processor(image, max_num_patches=64).items():
        np.testing.assert_array_equal(array, Siglip2ImageProcessor(max_num_patches=64)(image)[name])
    for impossible in (0, -1, 2.5, "64", 10**9, True):
        with pytest.raises(ConfigError, match=r"^max_num_patches is .*positive integer"):
            processor(image, max_num_patches=impossible)


def test_bad_images_raise_image_error(tmp_path):
    processor = Siglip2ImageProcessor()
    with pytest.raises(ImageError, match="no images"):
        processor([])
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        processor(["missing.jpg"])
    with pytest.raises(ConfigError, match="return_tensors is 'pt'"):
        processor(_noise("RGB", (4, 4)), return_tensors="pt")
    with pytest.raises(ImageError, match="do_convert_rgb is off"):
        Siglip2ImageProcessor(do_convert_rgb=False)(_noise("L", (4, 4)))


# ------------------------------------------------------------------------------------ configuration


def test_what_transformers_saves_is_read(tmp_path):
    options = {"patch_size": 14, "max_num_patches": 100, "resample": 3, "image_mean": (0.1, 0.2, 0.3)}
    transformers.Siglip2ImageProcessorPil(**options).save_pretrained(tmp_path)
    ours = Siglip2ImageProcessor.from_pretrained(tmp_path)
    assert ours == Siglip2ImageProcessor(**options)
    theirs = transformers.Siglip2ImageProcessorPil.from_dict(ours.to_dict())
    image = _noise("RGB", (50, 20))
    for name, array in ours(image).items():
        np.testing.assert_array_equal(array, theirs(image, return_tensors="np")[name])


def test_defaults_are_those_of_transformers():
    theirs = transformers.Siglip2ImageProcessorPil().to_dict()
    for name, value in Siglip2ImageProcessor().to_dict().items():
        if name != "do_convert_rgb":  # theirs is unset, and fails on images that are not RGB
            assert value == (tuple(theirs[name]) if isinstance(value, tuple) else theirs[name]), name


def test_each_processor_names_the_other_for_its_files(tmp_path):
    transformers.Siglip2ImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json: .*use Siglip2ImageProcessor"):
        SiglipImageProcessor.from_pretrained(tmp_path)
    transformers.SiglipImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json: .*use SiglipImageProcessor"):
        Siglip2ImageProcessor.from_pretrained(tmp_path)


def test_published_settings_are_read():
    """Those of the hub, whose class may have the ending of transformers' other variant."""
    for ending in ("", "Fast"):
        values = {
            "do_convert_rgb": None,
            "image_processor_type": f"Siglip2ImageProcessor{ending}",
            "max_num_patches": 256,
            "patch_size": 16,
            "size": None,
            "resample": 2,
        }
        assert Siglip2ImageProcessor.from_dict(values) == Siglip2ImageProcessor()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"patch_size": 0}, "patch_size"),
        ({"patch_size": 16.0}, "patch_size"),
        ({"patch_size": 10**6}, "patch_size"),
        ({"max_num_patches": 0}, "max_num_patches"),
        ({"max_num_patches": "256"}, "max_num_patches"),
        ({"max_num_patches": 10**400}, "max_num_patches"),
        ({"max_num_patches": 5, "patch_size": 2**14}, "max_num_patches"),
        ({"resample": 9}, "resample"),
        ({"image_std": 0}, "image_std"),
        ({"do_pad": True}, "do_pad"),
    ],
)
def test_impossible_values_name_their_field(values, field, tmp_path):
    with pytest.raises(ConfigError, match=f"^{field}"):
        Siglip2ImageProcessor.from_dict(values)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=rf"preprocessor_config\.json: {field}"):
        Siglip2ImageProcessor.from_pretrained(tmp_path)
