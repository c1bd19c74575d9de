"""Both towers together: features, logits, probabilities, loss, and what refuses to fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.toy_models import TOY, TOY_TEXT, save_image_processor, transformers_full_model
from helpers.toy_vocabularies import gemma_tokenizer, write_siglip_tokenizer
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Embedder,
    ImageError,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    SiglipTextModel,
    SiglipVisionModel,
    TextError,
)
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.commands.command_line import main
from numpy_siglip.tools.conversion import convert_model
from numpy_siglip.tools.inspection import inspect_model

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.uniform(-1, 1, (3, 3, 44, 44)).astype(np.float32)
IDS = RANDOM.integers(120, size=(5, 16))


def _theirs(model, ids=IDS, pixels=PIXELS, **options):
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(ids), pixel_values=torch.from_numpy(pixels), **options)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_logits_and_features_equal_transformers(backend, pair_folder, pair_model):
    model = SiglipModel.from_pretrained(pair_folder, backend=backend)
    ours, theirs = model(IDS, PIXELS), _theirs(pair_model)
    for name in ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds"):
        assert_close(getattr(ours, name), getattr(theirs, name).numpy(), relative=1e-5, name=name)
    assert ours.logits_per_image.shape == (3, 5)
    assert ours.loss is None
    expected = torch.sigmoid(theirs.logits_per_image).numpy()
    assert_close(model.probabilities(ours.logits_per_image), expected, relative=1e-5)
    assert list(ours.keys()) == list(theirs.keys())
    assert len(ours.to_tuple()) == len(theirs.to_tuple())
    with torch.no_grad():
        image = pair_model.get_image_features(torch.from_numpy(PIXELS)).pooler_output
        text = pair_model.get_text_features(torch.from_numpy(IDS)).pooler_output
    assert_close(model.get_image_features(PIXELS).pooler_output, image.numpy(), relative=1e-5)
    assert_close(model.get_text_features(IDS).pooler_output, text.numpy(), relative=1e-5)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_loss_equals_transformers(backend, pair_folder, pair_model):
    model = SiglipModel.from_pretrained(pair_folder, backend=backend)
    ours = model(IDS[:3], PIXELS, return_loss=True)
    theirs = _theirs(pair_model, IDS[:3], return_loss=True)
    assert_close(ours.loss, theirs.loss.numpy(), relative=1e-5)
    assert ours.keys()[0] == "loss"
    with pytest.raises(ConfigError, match="5 texts and 3 images"):
        model(IDS, PIXELS, return_loss=True)


def test_logits_as_extreme_as_published_ones(tmp_path):
    """exp(4.77) = 118 and -12.9: sigmoids from 1e-57 on, and a loss of hundreds."""
    theirs = transformers_full_model(**TOY)
    with torch.no_grad():
        theirs.logit_scale.fill_(4.77)
        theirs.logit_bias.fill_(-12.9)
    theirs.save_pretrained(tmp_path)
    model = SiglipModel.from_pretrained(tmp_path)
    ours, expected = model(IDS[:3], PIXELS, return_loss=True), _theirs(theirs, IDS[:3], return_loss=True)
    assert_close(ours.logits_per_image, expected.logits_per_image.numpy(), relative=1e-5)
    assert_close(ours.loss, expected.loss.numpy(), relative=1e-5)
    probabilities = model.probabilities(ours.logits_per_image)
    wide = torch.sigmoid(torch.from_numpy(ours.logits_per_image.astype(np.float64))).numpy()
    np.testing.assert_allclose(probabilities, wide, rtol=1e-5)  # each of them, however small


def test_hidden_states_of_both_towers_and_other_sizes(pair_folder, pair_model):
    pixels = np.random.default_rng(1).uniform(-1, 1, (1, 3, 66, 44)).astype(np.float32)
    options = {"output_hidden_states": True, "output_attentions": True, "interpolate_pos_encoding": True}
    ours = SiglipModel.from_pretrained(pair_folder)(IDS, pixels, **options)
    theirs = _theirs(pair_model, pixels=pixels, **options)
    for tower in ("text_model_output", "vision_model_output"):
        one, other = getattr(ours, tower), getattr(theirs, tower)
        for state, expected in zip(one.hidden_states, other.hidden_states, strict=True):
            assert_close(state, expected.numpy(), relative=1e-5)
        assert len(one.attentions) == len(other.attentions)


def test_the_towers_are_those_of_their_own_classes(pair_folder):
    both = SiglipModel.from_pretrained(pair_folder)(IDS, PIXELS)
    vision = SiglipVisionModel.from_pretrained(pair_folder)(PIXELS)
    text = SiglipTextModel.from_pretrained(pair_folder)(IDS)
    np.testing.assert_array_equal(both.vision_model_output.pooler_output, vision.pooler_output)
    np.testing.assert_array_equal(both.text_model_output.pooler_output, text.pooler_output)


def test_a_pair_has_the_same_bits_whatever_stands_beside_it(pair_folder):
    expected = None
    for threads in (1, 3):
        model = SiglipModel.from_pretrained(pair_folder, threads=threads)
        logits = model(IDS, PIXELS).logits_per_image
        expected = logits if expected is None else expected
        assert logits.tobytes() == expected.tobytes()
        for i in range(3):
            for j in range(5):
                alone = model(IDS[j : j + 1], PIXELS[i : i + 1]).logits_per_image
                assert alone.tobytes() == logits[i, j].tobytes()


def test_towers_that_end_in_different_spaces_are_refused(pair_folder, tmp_path):
    config = SiglipConfig(vision_config=TOY, text_config={**TOY_TEXT, "projection_size": 34})
    with pytest.raises(ConfigError, match=r"in 33 numbers and texts in 34"):
        SiglipModel.from_pretrained(pair_folder, config=config)
    config = SiglipConfig(vision_config={**TOY, "vision_use_head": False}, text_config=TOY_TEXT)
    with pytest.raises(ConfigError, match="no pooling head"):
        SiglipModel.from_pretrained(pair_folder, config=config)


def test_damaged_scalars_are_named(pair_folder, tmp_path):
    tensors = load_file(pair_folder / "model.safetensors")
    shutil.copy(pair_folder / "config.json", tmp_path)

    def load(changes, message):
        changed = {name: value for name, value in (tensors | changes).items() if value is not None}
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            SiglipModel.from_pretrained(tmp_path)

    load({"logit_scale": None}, "tensor logit_scale is missing")
    load({"logit_bias": np.ones(2, np.float32)}, r"logit_bias has shape \(2,\)")
    load({"model.logit_bias": np.ones(1, np.float32)}, "more than one logit_bias")
    load({"logit_scale": np.full(1, np.nan, np.float32)}, "logit_scale is nan")
    load({"logit_scale": np.full(1, 1000, np.float32)}, "logit_scale is 1000.0")
    load({"logit_bias": np.full(1, np.inf, np.float32)}, "logit_bias inf")
    save_file(tensors | {"logit_scale": np.array(2, np.float32)}, tmp_path / "model.safetensors")
    assert SiglipModel.from_pretrained(tmp_path).comparison.logit_scale == 2.0


def test_without_a_bias_it_is_0_and_that_is_told(pair_folder, photos, tmp_path, capfd):
    """As in a model that was trained further with the loss of CLIP."""
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    zero = {**tensors, "logit_bias": np.zeros(1, np.float32)}
    del tensors["logit_bias"]
    save_file(tensors, folder / "model.safetensors")
    assert SiglipModel.from_pretrained(folder).comparison.logit_bias == 0
    line = "logit_bias 0, as in a model that was trained with the loss of CLIP"
    assert open_model(folder).inferred == (line,)
    assert inspect_model(folder)["inferred"] == [line]
    assert convert_model(folder, tmp_path / "converted").inferred == (line,)
    written = load_file(tmp_path / "converted" / "model.safetensors")
    assert written.keys() == zero.keys()
    for name, tensor in zero.items():
        np.testing.assert_array_equal(written[name], tensor, err_msg=name)
    assert main(["quantize", str(folder), "--output", str(tmp_path / "int8"), "--no-balance"]) == 0
    assert SiglipModel.from_pretrained(tmp_path / "int8").comparison.logit_bias == 0
    arguments = ["classify", str(photos[0]), "--model", str(folder), "--labels", "a cat, a dog"]
    assert main(arguments) == 0
    assert capfd.readouterr().err.count(f"numpy-siglip: inferred, since no file says it: {line}\n") == 2


def test_a_tower_alone_is_no_whole_model(toy_folder):
    with pytest.raises(ConfigError, match=r"config\.json: model_type is 'siglip_vision_model'; a whole"):
        SiglipModel.from_pretrained(toy_folder)


def test_input_that_does_not_fit_is_told_by_its_tower(pair_folder):
    model = SiglipModel.from_pretrained(pair_folder, backend="numpy")
    with pytest.raises(ImageError, match="shape"):
        model(IDS, PIXELS[0])
    with pytest.raises(TextError, match="shape"):
        model(IDS[0], PIXELS)


# --------------------------------------------------------------------------------------------- the processor


def test_the_processor_equals_transformers(pair_folder, photos):
    from PIL import Image

    texts = ["A photo of a cat.", "two dogs", ""]
    theirs = transformers.SiglipProcessor(
        transformers.SiglipImageProcessorPil.from_pretrained(pair_folder),
        transformers.SiglipTokenizer.from_pretrained(pair_folder),
    )
    images = [Image.open(photo) for photo in photos]
    usual = {"padding": "max_length", "truncation": True, "max_length": 16}
    expected = theirs(images=images, text=texts, return_tensors="np", **usual)
    processor = SiglipProcessor.from_pretrained(pair_folder)
    ours = processor(images=photos, text=texts, return_tensors="np", **usual)
    assert list(ours) == ["input_ids", "pixel_values"]
    np.testing.assert_array_equal(ours.pixel_values, expected["pixel_values"])
    np.testing.assert_array_equal(ours.input_ids, expected["input_ids"])


def test_the_processor_takes_either_alone(pair_folder, photos):
    processor = SiglipProcessor.from_pretrained(pair_folder)
    assert list(processor(text="a cat")) == ["input_ids"]
    assert list(processor(photos[0], apply_exif_orientation=True)) == ["pixel_values"]
    with pytest.raises(ConfigError, match="neither images nor text"):
        processor()
    with pytest.raises(ConfigError, match="return_tensors"):
        processor(text="a cat", return_tensors="pt")


# ---------------------------------------------------------------------------------------------- the embedder


def test_classification_gives_the_probabilities_of_the_pipeline(photos, tmp_path):
    theirs = transformers_full_model(text_config={**TOY_TEXT, "max_position_embeddings": 64}, **TOY)
    theirs.save_pretrained(tmp_path)  # of 64 tokens, since the pipeline knows no other length
    save_image_processor(tmp_path, TOY["image_size"])
    write_siglip_tokenizer(tmp_path)
    pipeline = transformers.pipeline(
        "zero-shot-image-classification",
        model=theirs,
        tokenizer=transformers.SiglipTokenizer.from_pretrained(tmp_path),
        image_processor=transformers.SiglipImageProcessorPil.from_pretrained(tmp_path),
    )
    labels = ["a cat", "a Dog!", "two bicycles"]
    probabilities = Embedder.from_pretrained(tmp_path).classify(photos, labels)
    assert probabilities.shape == (len(photos), 3)
    for photo, row in zip(photos, probabilities, strict=True):
        scores = {
            result["label"]: result["score"] for result in pipeline(str(photo), candidate_labels=labels)
        }
        assert_close(row, np.array([scores[label] for label in labels], np.float32), relative=1e-5)


def test_classification_is_the_model_on_prompts(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    model, processor = SiglipModel.from_pretrained(pair_folder), SiglipProcessor.from_pretrained(pair_folder)
    expected = model(**processor(images=photos, text=["<a cat>", "<a dog>"]))
    result = embedder.classify(photos, ["a cat", "a dog"], prompt="<{}>", batch_size=3)
    assert result.tobytes() == model.probabilities(expected.logits_per_image).tobytes()
    assert embedder.classify(photos[0], "a cat").shape == (1, 1)
    assert embedder.classify([], ["a cat", "a dog"]).shape == (0, 2)
    assert embedder.classify(photos, []).shape == (len(photos), 0)


def test_texts_are_embedded_in_batches(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    texts = [f"a photo of {number} cats" for number in range(7)]
    embeddings = embedder.embed_texts(texts, batch_size=3)
    assert embeddings.shape == (7, embedder.embedding_size)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    processor = SiglipProcessor.from_pretrained(pair_folder)
    raw = SiglipTextModel.from_pretrained(pair_folder)(processor(text=texts).input_ids).pooler_output
    assert embedder.embed_texts(iter(texts), normalize=False).tobytes() == raw.tobytes()
    assert embedder.embed_texts("a cat").shape == (1, 33)
    assert embedder.embed_texts([]).shape == (0, 33)


def test_images_alone_need_no_tokenizer(pair_folder, photos, tmp_path):
    """A text tower is read when the first text comes, and until then nothing of it is missed."""
    for file in pair_folder.iterdir():
        if file.name != "spiece.model":
            shutil.copy(file, tmp_path)
    embedder = Embedder.from_pretrained(tmp_path)
    assert embedder.embed_images(photos).shape == (len(photos), 33)
    with pytest.raises(ConfigError, match=r"no spiece\.model and no tokenizer\.json"):
        embedder.embed_texts(["a cat"])


def test_what_an_embedder_cannot_do_is_told(pair_folder, toy_folder, photos, tmp_path):
    embedder = Embedder.from_pretrained(toy_folder)
    with pytest.raises(ConfigError, match="nor a model with one in its text_config"):
        embedder.classify(photos, ["a cat"])
    with pytest.raises(ConfigError, match="knows no texts"):
        Embedder(embedder.model, embedder.processor).embed_texts(["a cat"])
    pair = Embedder.from_pretrained(pair_folder)
    for prompt in ("a photo", "", None):
        with pytest.raises(ConfigError, match="in the label's place"):
            pair.classify(photos, ["a cat"], prompt=prompt)
    with pytest.raises(TextError, match="text 1 of 1 is 5"):
        pair.classify(photos, [5])
    with pytest.raises(ConfigError, match="batch_size"):
        pair.embed_texts(["a cat"], batch_size=0)


def test_weights_that_are_not_finite_are_told(pair_folder, tmp_path):
    shutil.copytree(pair_folder, tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    tensors["text_model.head.bias"][3] = np.nan
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="the results are not finite"):
        Embedder.from_pretrained(tmp_path / "m").embed_texts(["a cat"])


def test_a_vocabulary_larger_than_the_table_is_told(pair_folder, tmp_path):
    """Gemma's tokens beside a model of SigLIP 1."""
    shutil.copytree(pair_folder, tmp_path / "m")
    (tmp_path / "m" / "spiece.model").unlink()
    gemma_tokenizer().save_pretrained(tmp_path / "m")
    embedder = Embedder.from_pretrained(tmp_path / "m")
    with pytest.warns(UserWarning, match=r"m: the tokenizer knows 510 tokens and the text tower 120"):
        assert embedder.text_embedder.tokenizer.vocab_size == 510
    with pytest.raises(TextError, match="its tokenizer is that of another model"):
        embedder.embed_texts(["a cat"])


