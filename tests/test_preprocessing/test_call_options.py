"""Options of image processors, tokenizers and processors, per call and when they are read."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import transformers
from helpers.noise_images import noise_image
from PIL import Image

from numpy_siglip import (
    AutoProcessor,
    AutoTokenizer,
    ConfigError,
    Embedder,
    ImageError,
    Siglip2ImageProcessor,
    Siglip2Processor,
    SiglipImageProcessor,
    SiglipProcessor,
    SiglipTokenizer,
    load_image,
)
from numpy_siglip.errors import UnknownOptionError

SMALL = {"height": 22, "width": 33}
SETTINGS = [
    {"do_resize": False},
    {"size": SMALL},
    {"size": 20},
    {"size": {"shortest_edge": 20}},
    {"resample": 2},
    {"resample": Image.Resampling.LANCZOS},
    {"do_rescale": False},
    {"rescale_factor": 0.1},
    {"do_normalize": False},
    {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    {"image_mean": 0.3},
    {"do_convert_rgb": True},
    {"do_center_crop": False, "data_format": "channels_first", "device": "cpu", "disable_grouping": True},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_of_a_call_are_those_of_transformers(settings, pair_folder):
    image = noise_image("RGB", (44, 66))
    ours = SiglipImageProcessor.from_pretrained(pair_folder)
    theirs = transformers.SiglipImageProcessorPil.from_pretrained(pair_folder)
    before = ours.to_dict()
    expected = theirs(image, return_tensors="np", **settings)["pixel_values"]
    for call in (ours, ours.preprocess, SiglipProcessor(ours, SiglipTokenizer.from_pretrained(pair_folder))):
        np.testing.assert_array_equal(call(images=image, **settings)["pixel_values"], expected)
    assert ours.to_dict() == before


def test_none_leaves_a_setting_as_it_is(pair_folder):
    ours, image = SiglipImageProcessor.from_pretrained(pair_folder), noise_image("RGB")
    found = ours(image, **dict.fromkeys(ours.settings()))
    np.testing.assert_array_equal(found["pixel_values"], ours(image)["pixel_values"])
    off = ours(image, do_normalize=np.False_)["pixel_values"]
    np.testing.assert_array_equal(off, ours(image, do_normalize=False)["pixel_values"])


@pytest.mark.parametrize("settings", SETTINGS[:-1])
def test_settings_when_it_is_read_are_those_of_transformers(settings, pair_folder):
    image = noise_image("RGB", (44, 66))
    theirs = transformers.SiglipImageProcessorPil.from_pretrained(pair_folder, **settings)
    expected = theirs(image, return_tensors="np")["pixel_values"]
    for load in (SiglipImageProcessor, SiglipProcessor, AutoProcessor):
        ours = load.from_pretrained(pair_folder, use_fast=False, **settings)
        np.testing.assert_array_equal(ours(images=image)["pixel_values"], expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_num_patches": 12},
        {"patch_size": 8},
        {"patch_size": 22, "max_num_patches": 9},
        {"do_normalize": False, "resample": 3},
        {"image_mean": 0.2, "do_convert_rgb": True},
    ],
)
def test_settings_of_naflex_are_those_of_transformers(settings, naflex_pair_folder):
    image = noise_image("RGB", (44, 66))
    theirs = transformers.Siglip2ImageProcessorPil.from_pretrained(naflex_pair_folder)
    expected = theirs(image, return_tensors="np", **settings)
    own = Siglip2ImageProcessor.from_pretrained(naflex_pair_folder)
    loaded = Siglip2ImageProcessor.from_pretrained(naflex_pair_folder, **settings)
    both = Siglip2Processor.from_pretrained(naflex_pair_folder)
    for found in (
        own(image, **settings),
        loaded(image),
        both(image, **settings),
        own.preprocess(image, **settings),
    ):
        assert found.keys() == dict(expected).keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_where_arrays_have_their_channels(layout, pair_folder):
    ours = SiglipImageProcessor.from_pretrained(pair_folder)
    theirs = transformers.SiglipImageProcessorPil.from_pretrained(pair_folder)
    array = np.random.default_rng(0).integers(0, 256, (3, 20, 3), np.uint8)  # either end could be channels
    expected = theirs([array], input_data_format=layout, return_tensors="np")["pixel_values"]
    for image in (array, torch.from_numpy(array)):
        found = ours(image, input_data_format=layout)["pixel_values"]
        np.testing.assert_array_equal(found, expected)
    photo = noise_image("RGB")
    np.testing.assert_array_equal(
        ours(photo, input_data_format=layout)["pixel_values"], ours(photo)["pixel_values"]
    )
    with pytest.raises(ConfigError, match="input_data_format is 'first'; there are: channels_first"):
        ours(array, input_data_format="first")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do_resize": "no"}, "do_resize is 'no'; it must be true or false"),
        ({"size": "large"}, "size is 'large'"),
        ({"resample": 9}, "resample is 9"),
        ({"image_std": 0}, "image_std holds a zero"),
        (
            {"do_center_crop": True},
            "do_center_crop is True, which is not|not a step of SigLIP's preprocessing",
        ),
        ({"do_pad": True}, "not a step of SigLIP's preprocessing"),
        ({"data_format": "channels_last"}, "models take channels before height and width"),
        ({"device": "cuda"}, "device is 'cuda'; images are prepared on the CPU"),
        ({"do_rezise": False}, "no option 'do_rezise'; do you mean 'do_resize'"),
        ({"apply_exif_orientation": "no"}, "apply_exif_orientation is 'no'; it must be true or false"),
        ({"return_tensors": "pt"}, "return_tensors is 'pt'"),
    ],
)
def test_other_options_of_a_call_are_refused_by_name(
    options, message, pair_folder, naflex_pair_folder, photos
):
    for processor in (
        SiglipImageProcessor.from_pretrained(pair_folder),
        SiglipProcessor.from_pretrained(pair_folder),
        Siglip2ImageProcessor.from_pretrained(naflex_pair_folder),
        Siglip2Processor.from_pretrained(naflex_pair_folder),
    ):
        if "size" in options and not hasattr(getattr(processor, "image_processor", processor), "size"):
            continue
        with pytest.raises(ConfigError, match=message):
            processor(images=photos[:1], **options)


@pytest.mark.parametrize("load", [SiglipImageProcessor, SiglipProcessor, AutoProcessor])
def test_other_options_when_it_is_read_are_refused_by_name(load, pair_folder):
    for options, message in [
        ({"do_resize": 0}, "do_resize is 0"),
        ({"do_rezise": False}, "do you mean 'do_resize'"),
        ({"backend": "torchvision"}, "images are resized by Pillow"),
        ({"trust_remote_code": True}, "code that comes with a model is never run"),
        ({"local_files_only": 1}, "local_files_only is 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load.from_pretrained(pair_folder, **options)


# ------------------------------------------------------------------------------------- kinds of images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_bytes_and_tensors_are_images(mode, pair_folder, tmp_path):
    image = noise_image(mode, (44, 66))
    path = tmp_path / "image.png"
    image.save(path)
    ours = SiglipImageProcessor.from_pretrained(pair_folder)
    expected = ours(image)["pixel_values"]
    content = path.read_bytes()
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy())
    for form in (content, bytearray(content), memoryview(content), tensor, path):
        np.testing.assert_array_equal(ours(form)["pixel_values"], expected)
        np.testing.assert_array_equal(ours([form, image])["pixel_values"], np.concatenate([expected] * 2))
    if mode == "RGB":
        batch = torch.stack([tensor, tensor]).permute(0, 3, 1, 2)
        np.testing.assert_array_equal(ours(batch)["pixel_values"], np.concatenate([expected] * 2))
        theirs = transformers.SiglipImageProcessorPil.from_pretrained(pair_folder)
        found = theirs(list(batch), return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(found, ours(batch)["pixel_values"])
        floats = (tensor.float() / 255).bfloat16().requires_grad_()
        once = SiglipImageProcessor.from_pretrained(pair_folder, do_rescale=False)
        np.testing.assert_array_equal(
            once(floats)["pixel_values"], once(floats.detach().float().numpy())["pixel_values"]
        )


def test_an_embedder_takes_bytes_and_tensors(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    expected = embedder.embed_images(photos[:2])
    contents = [photo.read_bytes() for photo in photos[:2]]
    tensors = [torch.from_numpy(np.array(Image.open(photo))) for photo in photos[:2]]
    for images in (contents, tensors, iter(contents)):
        np.testing.assert_array_equal(embedder.embed_images(images), expected)
    np.testing.assert_array_equal(embedder.embed_images(contents[0]), expected[:1])
    np.testing.assert_array_equal(embedder.embed_images(tensors[0]), expected[:1])


def test_bytes_turn_upright_as_a_path_does(pair_folder, photos, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photos[0]).save(tmp_path / "turned.jpg", exif=exif)
    ours = SiglipImageProcessor.from_pretrained(pair_folder)
    content = (tmp_path / "turned.jpg").read_bytes()
    upright = ours(content, apply_exif_orientation=True)["pixel_values"]
    path = ours(tmp_path / "turned.jpg", apply_exif_orientation=True)["pixel_values"]
    np.testing.assert_array_equal(upright, path)
    assert not np.array_equal(upright, ours(content)["pixel_values"])


@pytest.mark.parametrize("cut", [0, 4, 400])
def test_bytes_that_are_no_image_are_told(cut, pair_folder, photos):
    ours = SiglipImageProcessor.from_pretrained(pair_folder)
    with pytest.raises(ImageError, match=rf"an image given as {cut} bytes: "):
        ours(photos[0].read_bytes()[:cut])


def test_the_option_of_turning_is_a_truth_value(photos):
    with pytest.raises(ConfigError, match="apply_exif_orientation is 'no'"):
        load_image(photos[0], apply_exif_orientation="no")


# ------------------------------------------------------------------------------------- texts


def test_one_length_by_all_its_names(pair_folder):
    tokenizer = SiglipTokenizer.from_pretrained(pair_folder)
    theirs = transformers.SiglipTokenizer.from_pretrained(pair_folder)
    texts = ["a cat", "a photo of a dog " * 10]
    expected = theirs(texts, padding="max_length", truncation=True, max_length=16, return_tensors="np")[
        "input_ids"
    ]
    for padding in ("max_length", True, None, transformers.utils.PaddingStrategy.MAX_LENGTH):
        for truncation in (True, "longest_first", "only_first", None):
            found = tokenizer(texts, padding=padding, truncation=truncation)
            np.testing.assert_array_equal(found.input_ids, expected)
    for padding in (False, "longest", "do_not_pad", 1):
        with pytest.raises(ConfigError, match=r"^padding is .*; SigLIP knows texts of one length"):
            tokenizer(texts, padding=padding)
    for truncation in (False, "do_not_truncate", "only_second"):
        with pytest.raises(ConfigError, match=r"^truncation is .*; SigLIP knows texts of one length"):
            tokenizer(texts, truncation=truncation)


def test_options_of_a_tokenizer_with_one_right_value(pair_folder):
    tokenizer = AutoTokenizer.from_pretrained(pair_folder, use_fast=True, model_max_length=8)
    assert tokenizer.context_length == 8
    usual = {"add_special_tokens": True, "return_token_type_ids": False, "stride": 0, "verbose": True}
    np.testing.assert_array_equal(tokenizer("a cat", **usual).input_ids, tokenizer("a cat").input_ids)
    for options, message in [
        ({"add_special_tokens": False}, "was trained with them"),
        ({"text_pair": "a dog"}, "texts stand by themselves"),
        ({"return_offsets_mapping": True}, "return_offsets_mapping is True"),
        ({"max_lenght": 5}, "do you mean 'max_length'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            tokenizer("a cat", **options)


def test_groups_of_options_of_a_processor(pair_folder, photos):
    processor = SiglipProcessor.from_pretrained(pair_folder)
    arguments = {"images": photos[:1], "text": ["a cat"]}
    expected = processor(**arguments, max_length=8, size=SMALL)
    found = processor(
        **arguments,
        text_kwargs={"max_length": 8, "padding": "max_length"},
        images_kwargs={"size": SMALL},
        common_kwargs={"return_tensors": "np"},
        videos=None,
    )
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert expected.input_ids.shape == (1, 8)
    for options, message in [
        ({"text_kwargs": {"max_lenght": 8}}, "do you mean 'max_length'"),
        ({"images_kwargs": {"sise": 8}}, "do you mean 'size'"),
        ({"images_kwargs": 5}, "images_kwargs is 5"),
        ({"common_kwargs": {"return_tensors": "pt"}}, "return_tensors is 'pt'"),
        ({"videos": [1]}, "videos is"),
    ]:
        with pytest.raises(ConfigError, match=message):
            processor(**arguments, **options)


def test_options_of_what_is_not_given_are_not_swallowed(pair_folder, photos):
    processor = SiglipProcessor.from_pretrained(pair_folder)
    processor(text=["a cat"], do_resize=False, input_data_format="channels_last")
    processor(images=photos[:1], max_length=8)
    for arguments in ({"text": ["a cat"], "do_resize": "no"}, {"images": photos[:1], "padding": "longest"}):
        with pytest.raises(ConfigError):
            processor(**arguments)
    with pytest.raises(UnknownOptionError, match="do you mean 'do_resize'"):
        processor(text=["a cat"], do_resise=True)


def test_every_setting_can_be_changed_by_a_call():
    for kind in (SiglipImageProcessor, Siglip2ImageProcessor):
        parameters = inspect.signature(kind).parameters
        assert set(kind.settings()) == set(parameters)
