"""``numpy-siglip embed`` on image files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import warnings

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.command_runs import error_line, process, run
from PIL import Image
from safetensors.numpy import load_file, save_file

from numpy_siglip import Embedder, load_image
from numpy_siglip.commands.command_line import main


def test_embed_gives_what_transformers_gives(toy_folder, toy_model, photos, tmp_path):
    """The main job: photographs in, the embeddings of transformers out."""
    output = tmp_path / "out.npy"
    assert run("embed", *photos, "--model", toy_folder, "--output", output) == 0
    processor = transformers.SiglipImageProcessorPil.from_pretrained(toy_folder)
    inputs = processor([Image.open(photo) for photo in photos], return_tensors="pt")
    with torch.no_grad():
        expected = toy_model(**inputs).pooler_output.numpy()
    assert_close(np.load(output), expected, relative=1e-5)
    assert (tmp_path / "out.paths.txt").read_text().splitlines() == [str(photo) for photo in photos]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "out.paths.txt"]


def test_every_command_takes_a_naflex_model(naflex_folder, photos, tmp_path, capsys):
    output, missing = tmp_path / "out.npy", tmp_path / "missing.jpg"
    assert run("embed", photos[0], missing, photos[1], "--model", naflex_folder, "--output", output) == 1
    expected = Embedder.from_pretrained(naflex_folder).embed_images(photos[:2], normalize=False)
    np.testing.assert_array_equal(np.load(output), expected)
    capsys.readouterr()
    assert run("inspect", "--model", naflex_folder, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config"]["model_type"] == "siglip2_vision_model"
    assert (report["tokens"], report["tensors"][0]["shape"]) == (16, [33, 363])
    assert run("inspect", "--model", naflex_folder) == 0
    assert run("validate", *photos, "--model", naflex_folder) == 0
    assert "equal: every stage" in capsys.readouterr().out
    assert run("visualize", photos[0], "--model", naflex_folder, "--output", tmp_path / "pictures") == 0


def test_embed_options(toy_folder, photos, tmp_path):
    embedder = Embedder.from_pretrained(toy_folder)
    expected = embedder.embed_images(photos, batch_size=3)
    arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--normalize", "--batch-size", 3)
    assert run("embed", *photos, *arguments) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)


def test_embed_searches_folders_in_order(toy_folder, photos, tmp_path):
    tree = tmp_path / "tree"
    (tree / "b").mkdir(parents=True)
    for name in ("z.jpg", "b/a.JPG"):
        shutil.copy(photos[0], tree / name)
    (tree / "notes.txt").write_text("not an image")
    assert run("embed", tree, photos[1], "--model", toy_folder, "--output", tmp_path / "o.npy") == 0
    listed = (tmp_path / "o.paths.txt").read_text().splitlines()
    assert listed == [str(tree / "b" / "a.JPG"), str(tree / "z.jpg"), str(photos[1])]
    rows = np.load(tmp_path / "o.npy")
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-4)
    assert np.abs(rows[0] - rows[2]).max() > 1e-2


def test_embed_skips_bad_images_and_says_so(toy_folder, photos, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(photos[0].read_bytes()[:2000])
    missing = tmp_path / "missing.png"
    output = tmp_path / "o.npy"
    status = run("embed", photos[0], bad, missing, photos[1], "--model", toy_folder, "--output", output)
    assert status == 1
    assert len(np.load(output)) == 2
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photos[0]), str(photos[1])]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"numpy-siglip: skipped: {bad}: ")
    assert lines[1] == f"numpy-siglip: skipped: {missing}: no such file"
    assert lines[2].startswith("2 embeddings of 33 numbers in ")


def test_embed_writes_nothing_if_every_image_is_bad(toy_folder, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    (tmp_path / "o.npy").write_bytes(b"from before")
    assert run("embed", bad, "--model", toy_folder, "--output", tmp_path / "o.npy") == 1
    assert "nothing was written" in capsys.readouterr().err
    assert (tmp_path / "o.npy").read_bytes() == b"from before"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_embed_keeps_what_is_done_when_interrupted(
    signal_number, suffix, toy_folder, photos, tmp_path, monkeypatch, capsys
):
    """Beside a finished result, which is never replaced by a part of one."""
    output = tmp_path / f"o{suffix}"
    assert run("embed", *photos, "--model", toy_folder, "--output", output) == 0
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    embed_inputs = Embedder.embed_inputs
    calls = []

    def interrupted_on_the_third(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal_number)
            time.sleep(10)
        return embed_inputs(self, *arguments, **options)

    monkeypatch.setattr(Embedder, "embed_inputs", interrupted_on_the_third)
    arguments = ["embed", *photos, "--model", toy_folder, "--output", output, "--batch-size", 1]
    assert run(*arguments) == 128 + signal_number
    partial = tmp_path / f"o.partial{suffix}"
    if suffix == ".npy":
        assert len(np.load(partial)) == 2
        listed = (tmp_path / "o.partial.paths.txt").read_text().splitlines()
        assert listed == [str(photo) for photo in photos[:2]]
    else:
        assert len(partial.read_text().splitlines()) == 1 + 2
    error = capsys.readouterr().err
    assert "interrupted after 2 of 4 images" in error
    assert f"2 embeddings of 33 numbers in {partial}" in error
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_disk_that_fills_up_leaves_nothing_half_written(toy_folder, photos, tmp_path):
    """A limit on the size of files stands for the full disk; it lets the list through and not the array."""
    resource = pytest.importorskip("resource")
    (tmp_path / "o.npy").write_bytes(b"from before")
    result = process(
        *("embed", *photos, "--model", toy_folder, "--output", "o.npy", "--quiet"),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
    )
    assert result.returncode == 2
    assert result.stderr == "numpy-siglip: error: o.npy: cannot be written (File too large)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["o.npy"]
    assert (tmp_path / "o.npy").read_bytes() == b"from before"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("o.npz", "must be called something.npy"),
        ("no/o.npy", "no such folder"),
        ("folder.npy", "folder.npy: cannot be written (a folder of this name is in the way)"),
        ("listed.npy", "listed.paths.txt: cannot be written (a folder of this name is in the way)"),
        ("n" * 300 + ".npy", ".npy: cannot be written (File name too long)"),
    ],
)
def test_embed_looks_at_the_output_before_it_works(output, message, photos, tmp_path, capsys):
    """Even before it opens the model, which here is not there."""
    for folder in ("folder.npy", "listed.paths.txt"):
        (tmp_path / folder).mkdir()
    assert run("embed", photos[0], "--model", tmp_path / "none", "--output", tmp_path / output) == 2
    assert message in error_line(capsys)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(photos, tmp_path, monkeypatch, capsys):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", "/some/temporary/name")

    monkeypatch.setattr("numpy_siglip.common.atomic_write._make_staging", denied)
    assert run("embed", photos[0], "--model", "./none", "--output", tmp_path / "o.npy") == 2
    assert error_line(capsys) == (
        f"numpy-siglip: error: {tmp_path / 'o.npy'}: cannot be written (Permission denied)"
    )


def test_embed_an_empty_folder(toy_folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("embed", tmp_path / "empty", "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert error_line(capsys) == f"numpy-siglip: error: no image files in {tmp_path / 'empty'}"


def test_embed_reports_what_it_cannot_reach_and_goes_on(toy_folder, photos, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to("nowhere")
    too_long, url = "n" * 300, "https://example.com/a.jpg"
    images = [too_long, folder, url, photos[0]]
    assert run("embed", *images, "--model", toy_folder, "--output", tmp_path / "o.npy") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"numpy-siglip: skipped: {too_long}: cannot be read (File name too long)"
    assert lines[1] == (
        f"numpy-siglip: skipped: {folder / 'link.jpg'}: a link to nowhere, which is not there"
    )
    assert lines[2].startswith(f"numpy-siglip: skipped: {url}: a URL, which is not fetched")
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photos[0])]


def test_embed_an_empty_name(toy_folder, tmp_path, capsys):
    assert run("embed", "", "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert "an image's name is empty" in error_line(capsys)


@pytest.mark.parametrize("line_break", "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_names_that_would_be_two_lines_of_the_list_are_refused(
    line_break, toy_folder, photos, tmp_path, capsys
):
    for name in (f"a{line_break}b.jpg", f"end.jpg{line_break}"):
        odd = shutil.copy(photos[0], tmp_path / name)
        arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet")
        assert run("embed", odd, photos[1], *arguments) == 1
        assert "a line break in its name" in error_line(capsys)
        assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photos[1])]


def test_control_characters_of_a_name_stay_in_their_line(toy_folder, tmp_path, capsys):
    odd = tmp_path / "new\nline and \x1b[31mred.jpg"
    assert run("embed", odd, "--model", odd, "--output", tmp_path / "o.npy") == 2
    assert error_line(capsys).endswith(r"new\nline and \x1b[31mred.jpg: no such file or folder")
    with pytest.raises(SystemExit):
        main(["embed", "a.jpg", "--model", "m", "--output", "o.npy", "--\x1b[31mred"])
    assert capsys.readouterr().err.splitlines()[-1].endswith(r"unrecognized arguments: --\x1b[31mred")


def test_images_that_fit_no_model_are_skipped(toy_folder, photos, tmp_path, capsys):
    """With shortest_edge an image keeps its aspect, and only squares have the model's size."""
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 44}}))
    for name, size in (("square", (60, 60)), ("wide", (90, 60)), ("tall", (60, 90))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    images = sorted(tmp_path.glob("*.png"))
    assert run("embed", *images, "--model", folder, "--output", tmp_path / "o.npy", "--quiet") == 1
    lines = capsys.readouterr().err.splitlines()
    assert "tall.png: becomes 66 x 44 pixels" in lines[0]
    assert "wide.png: becomes 44 x 66 pixels" in lines[1]
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(tmp_path / "square.png")]


