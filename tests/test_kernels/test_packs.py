"""Compiled code that travels: packs for a level of instructions, and what may not be run."""

from __future__ import annotations

import itertools
import json
import os
import shutil

import pytest
from helpers.embedding_process import START_OF_OPERATIONS, run_python

from numpy_siglip.kernels.machine.instruction_level import LEVELS, instruction_level
from numpy_siglip.kernels.machine.processor import architecture

LOWEST = LEVELS[architecture()][0].name

MAKE = """
from pathlib import Path
from numpy_siglip.kernels.machine.compilation import compiling_only
from numpy_siglip.kernels.machine.instruction_level import compiling_for, level_of_name
from numpy_siglip.kernels.machine.packs import making_pack
runtime = Runtime(threads=1)
with compiling_for(level_of_name(sys.argv[2])), making_pack(Path(sys.argv[1])), compiling_only():
    compute()
"""
USE = """
from numpy_siglip.kernels.machine.compilation import KERNELS
runtime = Runtime(threads=1)
bits = compute().hex()
print(bits, *(sum(kernel.cache_statistics()[i] for kernel in KERNELS) for i in (0, 1)))
"""


def _make(folder, level: str) -> None:
    result = run_python(START_OF_OPERATIONS + MAKE, folder, level)
    assert result.returncode == 0, result.stderr


def _use(pack, **environment: str) -> tuple[str, int, int, str]:
    """What is computed with a pack, how many kernels were read and compiled, and what was logged."""
    result = run_python(
        START_OF_OPERATIONS + USE, environment={"NUMPY_SIGLIP_KERNELS": str(pack), **environment}
    )
    assert result.returncode == 0, result.stderr
    bits, read, compiled = result.stdout.split()
    return bits, int(read), int(compiled), result.stderr


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "lowest"
    _make(folder, LOWEST)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


def test_with_a_pack_of_its_level_nothing_is_compiled(pack, cache, tmp_path):
    """In a copy that cannot be written to, and with no other place for compiled code."""
    expected = _use("", **cache)
    copy = shutil.copytree(pack, tmp_path / "copy")
    for file in copy.iterdir():
        file.chmod(0o444)
    copy.chmod(0o555)
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    environment = {
        "NUMPY_SIGLIP_LEVEL": LOWEST,
        "HOME": str(nowhere),
        "NUMBA_CACHE_DIR": str(nowhere / "cache"),
    }
    bits, read, compiled, logged = _use(f"{os.pathsep}{copy}", **environment)
    assert (read, compiled) == (2, 0)
    assert bits == expected[0]
    assert logged == ""


def test_a_pack_beside_the_sources_is_found(pack, cache, tmp_path):
    from helpers.repository import copy_of_the_package

    package = copy_of_the_package(tmp_path)
    environment = {"PYTHONPATH": str(tmp_path), "NUMPY_SIGLIP_LEVEL": LOWEST, **cache}
    where = "import numpy_siglip; print(numpy_siglip.__file__)"
    shutil.copytree(pack, package / "kernels" / "compiled")
    result = run_python(START_OF_OPERATIONS + USE + where, environment=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    _, read, compiled, place = result.stdout.split()
    assert place.startswith(str(tmp_path))
    assert (int(read), int(compiled)) == (2, 0)


def test_a_pack_for_another_level_is_never_run(pack, cache, tmp_path):
    if instruction_level().name != LOWEST:
        _, _, _, logged = _use(pack, **cache)
        assert f"it was made for level {LOWEST}" in logged
    highest = LEVELS[architecture()][-1].name  # which this processor may not even be able to run
    _make(tmp_path / "highest", highest)
    environment = {"NUMPY_SIGLIP_LEVEL": LOWEST, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    _, read, compiled, logged = _use(tmp_path / "highest", **environment)
    assert (read, compiled) == (0, 2)
    assert f"it was made for level {highest}" in logged
    # Even where its description lies, no file is of use: their names tell.
    description = tmp_path / "highest" / "pack.json"
    description.write_text(description.read_text().replace(highest, LOWEST))
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "another")
    assert _use(tmp_path / "highest", **environment)[1:3] == (0, 2)


@pytest.mark.parametrize("what", ["missing", "no description", "no JSON", "other", "writable"])
def test_packs_that_are_not_used_are_named(what, pack, cache, tmp_path):
    copy = shutil.copytree(pack, tmp_path / "copy")
    description = copy / "pack.json"
    if what == "missing":
        shutil.rmtree(copy)
    elif what == "no description":  # as of one that is not finished
        description.unlink()
    elif what == "no JSON":
        description.write_text("[1")
    elif what == "other":
        description.write_text(json.dumps({**json.loads(description.read_text()), "numba": "0.1"}))
    else:
        copy.chmod(0o777)
    environment = {"NUMPY_SIGLIP_LEVEL": LOWEST, **cache}
    reasons = {"missing": "No such file", "no description": "No such file", "no JSON": "cannot be read",
               "other": "made for numba 0.1", "writable": "others may write to it"}  # fmt: skip
    _, _, _, logged = _use(copy, **environment)
    assert logged.count(f"the compiled kernels in {copy} are not used") == 1
    assert reasons[what] in logged


def test_settings_of_numba_that_change_code_are_part_of_its_name(pack):
    environment = {
        "NUMPY_SIGLIP_LEVEL": LOWEST,
        "NUMBA_OPT": "1",
        "NUMBA_CACHE_DIR": str(pack.parent / "opt"),
    }
    assert _use(pack, **environment)[1:3] == (0, 2)


@pytest.mark.parametrize("name", ["x86-64-v9", LEVELS[architecture()][-1].name])
def test_levels_that_cannot_be_run_are_refused(name):
    from numpy_siglip.kernels.machine.processor import features_of_the_processor

    possible = {
        level.name for level in LEVELS[architecture()] if level.features <= features_of_the_processor()
    }
    code = "from numpy_siglip import SiglipVisionModel, ConfigError\n" + (
        "try:\n    SiglipVisionModel.from_pretrained('emoji')\nexcept ConfigError as error:\n    print(error)"
    )
    result = run_python(code, environment={"NUMPY_SIGLIP_LEVEL": name})
    assert result.returncode == 0, result.stderr
    assert (name in result.stdout) == (name not in possible)


def test_the_levels_of_an_architecture_rise():
    for levels in LEVELS.values():
        names = [level.name for level in levels]
        assert len(set(names)) == len(names)
        for lower, higher in itertools.pairwise(levels):
            assert lower.features != higher.features
            assert not higher.features < lower.features
