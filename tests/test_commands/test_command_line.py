"""The command line, in this process for speed and in its own where that is what is tested."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.command_runs import error_line, process, run
from helpers.embedding_process import PATIENCE

import numpy_siglip
from numpy_siglip.commands.command_line import main


@pytest.mark.parametrize("command", ["embed", "inspect", "validate", "visualize"])
def test_errors_are_one_line_and_status_2(command, photos, tmp_path, capsys):
    images = [] if command == "inspect" else [photos[0]]
    output = {"embed": ["--output", tmp_path / "o.npy"], "visualize": ["--output", tmp_path / "p"]}
    assert run(command, *images, "--model", tmp_path / "none", *output.get(command, [])) == 2
    assert error_line(capsys) == f"numpy-siglip: error: {tmp_path / 'none'}: no such file or folder"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [[], ["embed"], ["embed", "a.jpg"], ["inspect", "--published", "--model", "m"], ["fly"]]
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: numpy-siglip" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["0", "-1", "2.5", "eight", "99999999999999999999999", "9" * 5000])
def test_batch_size_must_be_a_sensible_number(size, toy_folder, capsys):
    with pytest.raises(SystemExit) as caught:
        run("embed", "a.jpg", "--model", toy_folder, "--output", "o.npy", f"--batch-size={size}")
    assert caught.value.code == 2
    assert "is not a positive whole number" in capsys.readouterr().err


def test_version_and_help_of_the_process():
    assert process("--version").stdout == f"numpy-siglip {numpy_siglip.__version__}\n"
    for command in ("embed", "classify", "similarity", "inspect", "validate", "visualize"):
        result = process(command, "--help")
        assert result.returncode == 0
        assert "--model" in result.stdout


def test_help_imports_nothing_heavy():
    """What makes --help answer at once: argparse, and not even NumPy."""
    code = (
        "import sys\nfrom numpy_siglip.commands.command_line import main\n"
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
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


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
    result = process("inspect", "--model", folder, env=environment)
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
    result = process(
        *("embed", photos[0], "--model", toy_folder, "--output", tmp_path / "o.npy"),
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "o.npy").shape == (1, 33)
    assert process("validate", "--model", toy_folder, env={"PYTHONPATH": str(tmp_path)}).stderr == (
        "numpy-siglip: error: torch is not installed, and validation compares with it: pip install "
        '"numpy-siglip[validate]" (on Linux install the CPU build of torch first)\n'
    )


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory):
    """An empty cache that a warm-up has filled, and what it said."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, _warmup(cache)


def _warmup(cache):
    command = [sys.executable, "-m", "numpy_siglip", "warmup"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stderr


def test_warmup_says_what_was_done_and_where(warm_cache):
    cache, said = warm_cache
    (compiled,) = re.findall(rf"^(\d+) kernels compiled and 0 read in .* s; kept in {cache}", said)
    assert int(compiled) > 10
    assert _warmup(cache).startswith(f"0 kernels compiled and {compiled} read in ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--level", "x86-64-v3"], "name a folder by --output"),
        (["--level", "x86-64-v9", "--output", "pack"], "there is no level 'x86-64-v9'"),
        (["--output", "file/pack"], "file/pack: Not a directory"),
    ],
)
def test_a_pack_that_cannot_be_made(options, message, tmp_path):
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "numpy_siglip", "warmup", *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_after_a_warmup_nothing_is_compiled(warm_cache, toy_folder, photos, tmp_path):
    cache, _ = warm_cache
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    before = set(cache.rglob("*"))
    assert before
    command = [sys.executable, "-m", "numpy_siglip", "visualize", photos[0], "--model", toy_folder]
    subprocess.run([*command, "--output", tmp_path], env=environment, timeout=PATIENCE, check=True)
    assert set(cache.rglob("*")) == before


@pytest.mark.parametrize("threads", ["0", "-1", "many", "1025"])
def test_impossible_numbers_of_threads_are_usage_errors(threads, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["embed", "a.jpg", "--model", "m", "--output", "o.npy", "--threads", threads])
    assert "threads from 1 to 1024" in capsys.readouterr().err


def test_backend_and_threads_are_chosen(toy_folder, photos, tmp_path):
    results = []
    for name, options in {"a": ["--threads", 1], "b": ["--backend", "numpy"]}.items():
        output = tmp_path / f"{name}.npy"
        assert run("embed", photos[0], "--model", toy_folder, "--output", output, *options) == 0
        results.append(np.load(output))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(*results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended_leaves_nothing_half_written(number, toy_folder, tmp_path, monkeypatch):
    def end(stream, *_):
        stream.write(b"half")
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr("numpy_siglip.checkpoints.saving.write_safetensors", end)
    assert run("convert", toy_folder, tmp_path / "out") == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("arguments", [["convert"], ["visualize", "a.png", "--output"]])
def test_a_folder_without_a_name_is_refused(arguments, toy_folder, tmp_path, monkeypatch, capsys):
    """As it happens with a variable that is not set; nothing goes into the current folder."""
    monkeypatch.chdir(tmp_path)
    command, *rest = arguments
    model = [toy_folder] if command == "convert" else []
    with pytest.raises(SystemExit) as caught:
        run(command, *model, *rest, "", *([] if model else ["--model", toy_folder]))
    assert caught.value.code == 2
    assert "the name of the folder is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/sub", "link/sub"])
def test_what_cannot_be_made_a_folder_is_told(place, toy_folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert run("convert", toy_folder, tmp_path / place) == 2
    assert "is in its way; name another" in error_line(capsys)
