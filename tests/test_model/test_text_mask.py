"""Masks of texts: which folders ask for one, and what a model computes with it, as in transformers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import (
    NAFLEX_TOY,
    TOY,
    TOY_TEXT,
    save_image_processor,
    save_naflex_image_processor,
    transformers_full_model,
    transformers_naflex_full_model,
    transformers_text_model,
)
from helpers.toy_vocabularies import gemma_tokenizer, write_siglip_tokenizer

from numpy_siglip import AutoModel, AutoProcessor, Embedder, SiglipTextModel, SiglipTokenizer, TextError

TEXTS = ["a photo of a cat", "A Dog!", "", "the quick brown fox jumps over the lazy dog and on and on"]
IDS = np.random.default_rng(0).integers(120, size=(4, 16))
RIGHT = (np.arange(16) < [[5], [16], [1], [15]]).astype(np.int64)
LEFT = RIGHT[:, ::-1].copy()
SCATTERED = np.random.default_rng(1).integers(0, 2, (4, 16)) | (np.arange(16) == 3)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("mask", [RIGHT, LEFT, SCATTERED], ids=["right", "left", "scattered"])
def test_every_output_equals_transformers(mask, backend, pair_folder, pair_model):
    model = SiglipTextModel.from_pretrained(pair_folder, backend=backend)
    ours = model(IDS, mask, output_hidden_states=True, output_attentions=True)
    with torch.no_grad():
        theirs = pair_model.text_model(
            torch.from_numpy(IDS),
            attention_mask=torch.from_numpy(mask),
            output_hidden_states=True,
            output_attentions=True,
        )
    for name in ("last_hidden_state", "pooler_output"):
        assert_close(getattr(ours, name), theirs[name].numpy(), relative=1e-5, name=name)
    for name in ("hidden_states", "attentions"):
        for one, expected in zip(getattr(ours, name), theirs[name], strict=True):
            assert_close(one, expected.numpy(), relative=5e-5, name=name)
    assert all(
        (weights[~np.broadcast_to(mask[:, None, None] > 0, weights.shape)] == 0).all()
        for weights in ours.attentions
    )
    assert model(IDS, mask).pooler_output.tobytes() == ours.pooler_output.tobytes()
    unmasked = model(IDS).pooler_output
    assert np.abs(ours.pooler_output - unmasked)[mask.min(axis=1) == 0].max() > 1e-2
    full = mask.min(axis=1) == 1
    assert ours.pooler_output[full].tobytes() == unmasked[full].tobytes()


def test_the_sizes_of_a_published_tower(tmp_path):
    sizes = {"vocab_size": 1000, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    theirs = transformers_text_model(**sizes, max_position_embeddings=64, num_hidden_layers=2)
    theirs.save_pretrained(tmp_path)
    ids = np.random.default_rng(1).integers(1000, size=(2, 64))
    mask = (np.arange(64) < [[5], [40]]).astype(np.int64)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).pooler_output.numpy()
    assert_close(SiglipTextModel.from_pretrained(tmp_path)(ids, mask).pooler_output, expected, relative=1e-5)


def test_a_masked_text_has_the_same_bits_in_any_batch_and_with_any_threads(pair_folder):
    results = set()
    for threads in (1, 2, 5):
        model = SiglipTextModel.from_pretrained(pair_folder, threads=threads)
        results.add(model(IDS, SCATTERED).last_hidden_state.tobytes())
        alone = [model(IDS[i : i + 1], SCATTERED[i : i + 1]).last_hidden_state for i in range(4)]
        results.add(np.concatenate(alone).tobytes())
        traced = model.trace(IDS, attention_mask=SCATTERED)
        results.add(traced["final_layer_norm"].tobytes())
    assert len(results) == 1


def test_a_masked_token_has_no_influence(pair_folder):
    model = SiglipTextModel.from_pretrained(pair_folder)
    others = np.where(LEFT == 1, IDS, 119 - IDS)
    assert (others != IDS).any()
    assert model(IDS, LEFT).pooler_output.tobytes() == model(others, LEFT).pooler_output.tobytes()


def test_masks_of_int8(pair_folder):
    exact, rounded = (SiglipTextModel.from_pretrained(pair_folder, dtype=d) for d in ("float32", "int8"))
    expected, actual = exact(IDS, RIGHT).pooler_output, rounded(IDS, RIGHT).pooler_output
    assert not np.array_equal(actual, expected)
    assert_close(actual, expected, relative=0.1)
    assert not np.array_equal(actual, rounded(IDS).pooler_output)


@pytest.mark.parametrize("mask", [RIGHT.astype(bool), RIGHT.astype(np.float32), RIGHT.tolist()])
def test_masks_of_any_type(mask, pair_folder):
    model = SiglipTextModel.from_pretrained(pair_folder)
    assert model(IDS, mask).pooler_output.tobytes() == model(IDS, RIGHT).pooler_output.tobytes()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1], [1, 1]], "attention_mask is no array"),
        (np.ones((4, 15)), r"attention_mask has shape \(4, 15\), and input_ids \(4, 16\)"),
        (np.ones((4, 1, 16, 16)), "attention_mask has shape"),
        (RIGHT * 2, "it must hold 1 for a token that is looked at"),
        (np.where(RIGHT, 1.0, np.nan), "it must hold 1"),
        (np.full((4, 16), "1"), "it must hold 1"),
        (RIGHT * [[1], [1], [1], [0]], "leaves nothing of text 4 of 4"),
    ],
)
def test_masks_that_make_no_sense_are_refused(mask, message, pair_folder):
    with pytest.raises(TextError, match=message):
        SiglipTextModel.from_pretrained(pair_folder)(IDS, mask)


def _write_model(folder, *, naflex):
    if naflex:
        transformers_naflex_full_model(**NAFLEX_TOY).save_pretrained(folder)
        save_naflex_image_processor(folder, patch_size=11, max_num_patches=16)
    else:
        text = {**TOY_TEXT, "vocab_size": 520}
        transformers_full_model(text_config=text, **TOY).save_pretrained(folder)
        save_image_processor(folder, TOY["image_size"])


def _write_tokenizer(folder, kind, side, names):
    if kind == "SiglipTokenizer":
        write_siglip_tokenizer(folder, padding_side=side)
    else:
        gemma_tokenizer(kind, padding_side=side).save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings.pop("model_input_names", None)
    file.write_text(json.dumps({**settings, **({} if names is None else {"model_input_names": names})}))


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory):
    folders = {}
    for naflex in (False, True):
        folders[naflex] = tmp_path_factory.mktemp(f"model{naflex}")
        _write_model(folders[naflex], naflex=naflex)
    return folders


@pytest.mark.filterwarnings("ignore:.*the tokenizer knows 76 tokens")
@pytest.mark.parametrize("names", [None, ["input_ids"], ["input_ids", "attention_mask"]])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("kind", "naflex"),
    [
        ("SiglipTokenizer", False),
        ("GemmaTokenizer", False),
        ("Siglip2Tokenizer", False),
        ("Siglip2Tokenizer", True),
    ],
)
def test_logits_and_probabilities_equal_transformers(
    kind, naflex, side, names, model_folders, tmp_path, photos
):
    """Through processors, as a program has it, and through an embedder: with and without a mask."""
    folder = shutil.copytree(model_folders[naflex], tmp_path / "m")
    _write_tokenizer(folder, kind, side, names)
    texts = [text.lower() for text in TEXTS]  # GemmaTokenizer keeps capitals in transformers
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == kind
    expected = theirs(texts, padding="max_length", max_length=16, truncation=True, return_tensors="np")

    processor = AutoProcessor.from_pretrained(folder)
    assert processor.tokenizer.model_input_names == theirs.model_input_names
    inputs = processor(images=photos, text=texts)
    assert ("attention_mask" in inputs) == ("attention_mask" in expected) == (names != ["input_ids"])
    for name, array in expected.items():
        np.testing.assert_array_equal(inputs[name], array, err_msg=name)

    family = "Siglip2" if naflex else "Siglip"
    model = getattr(transformers, f"{family}Model").from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits_per_image
    ours = AutoModel.from_pretrained(folder)(**inputs)
    assert_close(ours.logits_per_image, logits.numpy(), relative=1e-5)
    embedded = Embedder.from_pretrained(folder).classify(photos, texts, prompt="{}")
    assert_close(embedded, torch.sigmoid(logits).numpy(), relative=1e-5)


def test_a_call_may_ask_for_a_mask_or_for_none(pair_folder):
    tokenizer = SiglipTokenizer.from_pretrained(pair_folder)
    assert list(tokenizer("a cat")) == ["input_ids"]
    both = tokenizer(["a cat", "a photo of a dog"], return_attention_mask=True)
    theirs = transformers.SiglipTokenizer.from_pretrained(pair_folder)
    options = {"padding": "max_length", "max_length": 16, "return_attention_mask": True}
    expected = theirs(["a cat", "a photo of a dog"], **options)
    assert both.attention_mask.tolist() == expected["attention_mask"]
    assert both.attention_mask.dtype == np.int64


@pytest.mark.parametrize(
    ("files", "masks"),
    [
        ({"config.json": {"model_type": "siglip"}}, True),
        ({"config.json": {"architecture": "vit_base_patch16_siglip_224"}}, False),
        ({"open_clip_config.json": {}}, False),
        ({}, True),
    ],
)
def test_other_libraries_mask_nothing(files, masks, tmp_path):
    write_siglip_tokenizer(tmp_path, model_input_names=["input_ids", "attention_mask"])
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del settings["model_input_names"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    tokenizer = SiglipTokenizer.from_pretrained(tmp_path, context_length=16)
    assert ("attention_mask" in tokenizer("a cat")) == masks