def test_a_siglip2_checkpoint_of_fixed_resolution(tmp_path, photos):
    """model_type siglip, Gemma's tokenizer, padding by 0: published SigLIP 2 but for its size."""
    theirs = transformers_full_model(text_config={**TOY_TEXT, "vocab_size": 520}, **TOY)
    theirs.save_pretrained(tmp_path)
    save_image_processor(tmp_path, TOY["image_size"], resample=2)
    gemma_tokenizer().save_pretrained(tmp_path)
    tokenizer = transformers.Siglip2Tokenizer.from_pretrained(tmp_path)
    labels = ["This is a photo of A Cat.", "two dogs"]
    ids = tokenizer(labels, padding="max_length", truncation=True, max_length=16, return_tensors="np")
    images = SiglipProcessor.from_pretrained(tmp_path)(photos).pixel_values
    with torch.no_grad():  # such a folder masks padding, as no published one does
        mask = torch.from_numpy(ids["attention_mask"])
        pixels, tokens = torch.from_numpy(images), torch.from_numpy(ids["input_ids"])
        expected = theirs(tokens, pixels, attention_mask=mask).logits_per_image
    result = Embedder.from_pretrained(tmp_path).classify(photos, labels, prompt="{}")
    assert_close(result, torch.sigmoid(expected).numpy(), relative=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "siglip"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ["a cat"], "apply_exif_orientaton": True}, "do you mean 'apply_exif_orientation'"),
        ({"text": ["a cat"], "images": None, "do_rezise": False}, "do you mean 'do_resize'"),
        ({"text": ["a cat"], "images": None, "do_resize": "no"}, "do_resize is 'no'"),
        ({"text": ["a cat"], "colour": 1}, "there is no option 'colour'; there are: add_special_tokens"),
        ({"padding": "longest"}, "padding is 'longest'"),
    ],
)
def test_options_of_a_processor_are_not_swallowed(options, message, pair_folder, photos):
    processor = SiglipProcessor.from_pretrained(pair_folder)
    with pytest.raises(ConfigError, match=message):
        processor(**({"images": photos} | options))


def test_arrays_that_are_none_are_told(pair_folder, naflex_folder):
    model, naflex = (
        SiglipModel.from_pretrained(pair_folder),
        Siglip2VisionModel.from_pretrained(naflex_folder),
    )
    patches = np.zeros((2, 4, naflex.config.patch_features), np.float32)
    with pytest.raises(ImageError, match="pixel_values is no array: its parts differ in length"):
        model.vision_model([[1.0], [1.0, 2.0]])
    with pytest.raises(ImageError, match="spatial_shapes is no array"):
        naflex(patches, None, [[1, 1], [1]])
    with pytest.raises(ImageError, match="pixel_attention_mask is no array"):
        naflex(patches, [[1], [1, 2]], [[1, 1], [1, 1]])
    with pytest.raises(ConfigError, match="logits is no array"):
        model.probabilities([[1], [1, 2]])
    with pytest.raises(ConfigError, match="logits has dtype"):
        model.probabilities([["a"]])
    assert model.probabilities([[0, -1000]]).tolist() == [[0.5, 0.0]]
