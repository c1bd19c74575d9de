"""Every import in a tree of source files, read from their text, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One import of one name."""

    file: str
    """Path of the importing file below the root that was read"""
    target: str
    """Path of what is imported below that root, without its ending; or the name of another package"""
    is_ours: bool
    function: str
    """In which it stands, if in one"""
    for_types_alone: bool
    """Whether it is made when types are checked and never when the code runs"""


def imports_of(root: Path) -> Iterator[Import]:
    """Every import in every file below a folder, which stands for a package; there must be files."""
    files = sorted(root.rglob("*.py"))
    assert files, f"no source files in {root}"
    for file in files:
        yield from _imports_of_file(file, root)


def _imports_of_file(file: Path, root: Path) -> Iterator[Import]:
    name = file.relative_to(root).as_posix()
    places: dict[ast.AST, tuple[str, bool]] = {}  # the function, and whether for types alone
    for node in ast.walk(ast.parse(file.read_text())):
        function, for_types = places.get(node, ("", False))
        if isinstance(node, ast.FunctionDef):
            function = node.name
        elif isinstance(node, ast.If):
            for_types = for_types or ast.unparse(node.test) == "TYPE_CHECKING"
        places.update(dict.fromkeys(ast.iter_child_nodes(node), (function, for_types)))
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target, is_ours in _targets(node, file, root):
                yield Import(name, target, is_ours, function, for_types)


def _targets(node: ast.Import | ast.ImportFrom, file: Path, root: Path) -> Iterator[tuple[str, bool]]:
    """What a statement imports, and whether that lies below the root."""
    if isinstance(node, ast.Import) or not node.level:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
        for module in modules:
            yield module, module.partition(".")[0] == root.name
        return
    base = file.parents[node.level - 1]
    if base != root and root not in base.parents:
        yield f"{'.' * node.level}{node.module or ''}", False
        return
    base = base.joinpath(*(node.module or "").split("."))
    for alias in node.names:
        one = base / alias.name
        one = one if one.is_dir() or one.with_suffix(".py").exists() else base
        yield one.relative_to(root).as_posix(), True
