"""The command line, in this process for speed and in its own where that is what is tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from comparison import assert_close
from PIL import Image
from safetensors.numpy import load_file, save_file

import numpy_siglip
from numpy_siglip import Embedder, load_image
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


def test_every_command_takes_a_naflex_model(naflex_folder, photos, tmp_path, capsys):
    output, missing = tmp_path / "out.npy", tmp_path / "missing.jpg"
    assert _run("embed", photos[0], missing, photos[1], "--model", naflex_folder, "--output", output) == 1
    expected = Embedder.from_pretrained(naflex_folder).embed_images(photos[:2], normalize=False)
    np.testing.assert_array_equal(np.load(output), expected)
    capsys.readouterr()
    assert _run("inspect", "--model", naflex_folder, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config"]["model_type"] == "siglip2_vision_model"
    assert (report["tokens"], report["tensors"][0]["shape"]) == (16, [33, 363])
    assert _run("inspect", "--model", naflex_folder) == 0
    assert _run("validate", *photos, "--model", naflex_folder) == 0
    assert "equal: every stage" in capsys.readouterr().out
    assert _run("visualize", photos[0], "--model", naflex_folder, "--output", tmp_path / "pictures") == 0


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
    embed_inputs = Embedder.embed_inputs
    calls = []

    def interrupted_on_the_third(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed_inputs(self, *arguments, **options)

    monkeypatch.setattr(Embedder, "embed_inputs", interrupted_on_the_third)
    output = tmp_path / "o.npy"
    assert _run("embed", *photos, "--model", toy_folder, "--output", output, "--batch-size", 1) == 130
    assert len(np.load(output)) == 2
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photo) for photo in photos[:2]]
    assert "interrupted after 2 of 4 images" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_nothing_half_written(toy_folder, photos, tmp_path):
    """A limit on the size of files stands for the full disk; it lets the list through and not the array."""
    resource = pytest.importorskip("resource")
    (tmp_path / "o.npy").write_bytes(b"from before")
    result = _process(
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
    assert _run("embed", photos[0], "--model", tmp_path / "none", "--output", tmp_path / output) == 2
    assert message in _error(capsys)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(photos, tmp_path, monkeypatch, capsys):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied", "/some/temporary/name")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    assert _run("embed", photos[0], "--model", "./none", "--output", tmp_path / "o.npy") == 2
    assert _error(capsys) == (
        f"numpy-siglip: error: {tmp_path / 'o.npy'}: cannot be written (Permission denied)"
    )


def test_embed_an_empty_folder(toy_folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _run("embed", tmp_path / "empty", "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert _error(capsys) == f"numpy-siglip: error: no image files in {tmp_path / 'empty'}"


def test_embed_reports_what_it_cannot_reach_and_goes_on(toy_folder, photos, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to("nowhere")
    too_long, url = "n" * 300, "https://example.com/a.jpg"
    images = [too_long, folder, url, photos[0]]
    assert _run("embed", *images, "--model", toy_folder, "--output", tmp_path / "o.npy") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"numpy-siglip: skipped: {too_long}: cannot be read (File name too long)"
    assert lines[1] == (
        f"numpy-siglip: skipped: {folder / 'link.jpg'}: a link to nowhere, which is not there"
    )
    assert lines[2].startswith(f"numpy-siglip: skipped: {url}: a URL, which is not fetched")
    assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photos[0])]


def test_embed_an_empty_name(toy_folder, tmp_path, capsys):
    assert _run("embed", "", "--model", toy_folder, "--output", tmp_path / "o.npy") == 2
    assert "an image's name is empty" in _error(capsys)


@pytest.mark.parametrize("line_break", "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_names_that_would_be_two_lines_of_the_list_are_refused(
    line_break, toy_folder, photos, tmp_path, capsys
):
    for name in (f"a{line_break}b.jpg", f"end.jpg{line_break}"):
        odd = shutil.copy(photos[0], tmp_path / name)
        arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet")
        assert _run("embed", odd, photos[1], *arguments) == 1
        assert "a line break in its name" in _error(capsys)
        assert (tmp_path / "o.paths.txt").read_text().splitlines() == [str(photos[1])]


def test_control_characters_of_a_name_stay_in_their_line(toy_folder, tmp_path, capsys):
    odd = tmp_path / "new\nline and \x1b[31mred.jpg"
    assert _run("embed", odd, "--model", odd, "--output", tmp_path / "o.npy") == 2
    assert _error(capsys).endswith(r"new\nline and \x1b[31mred.jpg: no such file or folder")
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
    assert _run("embed", *images, "--model", folder, "--output", tmp_path / "o.npy", "--quiet") == 1
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
    assert _run(command, photos[0], "--model", folder, "--output", output) == 2
    assert _error(capsys).startswith(f"numpy-siglip: error: {folder}: the results are not finite")
    assert not output.exists()


def test_large_photographs_are_read_without_a_warning(toy_folder, photos, tmp_path, monkeypatch, capsys):
    """Pillow warns of 90 megapixels, and refuses only 180; here its limit is lowered."""
    width, height = load_image(photos[0]).size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", width * height - 1)
    arguments = ("--model", toy_folder, "--output", tmp_path / "o.npy", "--quiet")
    assert _run("embed", photos[0], *arguments) == 0
    assert capsys.readouterr() == ("", "")


def test_other_warnings_are_one_line(toy_folder, photos, tmp_path, monkeypatch, capsys):
    def warns(*_, **__):
        warnings.warn("something\nodd", UserWarning, stacklevel=1)
        return {}

    monkeypatch.setattr("numpy_siglip.inspection.inspect_model", warns)
    monkeypatch.setattr("numpy_siglip.inspection.format_report", lambda _: "report")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert _run("inspect", "--model", toy_folder) == 0
    assert _error(capsys) == r"numpy-siglip: warning: something\nodd"


def test_too_little_memory_is_one_error(toy_folder, monkeypatch, capsys):
    def fails(*_, **__):
        np.empty((10**7, 10**7))

    monkeypatch.setattr("numpy_siglip.inspection.inspect_model", fails)
    assert _run("inspect", "--model", toy_folder) == 2
    assert _error(capsys).startswith("numpy-siglip: error: not enough memory: Unable to allocate")


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


@pytest.mark.parametrize("tolerance", ["nan", "-1", "inf"])
def test_validate_refuses_a_tolerance_that_means_nothing(tolerance, toy_folder, capsys):
    assert _run("validate", "--model", toy_folder, f"--tolerance={tolerance}") == 2
    assert "it must be a number that is not negative" in _error(capsys)


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


@pytest.mark.parametrize("size", ["0", "-1", "2.5", "eight", "99999999999999999999999", "9" * 5000])
def test_batch_size_must_be_a_sensible_number(size, toy_folder, capsys):
    with pytest.raises(SystemExit) as caught:
        _run("embed", "a.jpg", "--model", toy_folder, "--output", "o.npy", f"--batch-size={size}")
    assert caught.value.code == 2
    assert "is not a positive whole number of images" in capsys.readouterr().err


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


def _shell(command: str) -> subprocess.CompletedProcess:
    script = f"{sys.executable} -m numpy_siglip {command}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)


def test_closed_streams_are_no_traceback(toy_folder, photos, tmp_path):
    result = _shell("inspect --published >&-")
    assert result.returncode == 2
    assert result.stderr == "numpy-siglip: error: standard output is closed, and the result goes there\n"
    embed = f"embed {photos[0]} {photos[1]} --model {toy_folder} --output {tmp_path / 'o.npy'}"
    assert _shell(f"{embed} >&-").returncode == 0
    assert _shell(f"{embed} 2>&-").returncode == 0
    assert len(np.load(tmp_path / "o.npy")) == 2
    assert _shell("inspect --model ./none 2>&-").stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_full_disk_behind_standard_output_is_one_error():
    result = _shell("inspect --published > /dev/full")
    assert result.returncode == 2
    assert result.stderr == "numpy-siglip: error: standard output: No space left on device\n"


def test_names_that_the_terminal_cannot_show_are_escaped(toy_folder, tmp_path):
    folder = shutil.copytree(toy_folder, tmp_path / "katze-\u732b-\x1b[31m")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = _process("inspect", "--model", folder, env=environment)
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == rf"{tmp_path}/katze-\u732b-\x1b[31m"


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


def test_warmup_says_what_was_done_and_where(capsys, tmp_path):
    command = [sys.executable, "-m", "numpy_siglip", "warmup"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    texts = [
        subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=True
        ).stderr
        for _ in range(2)
    ]
    (compiled,) = re.findall(rf"^(\d+) kernels compiled and 0 read in .* s; kept in {tmp_path}", texts[0])
    assert int(compiled) > 10
    assert texts[1].startswith(f"0 kernels compiled and {compiled} read in ")


def test_after_a_warmup_nothing_is_compiled(toy_folder, photos, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "numpy_siglip", "warmup"], env=environment, timeout=300, check=True)
    before = set(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "numpy_siglip", "visualize", photos[0], "--model", toy_folder]
    pictures = tmp_path.parent / "pictures"
    subprocess.run([*command, "--output", pictures], env=environment, timeout=300, check=True)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1025"])
def test_impossible_numbers_of_threads_are_usage_errors(threads, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["embed", "a.jpg", "--model", "m", "--output", "o.npy", "--threads", threads])
    assert "threads from 1 to 1024" in capsys.readouterr().err


def test_backend_and_threads_are_chosen(toy_folder, photos, tmp_path):
    results = []
    for name, options in {"a": ["--threads", 1], "b": ["--backend", "numpy"]}.items():
        output = tmp_path / f"{name}.npy"
        assert _run("embed", photos[0], "--model", toy_folder, "--output", output, *options) == 0
        results.append(np.load(output))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(*results)
