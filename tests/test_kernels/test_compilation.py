"""Where a file of `kernels` lies must not matter to what makes, names and keeps compiled code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.embedding_process import PATIENCE
from helpers.repository import copy_of_the_package

from numpy_siglip.kernels.machine.compilation import KERNELS, kernel

# A kernel and an instruction two folders further down.
OPERATION = """
from ...machine.compilation import instruction, kernel

@instruction
def tripled(x):
    raise RuntimeError("the Python body runs")

@kernel
def triple(x):
    return tripled(x)
"""
EMISSION = """
from llvmlite import ir
from numba.extending import intrinsic

@intrinsic
def tripled(typing_context, x):
    def code(context, builder, signature, arguments):
        return builder.fmul(arguments[0], ir.Constant(arguments[0].type, 3.0))
    return x(x), code
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of the package as it is installed, with files in a folder of a folder of its kernels."""
    copy = copy_of_the_package(tmp_path)
    deep = copy / "kernels" / "deep" / "deeper"
    deep.mkdir(parents=True)
    for folder in (deep.parent, deep):
        (folder / "__init__.py").write_text("")
    (deep / "triple.py").write_text(OPERATION)
    (deep / "triple_emission.py").write_text(EMISSION)
    return copy


def _run(code: str, package: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "NUMBA_CACHE_DIR": str(package.parent / "cache"),
    }
    result = subprocess.run(
        [sys.executable, "-c", f"import numpy_siglip; print(numpy_siglip.__file__); {code}"],
        env=environment,
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    place, answer = result.stdout.splitlines()
    assert Path(place).parent == package
    return answer


DIGEST = "from numpy_siglip.kernels.machine.sources import source_digest; print(source_digest())"
TRIPLE = "from numpy_siglip.kernels.deep.deeper.triple import triple; "


def test_an_edit_in_any_folder_changes_the_digest(package):
    seen = {_run(DIGEST, package)}
    files = [file for file in sorted((package / "kernels").rglob("*.py")) if file.parent.name != "kernels"]
    assert files
    for file in files[-3:]:
        file.write_text(file.read_text() + "\n# one more line\n")
        seen.add(_run(DIGEST, package))
    files[-1].rename(files[-1].with_name("quadruple.py"))
    seen.add(_run(DIGEST, package))
    assert len(seen) == 5


def test_an_edit_in_a_folder_makes_its_code_stale(package):
    """Compiled, kept, read; then an edit of the file beside the kernel's own, and it is compiled anew."""
    statistics = f"{TRIPLE}print(triple(2.0), *triple.cache_statistics())"
    assert _run(statistics, package) == "6.0 0 1"
    assert _run(statistics, package) == "6.0 1 0"
    emission = package / "kernels" / "deep" / "deeper" / "triple_emission.py"
    emission.write_text(EMISSION.replace("3.0", "5.0"))
    assert _run(statistics, package) == "10.0 0 1"


def test_kernels_in_folders_are_known_and_those_of_others_are_not(package):
    known = f"from numpy_siglip.kernels.machine.compilation import KERNELS; {TRIPLE}print(triple in KERNELS)"
    assert _run(known, package) == "True"

    @kernel
    def elsewhere(x):
        return x

    assert elsewhere not in KERNELS


def test_an_instruction_is_emitted_by_the_file_beside_its_own(package):
    assert _run(f"{TRIPLE}print(triple(2.0))", package) == "6.0"
