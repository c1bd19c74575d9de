"""A checkpoint of another layout under the names of transformers: nothing is read until it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import CheckpointError
from ..checkpoint import Checkpoint, TensorEntry
from .turns import AS_STORED, Turn

_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class Piece(NamedTuple):
    """A tensor of a checkpoint, or some rows of one, and how its axes are turned."""

    entry: TensorEntry
    turn: Turn = AS_STORED


class Recipe(NamedTuple):
    """How one tensor of transformers comes about."""

    pieces: tuple[Piece, ...]
    """One below the other; none for the tensor of a map that the checkpoint leaves out"""
    summed: bool = False
    """Whether the pieces are added up instead"""
    constant: np.ndarray | None = None
    """The numbers themselves if there are no pieces"""


class LayoutView(Mapping[str, TensorEntry]):
    """The tensors of a checkpoint, named, cut and turned as transformers has them.

    Parameters
    ----------
    checkpoint : Checkpoint
    layout : str
        What the layout is called.
    recipes : dict of str to Recipe
        By the names of transformers.
    num_heads : dict of str to int
        Attention heads of a tower, ``"vision"`` or ``"text"``, where shapes tell them.

    Raises
    ------
    CheckpointError
        If a tensor has not the number of axes that its layout gives it, or cannot be cut as it says.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        layout: str,
        recipes: Mapping[str, Recipe],
        num_heads: Mapping[str, int] | None = None,
    ) -> None:
        self.source: Path = checkpoint.source
        self.layout = layout
        self.num_heads = dict(num_heads or {})
        self._checkpoint = checkpoint
        self._recipes = dict(recipes)
        self._entries = {name: _presented(checkpoint.source, recipe) for name, recipe in recipes.items()}

    def __getitem__(self, name: str) -> TensorEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def anew(self) -> LayoutView:
        """The same tensors, without what was unpacked of an archive."""
        return LayoutView(self._checkpoint.anew(), self.layout, self._recipes, self.num_heads)

    def tensor(self, name: str) -> np.ndarray:
        """The numbers of a tensor in float32, in C order.

        Raises
        ------
        CheckpointError
            If there is no such tensor or its dtype is not a float of 16, 32 or 64 bits.
        """
        return np.require(self.stored(name).astype(np.float32, copy=False), requirements=["C", "A"])

    def stored(self, name: str) -> np.ndarray:
        """The numbers of a tensor in the dtype that its entry names."""
        if name not in self._recipes:
            raise CheckpointError(f"{self.source}: no tensor {name}")
        pieces, summed, constant = self._recipes[name]
        if constant is not None:
            return constant
        turned = [piece.turn.apply(self._checkpoint.stored_entry(piece.entry)) for piece in pieces]
        if len(turned) == 1:
            return turned[0]
        if summed:
            return np.stack(turned).astype(np.float32).sum(axis=0)
        return np.concatenate(turned)

    def scales(self, name: str) -> np.ndarray:
        """No other layout than that of transformers has any."""
        raise CheckpointError(f"{self.source}: tensor {name} has no scales; quantise the original")

    def rows(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Some rows of a tensor in float32; see `Checkpoint.rows`."""
        pieces = self._recipes[name].pieces
        if len(pieces) == 1 and pieces[0].turn == AS_STORED:
            return self._checkpoint.entry_rows(pieces[0].entry, indices).astype(np.float32, copy=False)
        return self.stored(name)[indices].astype(np.float32, copy=False)


def _presented(source: Path, recipe: Recipe) -> TensorEntry:
    """What a recipe makes, at the place of its first piece."""
    if recipe.constant is not None:
        constant = recipe.constant
        return TensorEntry("(not stored)", source, "F32", constant.shape, offset=0, num_bytes=constant.nbytes)
    shapes = [_turned_shape(piece) for piece in recipe.pieces]
    first = recipe.pieces[0].entry
    if first.dtype == "I8":  # its scales are nowhere in this layout
        raise CheckpointError(
            f"{first.file}: tensor {first.name} has dtype I8; quantised models are read as "
            "numpy-siglip quantize writes them: quantise the original"
        )
    shape = shapes[0]
    if len(shapes) > 1 and not recipe.summed:
        shape = (sum(len_of[0] for len_of in shapes), *shape[1:])
    for piece, other in zip(recipe.pieces, shapes, strict=True):
        if other[1:] != shapes[0][1:] or (recipe.summed and other != shape):
            raise CheckpointError(
                f"{first.file}: tensors {first.name} of shape {first.shape} and {piece.entry.name} of shape "
                f"{piece.entry.shape} do not fit each other"
            )
    dtypes = {piece.entry.dtype for piece in recipe.pieces}
    dtype = "F32" if recipe.summed or len(dtypes) > 1 else first.dtype
    name = (" + " if recipe.summed else ", ").join(piece.entry.name for piece in recipe.pieces)
    num_bytes = _FLOAT_BYTES.get(dtype, 0) * int(np.prod(shape, dtype=np.int64))
    return TensorEntry(name, first.file, dtype, shape, first.offset, num_bytes, first.packed_in)


def _turned_shape(piece: Piece) -> tuple[int, ...]:
    entry, turn = piece
    if turn.num_axes and len(entry.shape) not in turn.num_axes:
        expected = " or ".join(map(str, turn.num_axes))
        raise CheckpointError(
            f"{entry.file}: tensor {entry.name} has shape {entry.shape}; in this layout it has {expected} "
            f"ax{'i' if turn.num_axes == (1,) else 'e'}s"
        )
    return turn.shape(entry.shape)
