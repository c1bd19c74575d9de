"""Which layout a checkpoint is in, told by the tensors that only that layout has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ...errors import CheckpointError
from ..checkpoint import Checkpoint
from ..other_quantization import refuse_quantized
from . import big_vision, open_clip, timm
from .tables import Row, TowerTable, arrange
from .view import LayoutView, Piece, Recipe

TRANSFORMERS = "transformers"
LAYOUTS = (TRANSFORMERS, timm.LAYOUT, open_clip.LAYOUT, big_vision.LAYOUT)
_OURS = "embeddings.patch_embedding.weight"


def as_transformers(checkpoint: Checkpoint) -> Checkpoint | LayoutView:
    """A checkpoint under the names of transformers.

    Parameters
    ----------
    checkpoint : Checkpoint

    Returns
    -------
    Checkpoint or LayoutView
        The checkpoint itself if it has these names already, or names of no layout that is known.

    Raises
    ------
    CheckpointError
        If the layout is known, and a tensor is missing or has no place in it, or there are several towers.

    Examples
    --------
    >>> from numpy_siglip.checkpoints.checkpoint_files import open_checkpoint
    >>> layout_of(as_transformers(open_checkpoint(model_folder)))
    'transformers'
    """
    if _marked(checkpoint, _OURS, "."):
        return checkpoint
    for mark, separator, view in _VIEWS:
        for prefix in _one_at_most(checkpoint, _trained(_marked(checkpoint, mark, separator))):
            inside = {name: checkpoint[name] for name in checkpoint if name.startswith(prefix)}
            refuse_quantized(checkpoint.source, inside)
            return view(checkpoint, prefix)
    return checkpoint


def layout_of(tensors: object) -> str:
    """What the layout is called, one of `LAYOUTS`; tensors of no known layout count as transformers'."""
    return tensors.layout if isinstance(tensors, LayoutView) else TRANSFORMERS


def _vision_view(checkpoint: Checkpoint, prefix: str, table: TowerTable) -> LayoutView:
    """A vision tower alone, as a table has it."""
    return LayoutView(checkpoint, table.layout, arrange(checkpoint, prefix, table))


def _timm_view(checkpoint: Checkpoint, prefix: str, table: TowerTable) -> LayoutView:
    """A vision tower of timm: by itself, or inside a model of open_clip."""
    if not prefix.endswith(open_clip.VISION_PREFIX):
        return _vision_view(checkpoint, prefix, table)
    root = prefix.removesuffix(open_clip.VISION_PREFIX)
    projection = next((name for name in checkpoint if name.startswith(f"{root}visual.head.")), None)
    if projection:
        raise CheckpointError(
            f"{checkpoint.source}: tensor {projection} maps the embedding of the image, which no SigLIP does"
        )
    recipes = arrange(checkpoint, prefix, table)
    text = root + open_clip.TEXT_PREFIX
    if text + open_clip.TEXT_MARK in checkpoint:  # towers of other kinds stand beside some SigLIPs
        recipes |= _with_head(arrange(checkpoint, text, open_clip.TEXT))
    return LayoutView(checkpoint, open_clip.LAYOUT, recipes | _scalars(checkpoint, root, open_clip.SCALARS))


def _big_vision_view(checkpoint: Checkpoint, prefix: str) -> LayoutView:
    recipes = arrange(checkpoint, prefix, big_vision.vision_table(checkpoint, prefix))
    num_heads = {"vision": big_vision.num_heads(checkpoint, prefix)}
    if prefix.endswith("img/"):
        root = prefix.removesuffix("img/")
        text = f"{root}txt/"
        if text + big_vision.TEXT_MARK in checkpoint:
            recipes |= _with_head(arrange(checkpoint, text, big_vision.text_table(checkpoint, text)))
            num_heads["text"] = big_vision.num_heads(checkpoint, text)
        recipes |= _scalars(checkpoint, root, big_vision.SCALARS)
    known = {tower: count for tower, count in num_heads.items() if count is not None}
    return LayoutView(checkpoint, big_vision.LAYOUT, recipes, known)


def _with_head(recipes: dict[str, Recipe]) -> dict[str, Recipe]:
    """A text tower that ends without a map, as So400m-i18n does, gets the one that changes nothing."""
    if "text_model.head.weight" not in recipes:
        width = recipes["text_model.final_layer_norm.weight"].pieces[0].entry.shape[0]
        recipes["text_model.head.weight"] = Recipe((), constant=np.eye(width, dtype=np.float32))
        recipes["text_model.head.bias"] = Recipe((), constant=np.zeros(width, np.float32))
    return recipes


def _scalars(checkpoint: Checkpoint, root: str, rows: tuple[Row, ...]) -> dict[str, Recipe]:
    """Scale and bias of the logits, which vision towers go without."""
    found = {}
    for row in rows:
        name = f"{root}{row.stored}"
        if name in checkpoint:
            found[row.ours] = Recipe((Piece(checkpoint[name], row.leaves[""][1]),))
    return found


_VIEWS: tuple[tuple[str, str, Callable[[Checkpoint, str], LayoutView]], ...] = (
    (timm.MARK, ".", partial(_timm_view, table=timm.VISION)),
    (timm.NAFLEX_MARK, ".", partial(_timm_view, table=timm.NAFLEX_VISION)),
    (big_vision.MARK, "/", _big_vision_view),
)
"""A tensor that only one layout has, what separates the parts of its name, and what is made of it. A layout
of vision towers alone needs its table and a line here, with `_vision_view`."""


def _marked(checkpoint: Checkpoint, mark: str, separator: str) -> list[str]:
    """What stands before the mark, wherever it is found."""
    return [name.removesuffix(mark) for name in checkpoint if name == mark or name.endswith(separator + mark)]


def _trained(prefixes: list[str]) -> list[str]:
    """Without the state of the optimizer, which has a copy of all names."""
    return [prefix for prefix in prefixes if not prefix.startswith("opt/")] or prefixes


def _one_at_most(checkpoint: Checkpoint, prefixes: list[str]) -> list[str]:
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{checkpoint.source}: more than one vision tower ({', '.join(prefixes)}), and a file of tensors "
            "does not say which is meant; save the one that you want by itself"
        )
    return prefixes
