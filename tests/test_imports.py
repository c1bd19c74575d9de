"""Who may import whom: one short list, read from the source, imports inside functions included.

Every line of a list may import what stands on the lines above it, and its own files one another; names on one
line do not know each other. A name that ends in ``.py`` is a file, ``.`` stands for all files beside the
folders, and any other name is a folder with all that is in it.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from helpers.imports import imports_of
from helpers.repository import REPOSITORY

KERNELS = [
    ["cost.py", "choices.py"],
    ["machine"],
    ["tiles"],
    ["rows"],
    ["products"],
    ["inputs", "attention"],
    ["layers"],
    ["backend.py", "catalogue"],
]
PACKAGE = [
    ["errors.py", "version.py"],
    ["common"],
    ["outputs.py"],
    ["checkpoints"],
    ["config"],
    ["weights", "preprocessing"],
    ["model"],
    ["embedding"],
    ["auto"],
    ["tools"],
    ["commands"],
    ["__main__.py"],
]
CHECKPOINTS = [["."], ["layouts"], ["description"]]


def _line_of(path: str, lines: list[list[str]]) -> tuple[int, str] | None:
    """The line on which a file or a module stands, and the name there that it belongs to."""
    for number, names in enumerate(lines):
        for name in names:
            is_it = path.removesuffix(".py") == name.removesuffix(".py") or path.startswith(f"{name}/")
            if is_it or (name == "." and "/" not in path):
                return number, name
    return None


def violations(root: Path, lines: list[list[str]], others: set[str]) -> list[str]:
    """What breaks the rules of a list; ``others`` are the folders that rules of their own are for."""
    found = []
    for one in imports_of(root):
        here, there = _line_of(one.file, lines), _line_of(one.target, lines)
        if one.file == "__init__.py" or not one.is_ours or one.target.partition("/")[0] in others:
            continue
        if here is None:
            found.append(f"{one.file} stands on no line")
        elif there is None:
            found.append(
                f"{one.file} imports {one.target.strip('.') or 'the package itself'}, which stands on no line"
            )
        elif there[0] > here[0] or (there[0] == here[0] and there[1] != here[1]):
            found.append(f"{one.file} imports {one.target}")
    return found


def circles(root: Path) -> list[str]:
    """Files that import one another in a circle."""
    graph: dict[str, set[str]] = {}
    for one in imports_of(root):
        graph.setdefault(one.file.removesuffix(".py"), set()).add(one.target)
    done: set[str] = set()
    found = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in graph.get(name, ()):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def foreign_imports(root: Path) -> list[str]:
    """Imports of `kernels` from outside: NumPy and Python itself for all, the compiler for a few."""
    found = []
    for one in imports_of(root):
        package = one.target.partition(".")[0]
        if one.is_ours or package in ("numpy", *sys.stdlib_module_names):
            continue
        makes_code = one.file.startswith("machine/") or one.file.endswith("_emission.py")
        if package not in ("numba", "llvmlite") or not makes_code:
            found.append(f"{one.file} imports {one.target}")
    return found


def test_kernels_import_along_the_list():
    assert violations(REPOSITORY / "kernels", KERNELS, others=set()) == []
    assert circles(REPOSITORY / "kernels") == []


def test_kernels_import_nothing_of_the_package_and_the_compiler_in_few_places():
    assert foreign_imports(REPOSITORY / "kernels") == []


def test_the_package_imports_along_the_list():
    assert violations(REPOSITORY / "numpy_siglip", PACKAGE, others={"kernels"}) == []
    assert circles(REPOSITORY / "numpy_siglip") == []


def test_checkpoints_import_along_their_own_list():
    root = REPOSITORY / "numpy_siglip" / "checkpoints"
    assert violations(root, CHECKPOINTS, others=set()) == []


def test_the_model_knows_no_preprocessing():
    for one in imports_of(REPOSITORY / "numpy_siglip"):
        assert not (one.file.startswith("model/") and one.target.startswith("preprocessing/")), one


def test_configurations_know_checkpoints_only_where_they_are_read_or_written():
    for one in imports_of(REPOSITORY / "numpy_siglip"):
        if one.file.startswith("config/") and one.target.startswith("checkpoints/"):
            assert one.function in ("from_pretrained", "save_pretrained") or one.for_types_alone, one


def test_benchmarks_import_one_way():
    """Reporting knows what was written of results, and neither who was measured nor how."""
    allowed = {
        "measuring": {"measuring"},
        "contestants": {"contestants", "measuring"},
        "reporting": {"reporting", "measuring.result_files"},
    }
    found = {"measuring": 0, "contestants": 0, "reporting": 0}
    commands = {file.stem for file in (REPOSITORY / "benchmarks").glob("*.py")}
    for one in imports_of(REPOSITORY / "benchmarks"):
        folder, package = one.file.partition("/")[0], one.target.partition(".")[0]
        if folder in allowed and package in {*allowed, *commands}:
            assert package in allowed[folder] or one.target in allowed[folder], one
            found[folder] += 1
    assert all(found.values())


def test_only_those_who_compute_import_kernels():
    computing = ("config/", "weights/", "model/", "embedding/", "tools/", "commands/")
    for one in imports_of(REPOSITORY / "numpy_siglip"):
        assert not one.target.startswith("kernels") or one.file.startswith(computing), one


@pytest.mark.parametrize("name", ["kernels", "numpy_siglip"])
def test_torch_and_transformers_are_imported_by_validation_alone(name):
    """And there inside functions, so that who does not validate needs neither."""
    for one in imports_of(REPOSITORY / name):
        if one.target.partition(".")[0] in ("torch", "transformers"):
            assert one.file.startswith("tools/validate/"), one
            assert one.function, one


def test_what_is_not_required_is_imported_inside_functions():
    extras = {"huggingface_hub", "matplotlib", "sentencepiece", "tokenizers", "tqdm"}
    found = set()
    for one in imports_of(REPOSITORY / "numpy_siglip"):
        package = one.target.partition(".")[0]
        if (
            package in extras
            and not one.for_types_alone
            and not one.file.startswith("tools/visualize/figure")
        ):
            found.add(package)
            assert one.function, one
    assert found == extras


def test_kernels_init_is_only_words():
    """transformers may import the folder by its bare name, which another package owns."""
    assert _is_one_sentence(REPOSITORY / "kernels" / "__init__.py")


def _is_one_sentence(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def test_folders_have_one_sentence_and_no_code():
    folders = [
        *(REPOSITORY / "kernels").rglob("__init__.py"),
        *(REPOSITORY / "numpy_siglip").rglob("__init__.py"),
        *(REPOSITORY / "benchmarks").rglob("__init__.py"),
        *(REPOSITORY / "tests").rglob("__init__.py"),
    ]
    folders.remove(REPOSITORY / "numpy_siglip" / "__init__.py")
    assert len(folders) > 15
    for file in folders:
        assert _is_one_sentence(file), file


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("tiles/tile.py", "from ..rows.gelu import gelu", "tiles/tile.py imports rows/gelu"),
        ("cost.py", "def f():\n    from .machine import runtime", "cost.py imports machine/runtime"),
        (
            "inputs/pixels.py",
            "from ..attention.attention import x",
            "inputs/pixels.py imports attention/attention",
        ),
        ("rows/new/deep.py", "from ...layers import encoder", "rows/new/deep.py imports layers/encoder"),
        ("new/file.py", "from ..cost import Cost", "new/file.py stands on no line"),
        (
            "rows/gelu.py",
            "from .. import x",
            "rows/gelu.py imports the package itself, which stands on no line",
        ),
    ],
)
def test_a_planted_violation_is_found(file, line, problem, tmp_path):
    root = _planted(tmp_path / "kernels", file, line)
    assert violations(root, KERNELS, others=set()) == [problem]


@pytest.mark.parametrize(
    "line", ["import torch", "def f():\n    from numba import njit", "from ... import errors"]
)
def test_a_planted_foreign_import_is_found(line, tmp_path):
    assert len(foreign_imports(_planted(tmp_path / "kernels", "rows/gelu.py", line))) == 1
    assert foreign_imports(_planted(tmp_path / "sound", "machine/compilation.py", "import numba")) == []


def test_a_planted_circle_is_found(tmp_path):
    root = _planted(tmp_path / "kernels", "rows/gelu.py", "def f():\n    from .softmax import x")
    (root / "rows" / "softmax.py").write_text("from . import gelu\n")
    assert circles(root) == ["rows/gelu -> rows/softmax -> rows/gelu"]


def test_an_empty_folder_is_no_success(tmp_path):
    with pytest.raises(AssertionError, match="no source files"):
        violations(tmp_path, KERNELS, others=set())


def _planted(root: Path, file: str, line: str) -> Path:
    """A small tree of files that import nothing, and one that imports what it should not."""
    for name in (
        "cost.py",
        "machine/runtime.py",
        "rows/gelu.py",
        "attention/attention.py",
        "layers/encoder.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(f"{line}\n")
    return root
