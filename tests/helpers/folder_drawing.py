"""The drawing of folders and imports in docs/architecture.md, made from the imports themselves.

    cd tests && python -m helpers.folder_drawing    put the drawing of today's imports into the page

Folders stand in the order of the rules in ``test_imports``, so that each stands below what it imports. An
arrow that two others replace is left out: if a imports b, and b imports c, a is not said to import c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from test_imports import CHECKPOINTS, KERNELS, PACKAGE

from helpers.imports import imports_of
from helpers.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "architecture.md"
BLOCK = re.compile(
    r"(<!-- imports between folders: drawn by a test helper -->\n```text\n).*?(```\n<!-- end -->)", re.DOTALL
)

Graph = dict[str, set[str]]


def draw(order: Sequence[str], graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A line for each name, with arrows from what it imports.

    Examples
    --------
    >>> graph = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}
    >>> print("\\n".join(draw("abcd", graph)))
    a
    b  <-  a
    c  <-  a
    d  <-  b, c
    """
    longest = max(map(len, order))
    return [
        f"{name:<{longest}}  <-  {', '.join(sorted(graph[name], key=order.index))}" if graph[name] else name
        for name in order
    ]


def without_detours(graph: Mapping[str, set[str]]) -> Graph:
    """The same graph without the lines that a longer way replaces.

    Examples
    --------
    >>> without_detours({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    {'a': {'b'}, 'b': {'c'}, 'c': set()}
    """

    def below(name: str) -> set[str]:
        return set().union(*({target} | below(target) for target in graph.get(name, ())))

    return {
        name: {
            target for target in targets if not any(target in below(other) for other in targets - {target})
        }
        for name, targets in graph.items()
    }


def names_of(lines: Sequence[Sequence[str]]) -> list[str]:
    """What is drawn for a list of rules: its folders one by one, the files of one line together.

    Examples
    --------
    >>> names_of([["errors.py", "outputs.py"], ["common"], ["inputs", "attention"]])
    ['errors.py, outputs.py', 'common', 'inputs', 'attention']
    """
    names: list[str] = []
    for line in lines:
        files = ", ".join(name for name in line if name.endswith(".py"))
        names += [*filter(None, [files]), *(name for name in line if not name.endswith(".py"))]
    return names


def folder_graph(root: Path, names: Sequence[str]) -> Graph:
    """Which of the names below a folder import which."""

    def name_of(path: str) -> str | None:
        for name in sorted(names, key=len, reverse=True):  # a folder's folder before the folder
            if path.startswith(f"{name}/") or f"{path.removesuffix('.py')}.py" in name.split(", "):
                return name
        return None

    graph: Graph = {name: set() for name in names}
    for one in imports_of(root):
        here, there = name_of(one.file), name_of(one.target) if one.is_ours else None
        if here and there and here != there:
            graph[here].add(there)
    return graph


def _drawing_of(root: Path, names: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in draw(names, without_detours(folder_graph(root, names)))]


def drawing() -> str:
    """The whole drawing: the package, and below it its kernels."""
    parts = [f"checkpoints/{part}" for part in names_of(CHECKPOINTS) if part != "."]
    package = [name for name in names_of(PACKAGE) if name != "__main__.py"]
    after = package.index("checkpoints") + 1
    package[after:after] = [*parts, "kernels"]
    lines = ["numpy_siglip/", *_drawing_of(REPOSITORY / "numpy_siglip", package)]
    lines += ["", "kernels/", *_drawing_of(REPOSITORY / "kernels", names_of(KERNELS))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(
        BLOCK.sub(lambda block: f"{block[1]}{drawing()}{block[2]}", PAGE.read_text("utf-8")), "utf-8"
    )
