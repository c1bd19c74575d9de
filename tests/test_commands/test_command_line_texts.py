"""Texts on the command line: classify, similarity, and embed --text."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.command_runs import error_line, run
from helpers.embedding_process import PATIENCE
from helpers.toy_models import TOY, TOY_TEXT, save_image_processor, transformers_full_model
from helpers.toy_vocabularies import write_siglip_tokenizer

from numpy_siglip import Embedder, SiglipProcessor, SiglipTextModel

# ---------------------------------------------------------------------------------------------- classify


def test_classify_gives_the_probabilities_of_transformers(photos, tmp_path, capsys):
    theirs = transformers_full_model(text_config={**TOY_TEXT, "max_position_embeddings": 64}, **TOY)
    theirs.save_pretrained(tmp_path)
    save_image_processor(tmp_path, TOY["image_size"])
    write_siglip_tokenizer(tmp_path)
    labels = ["a cat", "a dog", "a bicycle"]
    assert run("classify", *photos, "--labels", ", ".join(labels), "--model", tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["image"] for entry in report] == [str(photo) for photo in photos]
    pipeline = transformers.pipeline(
        "zero-shot-image-classification",
        model=theirs,
        tokenizer=transformers.SiglipTokenizer.from_pretrained(tmp_path),
        image_processor=transformers.SiglipImageProcessorPil.from_pretrained(tmp_path),
    )
    for photo, entry in zip(photos, report, strict=True):
        expected = pipeline(str(photo), candidate_labels=labels)
        assert [label["label"] for label in entry["labels"]] == [result["label"] for result in expected]
        for ours, result in zip(entry["labels"], expected, strict=True):
            assert ours["probability"] == pytest.approx(result["score"], rel=1e-5)


def test_classify_is_readable(pair_folder, photos, capsys):
    assert (
        run("classify", photos[0], "--labels", "a cat,a dog , bike", "--model", pair_folder, "--top", 2) == 0
    )
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[0] == str(photos[0])
    assert len(lines) == 3
    row = Embedder.from_pretrained(pair_folder).classify(photos[:1], ["a cat", "a dog", "bike"])[0]
    best = int(row.argmax())
    assert lines[1] == f"{row[best]:>10.4g}  {['a cat', 'a dog', 'bike'][best]}"
    assert float(lines[1].split()[0]) >= float(lines[2].split()[0])


def test_labels_and_prompts_come_from_where_they_are_named(pair_folder, photos, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("a cat, sleeping\n\n  a dog\r\n", encoding="utf-8")
    arguments = ["classify", photos[0], "--model", pair_folder, "--json"]
    assert run(*arguments, "--labels-file", tmp_path / "labels.txt", "--prompt", "{}!") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    labels = ["a cat, sleeping", "a dog"]
    found = {label["label"]: label["probability"] for label in entry["labels"]}
    expected = Embedder.from_pretrained(pair_folder).classify(photos[:1], labels, prompt="{}!")[0]
    assert found == dict(zip(labels, map(float, expected), strict=True))


def test_classify_skips_bad_images_and_says_so(pair_folder, photos, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    assert run("classify", bad, photos[0], "--labels", "a cat", "--model", pair_folder, "--json") == 1
    captured = capsys.readouterr()
    assert [entry["image"] for entry in json.loads(captured.out)] == [str(photos[0])]
    assert captured.err.startswith(f"numpy-siglip: skipped: {bad}")
    assert run("classify", bad, "--labels", "a cat", "--model", pair_folder, "--json") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert "no image was embedded" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", " , "], "labels names no label"),
        (["--labels-file", "empty.txt"], "empty.txt: holds no text"),
        (["--labels-file", "missing.txt"], "missing.txt: cannot be read (No such file or directory)"),
        (["--labels-file", "latin.txt"], "latin.txt: not text in UTF-8"),
        (["--labels", "a", "--prompt", "a photo"], "prompt is 'a photo'"),
    ],
)
def test_wrong_labels_are_one_error(arguments, message, pair_folder, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert run("classify", photos[0], *arguments, "--model", pair_folder) == 2
    assert message in error_line(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "a.jpg", "--model", "m", "--labels", "a", "--json", "--csv"],
        ["classify", "a.jpg", "--model", "m", "--labels", "a", "--labels-file", "b"],
        ["classify", "a.jpg", "--model", "m", "--labels", "a", "--top", "0"],
        ["classify", "a.jpg", "--model", "m", "--labels", "a", "--top", "9" * 5000],
        ["similarity", "a.jpg", "--model", "m"],
        ["similarity", "a.jpg", "--model", "m", "--text"],
        ["embed", "--model", "m", "--output", "o.npy", "--text", "a", "--text-file", "b"],
    ],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        run(*arguments)
    assert exit_info.value.code == 2
    assert "usage: numpy-siglip" in capsys.readouterr().err


def test_a_model_that_knows_no_texts_is_told(toy_folder, pair_folder, photos, tmp_path, capsys):
    assert run("classify", photos[0], "--labels", "a", "--model", toy_folder) == 2
    assert "nor a model with one in its text_config" in error_line(capsys)
    for file in pair_folder.iterdir():
        if file.name != "spiece.model":
            shutil.copy(file, tmp_path)
    assert run("classify", photos[0], "--labels", "a", "--model", tmp_path) == 2
    assert "put the model's tokenizer beside its weights" in error_line(capsys)


# ------------------------------------------------------------------------------ similarity, embed --text


def test_similarity_gives_cosines_and_probabilities(pair_folder, pair_model, photos, capsys):
    texts = ["a cat", "two dogs"]
    arguments = ["similarity", *photos, "--model", pair_folder, "--text", *texts]
    assert run(*arguments, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    inputs = SiglipProcessor.from_pretrained(pair_folder)(images=photos, text=texts)
    with torch.no_grad():
        expected = pair_model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    cosines = (expected.image_embeds @ expected.text_embeds.T).numpy()
    probabilities = torch.sigmoid(expected.logits_per_image).numpy()
    for row, entry in enumerate(report):
        by_text = {found["text"]: found for found in entry["texts"]}
        found = np.array([[by_text[text]["cosine"], by_text[text]["probability"]] for text in texts])
        np.testing.assert_allclose(found[:, 0], cosines[row], rtol=0, atol=1e-6)  # they run from -1 to 1
        assert_close(found[:, 1], probabilities[row], relative=1e-5, same_dtype=False)
    assert run(*arguments, "--top", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(photos[0])
    assert len(lines) == 2 * len(photos)
    best = max(report[0]["texts"], key=lambda found: found["cosine"])
    assert lines[1].split()[:2] == [f"{best['cosine']:.4g}", f"{best['probability']:.4g}"]
    assert lines[1].endswith(f"  {best['text']}")


def test_embed_writes_texts(pair_folder, tmp_path, capsys):
    output = tmp_path / "out.npy"
    texts = ["A photo of a cat.", "猫"]
    arguments = ["embed", "--model", pair_folder, "--output", output]
    assert run(*arguments, "--text", *texts) == 0
    assert (
        error_line(capsys) == f"2 embeddings of 33 numbers in {output}, texts in {tmp_path / 'out.texts.txt'}"
    )
    ids = SiglipProcessor.from_pretrained(pair_folder)(text=texts).input_ids
    expected = SiglipTextModel.from_pretrained(pair_folder)(ids).pooler_output
    np.testing.assert_array_equal(np.load(output), expected)
    assert (tmp_path / "out.texts.txt").read_text(encoding="utf-8").splitlines() == texts
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    assert run(*arguments, "--text-file", tmp_path / "texts.txt", "--normalize", "--quiet") == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(np.linalg.norm(np.load(output), axis=1), 1, rtol=1e-6)
    assert not (tmp_path / "out.paths.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name image files, or texts"),
        (["a.jpg", "--text", "a"], "and not both"),
        (["--text", "a\nb"], "text 1 is empty or has a line break"),
        (["--text", "a", ""], "text 2 is empty or has a line break"),
    ],
)
def test_what_cannot_be_embedded_is_one_error(arguments, message, pair_folder, tmp_path, capsys):
    output = tmp_path / "o.npy"
    assert run("embed", "--model", pair_folder, "--output", output, *arguments) == 2
    assert message in error_line(capsys)
    assert not output.exists()


def test_texts_are_embedded_without_the_vision_tower(pair_folder, tmp_path):
    """Nor are Pillow, torch and transformers imported."""
    code = (
        "import sys\n"
        "from numpy_siglip.commands.command_line import main\n"
        "model, output = sys.argv[1:]\n"
        "status = main(['embed', '--text', 'a cat', '--quiet', '--model', model, '--output', output])\n"
        "print(status, {'PIL', 'torch', 'transformers', 'numpy_siglip.model.vision'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pair_folder, tmp_path / "o.npy"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout == "0 set()\n", done.stderr
