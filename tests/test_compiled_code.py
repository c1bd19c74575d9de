"""What is compiled is kept on disk, found again and never mistaken; and what runs without a compiler."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.embedding_process import PATIENCE, START_OF_OPERATIONS, output_of, run_python, toy_images
from helpers.fuzzing import mutated_bytes
from helpers.repository import copy_of_the_package

from numpy_siglip import SiglipError, SiglipVisionModel
from numpy_siglip.kernels.machine.compilation import KERNELS
from numpy_siglip.kernels.machine.instruction_level import instruction_level
from numpy_siglip.kernels.machine.kept_files import (
    DamagedFileError,
    read_whole,
    why_not_to_trust,
    write_whole,
)


def test_a_second_process_compiles_nothing(toy_folder, tmp_path):
    code = """
embed()
from numpy_siglip.kernels.machine.compilation import KERNELS
print(*(sum(kernel.cache_statistics()[i] for kernel in KERNELS) for i in (0, 1)))
print("numba.np.linalg" in sys.modules)
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    read, compiled, loaded = output_of(code, toy_folder, environment=environment).split()
    assert int(read) == 0
    assert int(compiled) > 0
    assert loaded == "True"
    # Kernels that are called by another one only are part of its code.
    read_again, compiled_again, loaded = output_of(code, toy_folder, environment=environment).split()
    assert int(compiled_again) == 0
    assert 5 < int(read_again) <= int(compiled)
    assert loaded == "False"  # what only compiling takes costs time and memory


def _output(code: str, **options) -> str:
    return output_of(code, start=START_OF_OPERATIONS, **options)


def test_processes_that_fill_an_empty_cache_at_once(tmp_path):
    code = START_OF_OPERATIONS + "print(compute() == compute())"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [process.communicate(timeout=PATIENCE)[0].strip() for process in processes] == ["True"] * 3
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".kernel"]


def test_a_damaged_cache_is_compiled_anew(tmp_path):
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    expected = _output("print(compute().hex())", environment=environment)
    for number, file in enumerate(tmp_path.rglob("*.kernel")):
        file.write_bytes(file.read_bytes()[: 100 * number])
    assert _output("print(compute().hex())", environment=environment) == expected


def test_code_of_another_version_is_not_used_and_removed(tmp_path):
    """A copy of the package whose source differs in one part of a kernel."""
    package = copy_of_the_package(tmp_path)
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    code = "import numpy_siglip; print(numpy_siglip.__file__, compute().hex())"
    place, before = _output(code, environment=environment, cwd=tmp_path).split()
    assert place.startswith(str(tmp_path))
    files = set(_files_of_code(tmp_path / "cache"))
    gelu = package / "kernels" / "rows" / "gelu.py"
    gelu.write_text(gelu.read_text().replace("CUBIC_TERM = 0.044715", "CUBIC_TERM = 0.05"))
    after = _output(code, environment=environment, cwd=tmp_path).split()[1]
    assert after != before
    assert not files & set((tmp_path / "cache").rglob("*.kernel"))


def test_no_place_for_compiled_code(tmp_path):
    """As in a read-only package with a read-only home: it runs, and says so in one line.

    Permissions mean nothing to root, as whom containers run tests; files where folders would have to be
    stop root too.
    """
    package = copy_of_the_package(tmp_path)
    for file in (package / "kernels").rglob("__init__.py"):
        file.with_name("__pycache__").write_text("in the way")
    (tmp_path / "home").write_text("in the way")
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
    }
    code = START_OF_OPERATIONS + "import numpy_siglip; print(numpy_siglip.__file__, compute() == compute())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    place, same = result.stdout.split()
    assert place.startswith(str(tmp_path))
    assert same == "True"
    lines = [line for line in result.stderr.splitlines() if "compiled kernels cannot be kept" in line]
    assert len(lines) == 1, result.stderr
    assert "NUMBA_CACHE_DIR" in lines[0]


def test_a_cache_folder_that_fills_up_or_closes_later(tmp_path):
    """Found writable when a kernel is first used, not when its code is written."""
    code = """
from numpy_siglip.kernels.machine import compilation
from pathlib import Path
def full(self, data):
    raise OSError(28, "No space left on device")
Path.write_bytes = full
print(compute() == compute())
"""
    result = run_python(START_OF_OPERATIONS + code, environment={"NUMBA_CACHE_DIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "True"
    assert result.stderr.count("No space left on device") == 1
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".kernel"]


def _on_a_terminal(code: str, environment: dict[str, str]) -> str:
    """What a process shows whose standard error is a terminal."""
    ours, its = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=its
    )
    os.close(its)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(PATIENCE) == 0, shown
    return shown.decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminal can be made here")
def test_a_line_on_the_terminal_says_what_is_compiled(tmp_path):
    code = START_OF_OPERATIONS + "compute()"
    shown = _on_a_terminal(code, {"NUMBA_CACHE_DIR": str(tmp_path)})
    lines = [line.strip() for line in shown.split("\r")]
    assert len(lines) > 10
    for kernel in ("normalize_rows", "activate_elements"):
        assert any(f"compiling {kernel} for {instruction_level().name}" in line for line in lines), lines
    assert lines[-1] == ""  # wiped out
    assert "\n" not in shown
    assert _on_a_terminal(code, {"NUMBA_CACHE_DIR": str(tmp_path)}) == ""


# --------------------------------------------------------------------- files of compiled code are run


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory):
    """A folder with the code of two operations. Not to be written to."""
    folder = tmp_path_factory.mktemp("cache")
    _compute_with(folder)
    return folder


def _files_of_code(folder):
    """Without those of the kernel that helpers call, who may not come to it before the process ends."""
    return sorted(file for file in folder.rglob("*.kernel") if not file.name.startswith("threads."))