@pytest.mark.parametrize("command", ["embed", "visualize"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_are_not_finite_are_one_error(command, value, toy_folder, photos, tmp_path, capsys):
    """And no warning, which here would be an error of its own."""
    folder = shutil.copytree(toy_folder, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: np.full_like(tensor, value) for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    output = tmp_path / "o.npy"
    assert run(command, photos[0], "--model", folder, "--output", output) == 2
    assert error_line(capsys).startswith(f"numpy-siglip: error: {folder}: the results are not finite")
    assert not output.exists()


def test_large_photographs_are_read_without_a_warning(toy_folder, photos, tmp_path, monkeypatch, capsys):
    """Pillow warns of 90 megapixels, and refuses only 180; here its limit is lowered."""
    width, height = load_image(photos[0]).size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", width * height - 1)
    arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet")
    assert run("embed", photos[0], *arguments) == 0
    assert capsys.readouterr() == ("", "")


def test_other_warnings_are_one_line(toy_folder, photos, tmp_path, monkeypatch, capsys):
    def warns(*_, **__):
        warnings.warn("something\nodd", UserWarning, stacklevel=1)
        return {}

    monkeypatch.setattr("numpy_siglip.tools.inspection.inspect_model", warns)
    monkeypatch.setattr("numpy_siglip.tools.inspection.format_report", lambda _: "report")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("inspect", "--model", toy_folder) == 0
    assert error_line(capsys) == r"numpy-siglip: warning: something\nodd"


def test_too_little_memory_is_one_error(toy_folder, monkeypatch, capsys):
    def fails(*_, **__):
        np.empty((10**7, 10**7))

    monkeypatch.setattr("numpy_siglip.tools.inspection.inspect_model", fails)
    assert run("inspect", "--model", toy_folder) == 2
    assert error_line(capsys).startswith("numpy-siglip: error: not enough memory: Unable to allocate")


def test_embed_refuses_a_tower_without_head(toy_folder, photos, tmp_path, capsys):
    folder = shutil.copytree(toy_folder, tmp_path / "headless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vision_use_head": False}))
    assert run("embed", photos[0], "--model", folder, "--output", tmp_path / "o.npy") == 2
    assert "no pooling head" in error_line(capsys)


def test_quiet_says_nothing(toy_folder, photos, tmp_path, capsys):
    assert run("embed", photos[0], "--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
