"""What ``classify`` and ``similarity`` print, when they print it, and of which models."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import numpy as np
import pytest
from helpers.command_runs import error_line, run
from helpers.toy_models import NAFLEX_TOY, TOY, transformers_naflex_classifier, transformers_vision_model
from PIL import Image

from numpy_siglip import Embedder, SiglipError, SiglipForImageClassification, SiglipImageProcessor
from numpy_siglip.preprocessing.prompt_sets import PROMPT_SETS

LABELS = ["a cat", "a dog", "a bicycle"]


def _json(capsys, *arguments):
    assert run("classify", *arguments, "--json", "--quiet") == 0
    return json.loads(capsys.readouterr().out)


# ---------------------------------------------------------------------------------------- classifiers


def test_a_classifier_shows_its_own_labels(classifier_folder, photos, capsys):
    shown = _json(capsys, *photos, "--model", classifier_folder)
    model = SiglipForImageClassification.from_pretrained(classifier_folder)
    pixels = SiglipImageProcessor.from_pretrained(classifier_folder)(photos)
    logits = model(**pixels).logits.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for entry, row in zip(shown, expected, strict=True):
        assert {one["label"] for one in entry["labels"]} == {"cat", "dog", "bicycle"}
        numbers = {name: number for number, name in model.config.id2label.items()}
        for one in entry["labels"]:
            assert one["probability"] == pytest.approx(row[numbers[one["label"]]], abs=1e-5)


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification"])
def test_several_labels_may_be_right(problem, classifier_folder, photos, tmp_path, capsys):
    folder = shutil.copytree(classifier_folder, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": problem}))
    total = sum(one["probability"] for one in _json(capsys, photos[0], "--model", folder)[0]["labels"])
    assert (abs(total - 1) < 1e-5) == (problem == "single_label_classification")


def test_a_naflex_classifier(naflex_folder, photos, tmp_path, capsys):
    transformers_naflex_classifier(labels=("cat", "dog"), **NAFLEX_TOY).save_pretrained(tmp_path)
    shutil.copy(naflex_folder / "preprocessor_config.json", tmp_path)
    shown = _json(capsys, photos[0], "--model", tmp_path)
    assert sorted(one["label"] for one in shown[0]["labels"]) == ["cat", "dog"]
    assert run("inspect", "--model", tmp_path) == 0
    assert "classifies images into 2: cat, dog" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--labels", "a"], ["--prompt", "a {}"], ["--softmax"]])
def test_a_classifier_takes_no_other_labels(option, classifier_folder, photos, capsys):
    assert run("classify", photos[0], "--model", classifier_folder, *option) == 2
    assert "a classifier of labels of its own, which reads no texts; leave" in error_line(capsys)


def test_a_model_without_labels_needs_some(pair_folder, photos, capsys):
    assert run("classify", photos[0], "--model", pair_folder) == 2
    assert 'knows no labels of its own; name some: --labels "a cat, a dog"' in error_line(capsys)


# --------------------------------------------------------------------------------- prompts and softmax


def test_several_prompts_are_averaged(pair_folder, photos, capsys):
    embedder = Embedder.from_pretrained(pair_folder)
    prompts = ["a photo of {}", "a drawing of {}"]
    each = [embedder.embed_texts([prompt.replace("{}", label) for label in LABELS]) for prompt in prompts]
    mean = np.mean(each, axis=0, dtype=np.float64)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed_labels(LABELS, prompt=prompts), mean, atol=1e-6)
    expected = embedder.classify(photos, LABELS, prompt=prompts)
    shown = _json(
        capsys, *photos, "--model", pair_folder, "--labels", ", ".join(LABELS), "--prompt", prompts[0],
        "--prompt", prompts[1],
    )  # fmt: skip
    for entry, row in zip(shown, expected, strict=True):
        found = {one["label"]: one["probability"] for one in entry["labels"]}
        np.testing.assert_array_equal([found[label] for label in LABELS], row.astype(np.float64))


def test_prompts_of_clip_have_names(pair_folder, photos):
    assert [len(PROMPT_SETS[name]) for name in ("clip-7", "clip-80")] == [7, 80]
    assert set(PROMPT_SETS["clip-7"]) < set(PROMPT_SETS["clip-80"])
    assert all(prompt.count("{}") == 1 for prompt in PROMPT_SETS["clip-80"])
    embedder = Embedder.from_pretrained(pair_folder)
    by_name = embedder.classify(photos[0], LABELS, prompt="clip-7")
    one_by_one = embedder.classify(photos[0], LABELS, prompt=list(PROMPT_SETS["clip-7"]))
    np.testing.assert_array_equal(by_name, one_by_one)


def test_labels_that_exclude_one_another(pair_folder, photos, capsys):
    embedder = Embedder.from_pretrained(pair_folder)
    alone = embedder.classify(photos, LABELS).astype(np.float64)
    odds = alone / (1 - alone)  # e to the power of the logits
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.classify(photos, LABELS, softmax=True), expected, rtol=1e-4)
    shown = _json(capsys, photos[0], "--model", pair_folder, "--labels", ", ".join(LABELS), "--softmax")
    assert sum(one["probability"] for one in shown[0]["labels"]) == pytest.approx(1, abs=1e-6)


def test_one_string_is_several_labels(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    np.testing.assert_array_equal(
        embedder.classify(photos, "a cat, a dog ,a bicycle"), embedder.classify(photos, LABELS)
    )


# ------------------------------------------------------------------------------------------- output


def test_a_table(pair_folder, photos, tmp_path, capsys):
    odd = tmp_path / 'a "quoted", name.jpg'
    shutil.copy(photos[0], odd)
    arguments = [odd, photos[1], "--model", pair_folder, "--quiet"]
    assert run("classify", *arguments, "--labels", ", ".join(LABELS), "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["image"] for row in rows] == [str(odd)] * 3 + [str(photos[1])] * 3
    expected = np.sort(Embedder.from_pretrained(pair_folder).classify([odd], LABELS)[0])[::-1]
    np.testing.assert_array_equal(np.float32([row["probability"] for row in rows[:3]]), expected)
    assert run("similarity", *arguments, "--text", "a cat", "--csv") == 0
    assert capsys.readouterr().out.splitlines()[0] == "image,text,cosine,probability"


def test_each_image_is_shown_as_soon_as_its_batch_is_done(pair_folder, photos, monkeypatch, capsys):
    printed = []
    embed_inputs = Embedder.embed_inputs

    def watching(*arguments, **options):
        printed.append(capsys.readouterr().out)
        return embed_inputs(*arguments, **options)

    monkeypatch.setattr(Embedder, "embed_inputs", watching)
    for form in ([], ["--json"], ["--csv"]):
        printed.clear()
        arguments = [*photos[:3], "--model", pair_folder, "--labels", "a cat", "--batch-size", 1, *form]
        assert run("classify", *arguments) == 0
        printed.append(capsys.readouterr().out)
        seen = ["".join(printed[: count + 1]) for count in range(4)]
        for count, text in enumerate(seen):
            assert [str(photo) in text for photo in photos[:3]] == [number < count for number in range(3)]
        if form == ["--json"]:
            assert len(json.loads(seen[-1])) == 3


def test_names_that_no_line_can_show_are_sound_json(pair_folder, photos, tmp_path, capsys):
    odd = tmp_path / "a\x85\u2028\x1b.jpg"
    shutil.copy(photos[0], odd)
    folder = tmp_path / "b"
    folder.mkdir()
    shutil.copy(photos[0], folder / "c\x9b.jpg")
    shown = _json(capsys, folder / "c\x9b.jpg", "--model", pair_folder, "--labels", "a cat")
    assert shown[0]["image"] == str(folder / "c\x9b.jpg")


# --------------------------------------------------------------------------- told before it takes long


@pytest.mark.parametrize("library", ["sentencepiece", "tokenizers"])
@pytest.mark.parametrize("command", ["classify", "similarity"])
def test_a_library_that_is_missing_is_told_before_weights_are_read(
    library, command, pair_folder, naflex_pair_folder, photos, monkeypatch, capsys
):
    folder = pair_folder if library == "sentencepiece" else naflex_pair_folder
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(Embedder, "from_pretrained", lambda *_, **__: pytest.fail("weights were read"))
    texts = ["--labels", "a"] if command == "classify" else ["--text", "a"]
    assert run(command, photos[0], "--model", folder, *texts) == 2
    advice = 'is not installed, and reads it: pip install "numpy-siglip[text]"'
    assert error_line(capsys).endswith(f"{library} {advice}")


# ----------------------------------------------------------------------------------- what is embedded


def test_the_mean_of_tokens_for_towers_without_a_head(photos, tmp_path, naflex_folder, capsys):
    transformers_vision_model(**{**TOY, "vision_use_head": False}).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "SiglipImageProcessor", "size": {"height": 44, "width": 44}})
    )
    embedder = Embedder.from_pretrained(tmp_path, pooling="mean")
    found = embedder.embed_images(photos, normalize=False)
    output = embedder.model(**embedder.processor(photos))
    np.testing.assert_allclose(found, output.last_hidden_state.mean(axis=1), rtol=1e-4, atol=1e-5)
    assert (
        run("embed", *photos, "--model", tmp_path, "--pooling", "mean", "--output", tmp_path / "o.npy") == 0
    )
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), found)
    assert run("embed", *photos, "--model", tmp_path, "--output", tmp_path / "p.npy") == 2
    assert "--pooling mean" in capsys.readouterr().err
    naflex = Embedder.from_pretrained(naflex_folder, pooling="mean")
    images = [np.zeros((50, 20, 3), np.uint8), photos[0]]
    together = naflex.embed_images(images)
    assert together.tobytes() == np.concatenate([naflex.embed_images([image]) for image in images]).tobytes()
    with pytest.raises(SiglipError, match="leave pooling out"):
        naflex.embed_texts(["a cat"])


def test_a_table_of_embeddings(toy_folder, photos, tmp_path):
    assert run("embed", *photos, "--model", toy_folder, "--output", tmp_path / "o.csv") == 0
    assert run("embed", *photos, "--model", toy_folder, "--output", tmp_path / "o.npy") == 0
    rows = list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))
    assert rows[0] == ["path", *map(str, range(33))]
    assert [row[0] for row in rows[1:]] == [str(photo) for photo in photos]
    np.testing.assert_array_equal(np.float32([row[1:] for row in rows[1:]]), np.load(tmp_path / "o.npy"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["o.csv", "o.npy", "o.paths.txt"]


def test_what_is_passed_over_and_asks_to_be_turned_is_told(toy_folder, photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    (folder / "thumbs").mkdir(parents=True)
    for name in ("a.nef", "b.NEF", "c.svg", "notes.txt"):
        (folder / name).touch()
    with Image.open(photos[0]) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(folder / "turned.jpg", exif=exif)
        picture.save(folder / "thumbs" / "small.jpg")
    arguments = [
        "embed",
        folder,
        "--model",
        toy_folder,
        "--output",
        tmp_path / "o.npy",
        "--exclude",
        "thumbs",
    ]
    assert run(*arguments) == 0
    error = capsys.readouterr().err
    assert "passed over 3 files: 2 .nef (convert them" in error
    assert "asks to turn them: 1 image; --apply-exif-orientation turns" in error
    assert len(np.load(tmp_path / "o.npy")) == 1
    plain = np.load(tmp_path / "o.npy")
    assert run(*arguments, "--apply-exif-orientation") == 0
    assert "asks to turn" not in capsys.readouterr().err
    assert not np.array_equal(np.load(tmp_path / "o.npy"), plain)


def test_larger_images_are_allowed_on_request(toy_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("1", (30, 20)).save(tmp_path / "a.png")
    arguments = ["embed", tmp_path / "a.png", "--model", toy_folder, "--output", tmp_path / "o.npy"]
    assert run(*arguments) == 1
    assert "--max-pixels" in capsys.readouterr().err
    assert run(*arguments, "--max-pixels", 600) == 0


@pytest.mark.parametrize("command", ["quantize", "validate"])
def test_images_that_cannot_be_read_are_skipped(command, toy_folder, photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(photos[0], folder)
    (folder / "z.png").write_text("no image")
    arguments = [folder / "z.png", photos[0], "--model", toy_folder]
    if command == "quantize":
        arguments = [toy_folder, "--images", folder, "--output", tmp_path / "q"]
    assert run(command, *arguments) == 1
    assert f"numpy-siglip: skipped: {folder / 'z.png'}: not an image" in capsys.readouterr().err


def test_a_folder_is_no_image_to_be_drawn(toy_folder, photos, tmp_path, capsys):
    assert run("visualize", photos[0].parent, "--model", toy_folder, "--output", tmp_path / "v") == 2
    assert "a folder; name one image in it" in error_line(capsys)
