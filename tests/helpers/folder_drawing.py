"""The drawing of folders and imports in docs/architecture.md, made from the imports themselves.

    cd tests && python -m helpers.folder_drawing    put the drawing of today's imports into the page

A folder stands above what it imports, as a commit stands above its parents in ``git log --graph``. A line
that would say what two others say already is left out: if a imports b, and b imports c, no line leads from a
to c. What stands beside a folder is what its ``__init__.py`` says of it.
"""

from __future__ import annotations

import ast
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

_LONGEST = 78
"""Characters beside a name"""

Graph = dict[str, set[str]]

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_SIGNS = {
    0: " ", _UP | _DOWN: "│", _LEFT | _RIGHT: "─", _DOWN | _RIGHT: "┌", _DOWN | _LEFT: "┐", _UP | _RIGHT: "└",
    _UP | _LEFT: "┘", _UP | _DOWN | _RIGHT: "├", _UP | _DOWN | _LEFT: "┤", _DOWN | _LEFT | _RIGHT: "┬",
    _UP | _LEFT | _RIGHT: "┴", _UP | _DOWN | _LEFT | _RIGHT: "┼",
}  # fmt: skip


def draw(order: Sequence[str], graph: Mapping[str, Iterable[str]], words: Mapping[str, str]) -> list[str]:
    """Lines of a drawing in which every name stands above all that it leads to.

    Parameters
    ----------
    order : sequence of str
        All names, each before those that it leads to.
    graph : dict of str to set of str
        What each name leads to.
    words : dict of str to str
        What is written beside a name.

    Examples
    --------
    >>> graph = {"a": {"b", "c", "d"}, "b": {"d"}, "c": {"d"}, "d": set()}
    >>> print("\\n".join(draw("abcd", without_detours(graph), {"d": "the ground"})))
    ●    a
    ├─┐
    ● │  b
    │ ●  c
    ├─┘
    ●    d  the ground
    """
    lanes: list[str | None] = []  # the name that each line from above leads to
    lines: list[tuple[str, str]] = []
    for name in order:
        if name not in lanes:
            _take_lane(lanes, name)
        own = lanes.index(name)
        lines.append(("".join(_node_cell(lane, name) for lane in lanes).rstrip(), name))
        before, lanes[own] = list(lanes), None
        ends = []  # the lanes to which lines lead from the own one
        for target in sorted(graph.get(name, ()), key=order.index):
            if target in lanes:
                ends.append(lanes.index(target))
            elif lanes[own] is None:
                lanes[own] = target
            else:
                ends.append(_take_lane(lanes, target))
        if lanes[own] is None and ends and own < min(ends):  # a line that ends in another one stays left
            first = min(ends)
            lanes[own], lanes[first] = lanes[first], None
        if ends:
            lines.append((_connection(own, ends, before, lanes), ""))
        while lanes and lanes[-1] is None:
            lanes.pop()
    width = max(len(line) for line, _ in lines)
    names = max(map(len, order))
    return [f"{line:<{width}}  {name:<{names}}  {words.get(name, '')}".rstrip() for line, name in lines]


def _take_lane(lanes: list[str | None], name: str) -> int:
    lanes.append(name)
    return len(lanes) - 1


def _node_cell(lane: str | None, name: str) -> str:
    return "● " if lane == name else "│ " if lane else "  "


def _connection(
    own: int, ends: Sequence[int], above: Sequence[str | None], below: Sequence[str | None]
) -> str:
    """The row between two names in which lines branch and join; a line that is only crossed goes over."""
    cells = [0] * (2 * max(len(above), len(below)))
    for lane in range(len(cells) // 2):
        cells[2 * lane] |= _UP * (lane < len(above) and above[lane] is not None)
        cells[2 * lane] |= _DOWN * (lane < len(below) and below[lane] is not None)
    for end in ends:
        left, right = 2 * min(own, end), 2 * max(own, end)
        cells[left] |= _RIGHT
        cells[right] |= _LEFT
        for between in range(left + 1, right):
            crossed = between % 2 == 0 and between // 2 not in ends and cells[between]
            if not crossed:
                cells[between] |= _LEFT | _RIGHT
    return "".join(_SIGNS[cell] for cell in cells).rstrip()


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
    ['inputs', 'attention', 'common', 'errors, outputs']
    """
    names: list[str] = []
    for line in reversed(lines):
        files = ", ".join(name.removesuffix(".py") for name in line if name.endswith(".py"))
        names += [*filter(None, [files]), *(name for name in line if not name.endswith(".py"))]
    return names


def folder_graph(root: Path, names: Sequence[str]) -> Graph:
    """Which of the names below a folder import which."""

    def name_of(path: str) -> str | None:
        for name in sorted(names, key=len, reverse=True):  # a folder's folder before the folder
            if path.startswith(f"{name}/") or path.removesuffix(".py") in name.split(", "):
                return name
        return None

    graph: Graph = {name: set() for name in names}
    for one in imports_of(root):
        here, there = name_of(one.file), name_of(one.target) if one.is_ours else None
        if here and there and here != there:
            graph[here].add(there)
    return graph


def first_words(file: Path) -> str:
    """The first sentence of a file's docstring; of one that is too long for a line, its beginning."""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    sentence = " ".join(re.split(r"\.(?:\s|$)", docstring.replace("``", ""))[0].split())
    for mark in (";", ":"):
        if len(sentence) > _LONGEST:
            sentence = sentence.partition(mark)[0]
    return sentence if len(sentence) <= _LONGEST else sentence.rpartition(",")[0]


def _drawing_of(root: Path, names: Sequence[str]) -> list[str]:
    words = {}
    for name in names:
        folder = {"kernels": REPOSITORY / "kernels"}.get(name, root / name)
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        words[name] = first_words(file) if file.exists() else ""
    return draw(names, without_detours(folder_graph(root, names)), words)


def drawing() -> str:
    """The whole drawing: the package, and below it its kernels."""
    parts = [f"checkpoints/{part}" for part in names_of(CHECKPOINTS) if part != "."]
    package = [name for name in names_of(PACKAGE) if name != "__main__"]
    package[package.index("checkpoints") : package.index("checkpoints")] = parts
    lines = ["numpy_siglip/", *_drawing_of(REPOSITORY / "numpy_siglip", [*package, "kernels"])]
    lines += ["", "kernels/", *_drawing_of(REPOSITORY / "kernels", names_of(KERNELS))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(
        BLOCK.sub(lambda block: f"{block[1]}{drawing()}{block[2]}", PAGE.read_text("utf-8")), "utf-8"
    )
