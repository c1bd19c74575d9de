"""Programs as transformers' documentation has them, run twice: as they are, and with the fewest changes.

What changes is the line of imports, and what is torch's: its arrays become NumPy's, and so do the functions
of them. Models, photographs and their addresses are those of the tests.
"""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, TOY_TEXT, save_image_processor, transformers_full_model
from helpers.toy_vocabularies import gemma_tokenizer, write_siglip_tokenizer

BOTH_TOWERS = """
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

model = AutoModel.from_pretrained(FOLDER, device_map="auto", attn_implementation="sdpa")
processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")

image = Image.open(PHOTO)
candidate_labels = ["a Pallas cat", "a lion", "a Siberian tiger"]
texts = [f"This is a photo of {label}." for label in candidate_labels]
inputs = processor(text=texts, images=image, padding="max_length", return_tensors="pt").to(model.device)

with torch.no_grad():
    outputs = model(**inputs)

logits_per_image = outputs.logits_per_image
probs = torch.sigmoid(logits_per_image)
line = f"{probs[0][0]:.1%} that image 0 is '{candidate_labels[0]}'"
results = [probs, *outputs.to_tuple()[:4]]
"""

FIXED_RESOLUTION_OF_SIGLIP2 = BOTH_TOWERS.replace(
    'padding="max_length",', 'padding="max_length", max_length=64,'
)

# The toy's patches and texts are smaller than those that transformers' processor passes on by itself.
NAFLEX = BOTH_TOWERS.replace(
    'padding="max_length",', 'padding="max_length", max_length=16, max_num_patches=20, patch_size=11,'
).replace('device_map="auto"', 'dtype="auto", device_map="auto"')

ONE_TOWER_FOR_TEXTS = """
from transformers import AutoTokenizer, SiglipTextModel

model = SiglipTextModel.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)

# important: make sure to set padding="max_length" as that's how the model was trained
inputs = tokenizer(["a photo of a cat", "a photo of a dog"], padding="max_length", return_tensors="pt")

outputs = model(**inputs)
results = [outputs.last_hidden_state, outputs.pooler_output]
"""

ONE_TOWER_FOR_IMAGES = """
from PIL import Image
from transformers import AutoProcessor, SiglipVisionModel

model = SiglipVisionModel.from_pretrained(FOLDER)
processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")

image = Image.open(PHOTO)
inputs = processor(images=image, return_tensors="pt")

outputs = model(**inputs)
results = [outputs.last_hidden_state, outputs.pooler_output]
"""

FEATURES = """
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, AutoTokenizer

model = AutoModel.from_pretrained(FOLDER).eval()
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")

texts = tokenizer(["a photo of a cat", "a photo of a dog"], padding="max_length", return_tensors="pt")
images = processor(images=Image.open(PHOTO), return_tensors="pt")
with torch.no_grad():
    text_features = model.get_text_features(**texts)
    image_features = model.get_image_features(**images)
results = [text_features.pooler_output, image_features.pooler_output, *text_features.values()]
"""

CLASSIFIER = """
import torch
from PIL import Image
from transformers import AutoImageProcessor, SiglipForImageClassification

image = Image.open(PHOTO)
image_processor = AutoImageProcessor.from_pretrained(FOLDER, backend="pil")
model = SiglipForImageClassification.from_pretrained(FOLDER)

inputs = image_processor(images=image, return_tensors="pt")
outputs = model(**inputs)
logits = outputs.logits
# model predicts one of the classes
predicted_class_idx = logits.argmax(-1).item()
line = "Predicted class: " + model.config.id2label[predicted_class_idx]
results = [logits]
"""

PIPELINE = """
from transformers import pipeline

candidate_labels = ["a Pallas cat", "a lion", "a Siberian tiger"]

pipeline = pipeline(task="zero-shot-image-classification", model=FOLDER)
found = pipeline(PHOTO, candidate_labels=candidate_labels)
line = ", ".join(each["label"] for each in found)
results = [[each["score"] for each in found]]
"""

# What torch has and NumPy has not is a word of Python, or left out.
CHANGES = [
    (r"^from transformers import", "from numpy_siglip import"),
    (r"^import torch$", "import numpy as np"),
    (r'return_tensors="pt"', 'return_tensors="np"'),
    (r"^with torch.no_grad\(\):", "if True:"),
    (r"torch\.sigmoid\((\w+)\)", r"(1 / (1 + np.exp(-\1)))"),
]


@pytest.fixture(scope="module")
def folders(naflex_pair_folder, classifier_folder, tmp_path_factory):
    """A model of each family that has 64 tokens, as published ones have, and the others of the tests."""
    siglip, siglip2 = (tmp_path_factory.mktemp(name) for name in ("siglip", "siglip2"))
    text = {**TOY_TEXT, "max_position_embeddings": 64}
    transformers_full_model(text_config=text, **TOY).save_pretrained(siglip)
    save_image_processor(siglip, TOY["image_size"])
    write_siglip_tokenizer(siglip)
    transformers_full_model(text_config={**text, "vocab_size": 520}, **TOY).save_pretrained(siglip2)
    save_image_processor(siglip2, TOY["image_size"])
    naflex = shutil.copytree(naflex_pair_folder, siglip2.parent / "naflex")
    for folder in (siglip2, naflex):  # as published: without a mask
        gemma_tokenizer(model_input_names=["input_ids"]).save_pretrained(folder)
    return {"siglip": siglip, "siglip2": siglip2, "naflex": naflex, "classifier": classifier_folder}


def _run(program, folder, photo):
    names = {"FOLDER": str(folder), "PHOTO": str(photo)}
    exec(compile(program, "<a program>", "exec"), names)
    return names


def _changed(program):
    for pattern, replacement in CHANGES:
        program = re.sub(pattern, replacement, program, flags=re.MULTILINE)
    assert not re.search("torch|transformers", program)
    return program


@pytest.mark.parametrize(
    ("program", "family"),
    [
        (BOTH_TOWERS, "siglip"),
        (FIXED_RESOLUTION_OF_SIGLIP2, "siglip2"),
        (NAFLEX, "naflex"),
        (ONE_TOWER_FOR_TEXTS, "siglip"),
        (ONE_TOWER_FOR_IMAGES, "siglip"),
        (FEATURES, "siglip"),
        (CLASSIFIER, "classifier"),
        (PIPELINE, "siglip"),
        (PIPELINE, "siglip2"),
    ],
)
def test_a_program_runs_with_its_imports_and_functions_of_torch_changed(program, family, folders, photos):
    without_accelerate = program.replace('device_map="auto", ', "")  # which is not installed for the tests
    theirs = _run(without_accelerate, folders[family], photos[0])
    ours = _run(_changed(program), folders[family], photos[0])
    assert ours.get("line") == theirs.get("line")
    for actual, expected in zip(ours["results"], theirs["results"], strict=True):
        if not isinstance(expected, list):
            expected = expected.detach().numpy()
        assert_close(np.asarray(actual, np.float32), np.asarray(expected, np.float32), relative=1e-5)
