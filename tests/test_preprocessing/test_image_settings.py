"""Settings of preprocessing: what files say, what transformers takes for given, and bad values."""

from __future__ import annotations

import json

import numpy as np
import pytest
import transformers
from helpers.noise_images import noise_image
from PIL import Image

from numpy_siglip import ConfigError, SiglipImageProcessor

SMALL = {"height": 24, "width": 20}


def test_what_transformers_saves_is_read(tmp_path):
    options = {
        "size": {"height": 30, "width": 40},
        "resample": 2,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
        "rescale_factor": 0.01,
        "do_normalize": False,
    }
    transformers.SiglipImageProcessorPil(**options).save_pretrained(tmp_path)
    ours = SiglipImageProcessor.from_pretrained(tmp_path)
    assert ours == SiglipImageProcessor(**options)
    assert ours == SiglipImageProcessor.from_pretrained(tmp_path / "preprocessor_config.json")
    theirs = transformers.SiglipImageProcessorPil.from_dict(ours.to_dict())
    image = noise_image("RGB")
    np.testing.assert_array_equal(ours(image)["pixel_values"], np.stack(theirs([image])["pixel_values"]))


def test_processor_config_with_an_image_processor_inside(tmp_path):
    values = {"processor_class": "SiglipProcessor", "image_processor": {"size": {"height": 8, "width": 8}}}
    (tmp_path / "processor_config.json").write_text(json.dumps(values))
    assert SiglipImageProcessor.from_pretrained(tmp_path).size == {"height": 8, "width": 8}
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "SiglipProcessor"}))
    with pytest.raises(ConfigError, match=r"processor_config\.json: holds no image_processor"):
        SiglipImageProcessor.from_pretrained(tmp_path)


def test_null_means_the_default_and_always_converts():
    """The published SigLIP 2 files have a null do_convert_rgb, on which transformers 5.23 fails."""
    processor = SiglipImageProcessor.from_dict({"do_convert_rgb": None, "size": SMALL, "crop_size": None})
    image = noise_image("LA")
    theirs = transformers.SiglipImageProcessorPil(size=SMALL, do_convert_rgb=True)
    expected = np.stack(theirs([image])["pixel_values"])
    np.testing.assert_array_equal(processor(image)["pixel_values"], expected)


def test_defaults_are_those_of_transformers():
    theirs = transformers.SiglipImageProcessorPil().to_dict()
    for name, value in SiglipImageProcessor().to_dict().items():
        if name in ("image_mean", "image_std"):
            assert list(value) == list(theirs[name])
        else:
            assert value == theirs[name], name


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": {"height": 224}}, "size"),
        ({"size": {"height": 224, "width": -1}}, "size"),
        ({"size": {"height": 224.0, "width": 224}}, "size"),
        ({"size": {"longest_edge": 224}}, "size"),
        ({"size": "224"}, "size"),
        ({"size": True}, "size"),
        ({"resample": 6}, "resample"),
        ({"resample": "bicubic"}, "resample"),
        ({"resample": True}, "resample"),
        ({"resample": 3.0}, "resample"),
        ({"resample": [3]}, "resample"),
        ({"do_resize": "yes"}, "do_resize"),
        ({"do_convert_rgb": 1}, "do_convert_rgb"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"rescale_factor": float("nan")}, "rescale_factor"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_mean": "half"}, "image_mean"),
        ({"image_mean": [0.5, 0.5, None]}, "image_mean"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std"),
        ({"image_std": 0}, "image_std"),
        ({"image_std": float("inf")}, "image_std"),
        ({"do_center_crop": True}, "do_center_crop"),
        ({"do_pad": True}, "do_pad"),
        ({"size": {"height": 10**6, "width": 4}}, "size"),
        ({"size": {"height": 10**30, "width": 4}}, "size"),
        ({"size": 10**400}, "size"),
        ({"image_mean": [10**400, 1, 1]}, "image_mean"),
        ({"image_mean": 1e300}, "image_mean"),
        ({"image_std": 1e-60}, "image_std"),
        ({"rescale_factor": 10**400}, "rescale_factor"),
    ],
)
def test_impossible_values_name_their_field(values, field, tmp_path):
    with pytest.raises(ConfigError, match=f"^{field}"):
        SiglipImageProcessor.from_dict(values)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=rf"preprocessor_config\.json: {field}"):
        SiglipImageProcessor.from_pretrained(tmp_path)


def test_numbers_of_pillow_and_numpy_are_taken():
    ours = SiglipImageProcessor(
        resample=Image.Resampling.BICUBIC,
        size={"height": np.int64(24), "width": np.int32(20)},
        image_mean=np.full(3, 0.5),
        image_std=np.float64(0.5),
    )
    assert ours == SiglipImageProcessor(size=SMALL)
    assert json.loads(json.dumps(ours.to_dict())) == json.loads(
        json.dumps(SiglipImageProcessor(size=SMALL).to_dict())
    )
    assert SiglipImageProcessor(size=np.int64(9)).size == {"shortest_edge": 9}


def test_what_is_no_mapping_is_refused():
    for values in (None, [1], "size"):
        with pytest.raises(ConfigError, match=r"^the configuration is .*; it must be a mapping"):
            SiglipImageProcessor.from_dict(values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no preprocessor_config.json"),
        (b"", "not valid JSON"),
        (b"\xff\xd8\xff", "not valid JSON"),
        (b"[]", "holds a list"),
    ],
)
def test_unreadable_files_are_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "preprocessor_config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{tmp_path}.*{message}"):
        SiglipImageProcessor.from_pretrained(tmp_path)
