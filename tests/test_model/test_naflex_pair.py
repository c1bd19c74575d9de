"""The whole NaFlex model, its text tower and its processor, against transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from PIL import Image
from transformers import AutoTokenizer, Siglip2ImageProcessorPil
from transformers import Siglip2Processor as Siglip2ProcessorOfTransformers

from numpy_siglip import (
    ConfigError,
    Siglip2Model,
    Siglip2Processor,
    Siglip2TextModel,
    Siglip2VisionModel,
    SiglipModel,
    SiglipProcessor,
    SiglipTextModel,
    SiglipVisionModel,
)

TOLERANCE = 1e-5
# (height, width): 1:8, 8:1, and odd
IMAGES = [(20, 160), (160, 20), (45, 45)]

TEXTS = ["A photo of a CAT.", "a dog on a bicycle", ""]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("images", [1, 3])
def test_logits_equal_transformers(naflex_pair_model, naflex_pair_folder, images, backend):
    model = Siglip2Model.from_pretrained(naflex_pair_folder, backend=backend)
    processor = Siglip2Processor.from_pretrained(naflex_pair_folder)
    arrays = [np.random.default_rng(i).integers(0, 256, (*IMAGES[i], 3), np.uint8) for i in range(images)]
    inputs = processor(images=arrays, text=TEXTS[:images])
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        expected = naflex_pair_model(**tensors, return_loss=True)
    actual = model(**inputs, return_loss=True)
    for name in ("loss", "logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
        assert_close(getattr(actual, name), expected[name].numpy(), relative=TOLERANCE, name=name)
    texts = {"input_ids": inputs.pop("input_ids")}
    assert_close(
        model.get_image_features(**inputs).pooler_output,
        expected.vision_model_output.pooler_output.numpy(),
        relative=TOLERANCE,
    )
    alone = Siglip2TextModel.from_pretrained(naflex_pair_folder, backend=backend)(**texts)
    assert alone.pooler_output.tobytes() == actual.text_model_output.pooler_output.tobytes()
    tower = Siglip2VisionModel.from_pretrained(naflex_pair_folder, backend=backend)
    assert tower(**inputs).pooler_output.tobytes() == actual.vision_model_output.pooler_output.tobytes()


def test_the_processor_gives_what_transformers_gives(naflex_pair_folder, photos):
    theirs = Siglip2ProcessorOfTransformers(
        image_processor=Siglip2ImageProcessorPil.from_pretrained(naflex_pair_folder),
        tokenizer=AutoTokenizer.from_pretrained(naflex_pair_folder),
    )
    opened = [Image.open(photo) for photo in photos]
    options = {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "np"}
    # Theirs passes 256 patches of 16 pixels on, whatever the image processor was saved with.
    expected = theirs(images=opened, text=TEXTS, max_num_patches=30, patch_size=11, **options)
    processor = Siglip2Processor.from_pretrained(naflex_pair_folder)
    actual = processor(images=photos, text=TEXTS, max_num_patches=30)
    assert set(actual) == set(expected)
    for name, array in actual.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_every_class_names_the_right_one(naflex_pair_folder, pair_folder):
    for ours, folder, right in (
        (SiglipModel, naflex_pair_folder, "Siglip2Model"),
        (SiglipTextModel, naflex_pair_folder, "Siglip2TextModel"),
        (SiglipVisionModel, naflex_pair_folder, "Siglip2VisionModel"),
        (SiglipProcessor, naflex_pair_folder, "Siglip2ImageProcessor"),
        (Siglip2Model, pair_folder, "SiglipModel"),
        (Siglip2TextModel, pair_folder, "SiglipTextModel"),
        (Siglip2VisionModel, pair_folder, "SiglipVisionModel"),
        (Siglip2Processor, pair_folder, "SiglipImageProcessor"),
    ):
        with pytest.raises(ConfigError, match=rf"config\.json: .*use {right}\b"):
            ours.from_pretrained(folder)