def _compute_with(folder, **options):
    """Whether two results are equal, what was logged, and how many kernels were read and compiled."""
    code = """
import logging
logging.getLogger("numpy_siglip").setLevel(logging.INFO)
logging.basicConfig(level=logging.INFO, format="%(message)s")
same = compute() == compute()
from numpy_siglip.kernels.machine.compilation import KERNELS
statistics = [kernel.cache_statistics() for kernel in KERNELS if kernel.__name__ != "_wait_for_bell"]
print(same, sum(read for read, _ in statistics), sum(compiled for _, compiled in statistics))
"""
    result = run_python(START_OF_OPERATIONS + code, environment={"NUMBA_CACHE_DIR": str(folder)}, **options)
    assert result.returncode == 0, result.stderr
    same, read, compiled = result.stdout.split()
    assert same == "True"
    return int(read), int(compiled), result.stderr


def test_files_of_code_are_read_again_and_nobody_else_may_write_them(filled_cache):
    files = _files_of_code(filled_cache)
    assert files
    assert all(file.stat().st_mode & 0o022 == 0 for file in files)
    read, compiled, _ = _compute_with(filled_cache)
    assert (read, compiled) == (len(files), 0)


@pytest.mark.parametrize("damage", ["flip", "cut", "pickle that runs", "pickle of another shape"])
def test_files_that_are_not_what_was_written_are_compiled_anew(damage, filled_cache, tmp_path):
    folder = shutil.copytree(filled_cache, tmp_path / "cache")
    files = _files_of_code(folder)
    generator = np.random.default_rng(len(damage))
    for file in files:
        content = bytearray(file.read_bytes())
        place = int(generator.integers(len(content)))
        if damage == "flip":
            content[place] ^= 1 << int(generator.integers(8))
        elif damage == "cut":
            del content[place:]
        elif damage == "pickle that runs":  # without a digest
            content = bytearray(b"cos\nsystem\n(S'echo it was run >&2'\ntR.")
        else:
            write_whole(file, pickle.dumps({"another": "shape"}), file.with_suffix(".new"))
            continue
        file.write_bytes(content)
    read, compiled, logged = _compute_with(folder)
    assert (read, compiled) == (0, len(files)), logged
    assert "it was run" not in logged
    assert logged.count("compiled anew") == len(files)
    assert _compute_with(folder)[:2] == (len(files), 0)  # what was damaged has been replaced


@pytest.mark.parametrize("cases", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_no_damage_gets_past_the_digest(cases, filled_cache, tmp_path):
    content = max(filled_cache.rglob("*.kernel"), key=lambda file: file.stat().st_size).read_bytes()
    file = tmp_path / "a.kernel"
    generator = np.random.default_rng(0)
    for _ in range(cases):
        changed = mutated_bytes(generator, content)
        if changed == content:
            continue
        file.write_bytes(changed)
        with pytest.raises(DamagedFileError):
            read_whole(file)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_others_may_write_is_not_used(what, filled_cache, tmp_path):
    folder = shutil.copytree(filled_cache, tmp_path / "cache")
    files = _files_of_code(folder)
    for path in {file.parent for file in files} if what == "folder" else files:
        path.chmod(0o777)
    read, compiled, logged = _compute_with(folder)
    assert (read, compiled) == (0, len(files))
    assert logged.count("others may write to it") == 1
    assert "compiled kernels cannot be kept on disk" in logged


def test_what_belongs_to_another_user_is_not_used(tmp_path, monkeypatch):
    file, source = tmp_path / "a.kernel", tmp_path / "source"
    file.touch()
    source.mkdir()
    stat = os.stat
    assert why_not_to_trust(file, source) == ""

    def of_another(path, **options):
        fields = list(stat(path, **options))
        if path == file:
            fields[4] = 777
        return os.stat_result(fields)

    monkeypatch.setattr(os, "stat", of_another)
    assert why_not_to_trust(file, source) == "it belongs to another user"


def test_without_jit(toy_folder):
    """Plain Python gives the same numbers, up to roundings."""
    code = """
import numba
assert numba.config.DISABLE_JIT
outputs = model(images), model(images, output_attentions=True)  # all layers in one call, and layer by layer
np.save(sys.argv[2], [output.pooler_output for output in outputs])
"""
    output = toy_folder.parent / "without_jit.npy"
    output_of(code, toy_folder, output, environment={"NUMBA_DISABLE_JIT": "1"})
    expected = SiglipVisionModel.from_pretrained(toy_folder)(toy_images()).pooler_output
    for pooled in np.load(output):
        np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_the_numpy_backend_needs_no_numba(toy_folder):
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None  # as if they were not installed
import numpy as np
from numpy_siglip import SiglipError, SiglipVisionModel
model = SiglipVisionModel.from_pretrained(sys.argv[1], backend="numpy")
model(np.zeros((1, 3, 44, 44), np.float32))
try:
    SiglipVisionModel.from_pretrained(sys.argv[1])
except SiglipError as error:
    print(error)
"""
    result = run_python(code, toy_folder)
    assert result.returncode == 0, result.stderr
    assert "pip install numba" in result.stdout
    assert 'backend="numpy"' in result.stdout
    assert issubclass(SiglipError, ValueError)


def test_every_kernel_of_a_model_is_kept_on_disk(toy_folder):
    SiglipVisionModel.from_pretrained(toy_folder)(toy_images())
    used = [kernel for kernel in KERNELS if sum(kernel.cache_statistics())]
    assert len(used) > 5
    for kernel in used:
        assert type(kernel.dispatcher._cache).__name__ == "KernelCache", kernel
