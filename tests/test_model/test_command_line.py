"""The command line, in this process for speed and in its own where that is what is tested."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from comparison import assert_close
from PIL import Image

import numpy_siglip
from numpy_siglip import Embedder
from numpy_siglip.command_line import main


def _run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def _error(capsys) -> str:
    """The single line on standard error."""
    captured = capsys.readouterr().err.splitlines()
    assert len(captured) == 1, captured
    return captured[0]


# ------------------------------------------------------------------------------------------- embed


def test_embed_gives_what_transformers_gives(toy_folder, toy_model, photos, tmp_path):
    """The main job: photographs in, the embeddings of transformers out."""
    output = tmp_path / "out.npy"
    assert _run("embed", *photos, "--model", toy_folder, "--output", output) == 0
    processor = transformers.SiglipImageProcessorPil.from_pretrained(toy_folder)
    inputs = processor([Image.open(photo) for photo in photos], return_tensors="pt")
    with torch.no_grad():
        expected = toy_model(**inputs).pooler_output.numpy()
    assert_close(np.load(output), expected, relative=1e-5)
    assert (tmp_path / "out.paths.txt").read_text().splitlines() == [str(photo) for photo in photos]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "out.paths.txt"]


def test_embed_options(toy_folder, photos, tmp_path):
    embedder = Embedder.from_pretrained(toy_folder)
    expected = embedder.embed_images(photos, batch_size=3)
    arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--normalize", "--batch-size", 3)
    assert _run("embed", *photos, *arguments) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), expected)


def test_embed_searches_folders_in_order(toy_folder, photos, tmp_path):
    tree = tmp_path / "tree"
    (tree / "b").mkdir(parents=True)
    for name in ("z.jpg", "b/a.JPG"):
        shutil.copy(photos[0], tree / name)
    (tree / "notes.txt").write_text("not an image")
    assert _run("embed", tree, photos[1], "--model", toy_folder, "--output", tmp_path / "o.npy") == 0
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
    status = _run("embed", photos[0], bad, missing, photos[1], "--model", toy_folder, "--output", output)
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
    assert _run("embed", bad, "--model", toy_folder, "--output", tmp_path / "o.npy") == 1
    assert "nothing was written" in capsys.readouterr().err
    assert (tmp_path / "o.npy").read_bytes() == b"from before"


def test_embed_keeps_what_is_done_when_interrupted(toy_folder, photos, tmp_path, monkeypatch, capsys):
    embed_pixel_values = Embedder.embed_pixel_values
    calls = []

    def interrupted_on_the_third(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed_pixel_values(self, *arguments, **options)

    monkeypatch.setattr(Embedder, "embed_pixel_values", interrupted_on_the_third)
    output = tmp_path / "o.npy"
    assert _run("embed", *photos, "--model", toy_folder, "--output", output, "--batch-size", 1) == 130
    assert len(np.load(output)) == 2
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photo) for photo in photos[:2]]
    assert "interrupted after 2 of 4 images" in capsys.readouterr().err


def test_embed_leaves_nothing_half_written(toy_folder, photos, tmp_path, monkeypatch, capsys):
    def full_disk(stream, array):
        stream.write(b"half")
        raise OSError(28, "No space left on device", "o.npy")

    monkeypatch.setattr(np, "save", full_disk)
    assert _run("embed", photos[0], "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert "No space left on device" in _error(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "message"), [("o.npz", "must be called something.npy"), ("no/o.npy", "no such folder")]
)
def test_embed_looks_at_the_output_before_it_works(output, message, toy_folder, photos, tmp_path, capsys):
    assert _run("embed", photos[0], "--model", toy_folder, "--output", tmp_path / output) == 2
    assert message in _error(capsys)


def test_embed_an_empty_folder(toy_folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _run("embed", tmp_path / "empty", "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert _error(capsys) == f"numpy-siglip: error: no image files in {tmp_path / 'empty'}"


def test_embed_refuses_a_tower_without_head(toy_folder, photos, tmp_path, capsys):
    folder = shutil.copytree(toy_folder, tmp_path / "headless")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vision_use_head": False}))
    assert _run("embed", photos[0], "--model", folder, "--output", tmp_path / "o.npy") == 2
    assert "no pooling head" in _error(capsys)


def test_quiet_says_nothing(toy_folder, photos, tmp_path, capsys):
    assert _run("embed", photos[0], "--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------- inspect, validate, errors


def test_inspect_tells_where_every_tensor_lies(toy_model, tmp_path, capsys):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert _run("inspect", "--model", tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    parameters = dict(toy_model.named_parameters())
    assert report["parameters"] == sum(value.numel() for value in parameters.values())
    assert report["tokens"] == 16
    assert {tensor["name"] for tensor in report["tensors"]} == set(parameters)
    assert sum(cost["flops"] for cost in report["operations"].values()) == report["flops"]
    for tensor in report["tensors"]:
        with Path(tensor["file"]).open("rb") as stream:
            stream.seek(tensor["offset"])
            first = np.frombuffer(stream.read(4), np.float32)[0]
        assert first == parameters[tensor["name"]].detach().numpy().ravel()[0], tensor["name"]


def test_inspect_is_readable(toy_folder, capsys):
    assert _run("inspect", "--model", toy_folder) == 0
    text = capsys.readouterr().out
    for piece in (
        "hidden_size           33",
        "tokens per image      16",
        "GFLOP",
        "head.probe",
        "1 x 1 x 33",
    ):
        assert piece in text


def test_published_table(capsys):
    assert _run("inspect", "--published", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert table[0]["repository"] == "google/siglip-base-patch16-224"
    assert _run("inspect", "--published") == 0
    assert capsys.readouterr().out.count("\n") == len(table) + 2


def test_validate_finds_equality(toy_folder, photos, capsys):
    assert _run("validate", "--model", toy_folder) == 0
    assert _run("validate", photos[0], "--model", toy_folder) == 0
    text = capsys.readouterr().out
    assert text.count("equal: every stage is within 0.0001 of transformers") == 2
    assert text.count("\nencoder/layers/01/attention/weights ") == 2  # at the start of a line: a stage's row
    assert "\npixel_values" in text


def test_validate_fails_at_a_tolerance_of_nothing(toy_folder, capsys):
    assert _run("validate", "--model", toy_folder, "--tolerance", 0) == 1
    assert "not equal: the first stage beyond 0 is " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["embed", "inspect", "validate", "visualize"])
def test_errors_are_one_line_and_status_2(command, photos, tmp_path, capsys):
    images = [] if command == "inspect" else [photos[0]]
    output = {"embed": ["--output", tmp_path / "o.npy"], "visualize": ["--output", tmp_path / "p"]}
    assert _run(command, *images, "--model", tmp_path / "none", *output.get(command, [])) == 2
    assert _error(capsys) == f"numpy-siglip: error: {tmp_path / 'none'}: no such file or folder"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["embed"], ["embed", "a.jpg"], ["inspect"], ["fly"]])
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: numpy-siglip" in capsys.readouterr().err


def test_batch_size_must_be_positive(toy_folder, capsys):
    with pytest.raises(SystemExit):
        _run("embed", "a.jpg", "--model", toy_folder, "--output", "o.npy", "--batch-size", "0")
    assert "'0' is not a positive whole number" in capsys.readouterr().err


def _process(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "numpy_siglip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_version_and_help_of_the_process():
    assert _process("--version").stdout == f"numpy-siglip {numpy_siglip.__version__}\n"
    for command in ("embed", "inspect", "validate", "visualize"):
        result = _process(command, "--help")
        assert result.returncode == 0
        assert "--model" in result.stdout


def test_help_imports_nothing_heavy():
    """What makes --help answer at once: argparse, and not even NumPy."""
    code = (
        "import sys\nfrom numpy_siglip.command_line import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'numpy', 'PIL', 'safetensors', 'torch', 'numba', 'tqdm', 'matplotlib'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_leaves_is_no_error(toy_folder):
    script = f"{sys.executable} -m numpy_siglip inspect --model {toy_folder} | head -n 1"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_the_process_embeds_without_torch(toy_folder, photos, tmp_path):
    """An import hook forbids what users of this package need not install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Forbid:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'torch', 'transformers', 'scipy', 'matplotlib'}:\n"
        "            raise ModuleNotFoundError('forbidden', name=name)\n"
        "sys.meta_path.insert(0, Forbid())\n"
    )
    result = _process(
        *("embed", photos[0], "--model", toy_folder, "--output", tmp_path / "o.npy"),
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "o.npy").shape == (1, 33)
    assert _process("validate", "--model", toy_folder, env={"PYTHONPATH": str(tmp_path)}).stderr == (
        "numpy-siglip: error: torch is not installed, and validation compares with it: pip install "
        '"numpy-siglip[validate]" (on Linux install the CPU build of torch first)\n'
    )
