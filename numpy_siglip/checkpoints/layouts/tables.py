"""What a layout is written down in: rows of names, and how the rows become recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...errors import CheckpointError
from ..checkpoint import Checkpoint
from .turns import AS_STORED, Turn
from .view import Piece, Recipe

Leaves = Mapping[str, tuple[str, Turn]]
"""The tensors of a module: transformers' name to the name in the layout and how the axes are turned"""

SAME: Leaves = {"weight": ("weight", AS_STORED), "bias": ("bias", AS_STORED)}
WHOLE: Leaves = {"": ("", AS_STORED)}


class Row(NamedTuple):
    """A module of transformers and where its tensors come from."""

    ours: str
    stored: str | tuple[str, ...]
    """One module of the layout, or several whose tensors go one below the other"""
    leaves: Leaves = SAME
    part: int = 0
    """Which of the equal parts, counted from 0, that the tensors are cut into"""
    parts: int = 1
    summed: bool = False
    """Whether several are added up instead"""


class TowerTable(NamedTuple):
    """A tower in a layout."""

    layout: str
    ours: str
    """What transformers' names begin with"""
    separator: str
    """What stands between the parts of a name in the layout"""
    outside: tuple[Row, ...]
    """What is there once"""
    layers: str
    """The module of layer {}"""
    layer: tuple[Row, ...]
    """What is there in every layer"""
    stacked_layers: str = ""
    """The module in which the tensors of all layers are one, if the layout has such a form"""
    head: tuple[Row, ...] = ()
    """What is there as a whole or not at all"""
    left_out: tuple[str, ...] = ()
    """What may be there and is no part of the tower"""


def arrange(checkpoint: Checkpoint, prefix: str, table: TowerTable) -> dict[str, Recipe]:
    """Recipes for all tensors of a tower.

    Parameters
    ----------
    checkpoint : Checkpoint
    prefix : str
        What stands before the tower's names.
    table : TowerTable

    Raises
    ------
    CheckpointError
        If a tensor is missing, cannot be cut as the table says, or belongs to the tower and stands in no row.
    """
    recipes: dict[str, Recipe] = {}
    claimed: set[str] = set()
    missing: list[str] = []
    stacked = table.stacked_layers and _any_inside(checkpoint, prefix, table.stacked_layers, table)

    def add(row: Row, ours: str, stored: str, layer: int | None = None) -> None:
        modules = (row.stored,) if isinstance(row.stored, str) else row.stored
        for leaf, (stored_leaf, turn) in row.leaves.items():
            names = [prefix + _join(table.separator, stored, module, stored_leaf) for module in modules]
            missing.extend(name for name in names if name not in checkpoint)
            claimed.update(names)
            if not missing:
                pieces = tuple(_piece(checkpoint, name, turn, row, layer) for name in names)
                recipes[table.ours + _join(".", ours, row.ours, leaf)] = Recipe(pieces, row.summed)

    head = table.head if any(_any_inside(checkpoint, prefix, m, table) for m in _modules(table.head)) else ()
    for row in (*table.outside, *head):
        add(row, "", "")
    for index in range(_depth(checkpoint, prefix, table, bool(stacked))):
        for row in table.layer:
            stored = table.stacked_layers if stacked else table.layers.format(index)
            add(row, f"encoder.layers.{index}", stored, index if stacked else None)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.source}: no tensor {missing[0]}{more}, though it belongs to the layout of "
            f"{table.layout}; the file is incomplete, or the model is no SigLIP"
        )
    unclaimed = [name for name in checkpoint if name.startswith(prefix) and name not in claimed]
    unclaimed = [name for name in unclaimed if not name[len(prefix) :].startswith(table.left_out or ("\0",))]
    if unclaimed:
        more = f" and {len(unclaimed) - 1} more" if len(unclaimed) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.source}: tensor {unclaimed[0]}{more} has no place in a SigLIP tower in the layout "
            f"of {table.layout}; the model is another one"
        )
    return recipes


def _piece(checkpoint: Checkpoint, name: str, turn: Turn, row: Row, layer: int | None) -> Piece:
    entry = checkpoint[name]
    if layer is not None:
        if not entry.shape or layer >= entry.shape[0]:
            raise CheckpointError(
                f"{entry.file}: tensor {name} has shape {entry.shape}, too short for layer {layer}, which "
                "other tensors have"
            )
        entry = entry.row(layer)
    if row.parts > 1:
        if not entry.shape or entry.shape[0] % row.parts:
            raise CheckpointError(
                f"{entry.file}: tensor {name} has shape {entry.shape}, which cannot be cut into {row.parts} "
                "equal parts"
            )
        size = entry.shape[0] // row.parts
        entry = entry.rows(row.part * size, (row.part + 1) * size)
    return Piece(entry, turn)


def _depth(checkpoint: Checkpoint, prefix: str, table: TowerTable, stacked: bool) -> int:
    """How many layers there are: none may be missing among them, which shows when their rows are read."""
    if stacked:
        begin = prefix + table.stacked_layers + table.separator
        return max((checkpoint[name].shape or (0,))[0] for name in checkpoint if name.startswith(begin))
    layers = re.escape(table.layers).replace(re.escape("{}"), "([0-9]{1,4})")
    pattern = re.compile(re.escape(prefix) + layers + re.escape(table.separator))
    found = [pattern.match(name) for name in checkpoint]
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _any_inside(checkpoint: Checkpoint, prefix: str, module: str, table: TowerTable) -> bool:
    whole = prefix + module
    return any(name == whole or name.startswith(whole + table.separator) for name in checkpoint)


def _modules(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        yield from (row.stored,) if isinstance(row.stored, str) else row.stored


def _join(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)
