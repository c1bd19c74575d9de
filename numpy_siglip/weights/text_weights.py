"""The weights of the text tower: their names, their shapes, and how they become operands."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..config.configuration import SiglipTextConfig
from ..errors import CheckpointError
from ..kernels.backend import Backend
from ..kernels.layers.encoder_layer import LayerNormWeights
from .tower_reader import TowerReader
from .tower_weights import (
    Shapes,
    Tensors,
    TowerLayout,
    count_parameters,
    encoder_tensor_shapes,
    find_tensors,
    layer_norm_shapes,
    linear_shapes,
)

_TABLE = "embeddings.token_embedding.weight"
TEXT_LAYOUT = TowerLayout(
    kind="text",
    mark=_TABLE,
    roots=("embeddings.", "encoder.", "final_layer_norm.", "head."),
)


class TokenTable:
    """The vector of every token: an array of which rows are read from the checkpoint when they are asked for.

    In SigLIP 2 the table holds more than half of all numbers of a base model, and a text needs at most 64
    of its 256000 rows.

    Parameters
    ----------
    reader : TowerReader
    name : str
        Of its tensor.
    """

    def __init__(self, reader: TowerReader, name: str) -> None:
        self._reader = reader
        self._name = name

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        """Vectors of tokens in float32: (...) -> (..., hidden_size)."""
        return self._reader.rows(self._name, ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldTable, (self._reader.stored(self._name),)


class HeldTable:
    """The same, whole and in memory, as the table of a model that was pickled needs no file.

    Parameters
    ----------
    table : ndarray of shape (vocab_size, hidden_size)
        In the dtype in which it was stored.
    """

    def __init__(self, table: np.ndarray) -> None:
        self._table = table

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        """Vectors of tokens in float32: (...) -> (..., hidden_size)."""
        return self._table[ids].astype(np.float32, copy=False)


class TextWeights(NamedTuple):
    """The whole text tower."""

    token_embedding: TokenTable | HeldTable
    """(vocab_size, hidden_size)"""
    position_embedding: np.ndarray
    """(max_position_embeddings, hidden_size)"""
    layers: Any
    """One `EncoderLayerWeights` for each layer, prepared."""
    final_layer_norm: LayerNormWeights
    head: Any
    """(hidden_size) -> (projection_size)"""


def text_tensor_shapes(config: SiglipTextConfig) -> Shapes:
    """Name and shape of every tensor of the tower, in the layout of transformers.

    Examples
    --------
    >>> shapes = text_tensor_shapes(SiglipTextConfig())
    >>> len(shapes), shapes["embeddings.token_embedding.weight"]
    (198, (32000, 768))
    """
    d = config.hidden_size
    embeddings = {
        _TABLE: (config.vocab_size, d),
        "embeddings.position_embedding.weight": (config.max_position_embeddings, d),
    }
    end = layer_norm_shapes("final_layer_norm", d) | linear_shapes("head", config.projection_size, d)
    return embeddings | encoder_tensor_shapes(config) | end


def count_text_parameters(config: SiglipTextConfig) -> int:
    """Numbers that were trained in a tower of this shape.

    Examples
    --------
    >>> count_text_parameters(SiglipTextConfig())
    110271744
    """
    return count_parameters(text_tensor_shapes(config))


def find_text_tensors(checkpoint: Tensors, config: SiglipTextConfig) -> dict[str, str]:
    """Match the tower's tensor names with the names in a checkpoint; see `find_vision_tensors`.

    Raises
    ------
    CheckpointError
        If a tensor is missing, has another shape, or belongs to the tower and has no place in it.
    """
    return find_tensors(checkpoint, TEXT_LAYOUT, text_tensor_shapes(config))


def load_text_weights(checkpoint: Tensors, config: SiglipTextConfig, ops: Backend) -> TextWeights:
    """Read the tower from a checkpoint, but for its token table, and prepare its maps for a backend.

    Parameters
    ----------
    checkpoint : Tensors
    config : SiglipTextConfig
    ops : Backend
        Prepares the weights for itself.

    Raises
    ------
    CheckpointError
        See `find_text_tensors`.
    """
    names = find_text_tensors(checkpoint, config)
    table = checkpoint[names[_TABLE]]  # what cannot be read is refused now, not when there is a text
    if table.numpy_dtype == np.int8:
        raise CheckpointError(f"{table.file}: tensor {table.name} has dtype I8; tables of tokens stay floats")
    read = TowerReader(checkpoint, names, ops)
    return TextWeights(
        token_embedding=TokenTable(read, _TABLE),
        position_embedding=read.tensor("embeddings.position_embedding.weight"),
        layers=read.encoder_layers(config.num_hidden_layers),
        final_layer_norm=read.layer_norm("final_layer_norm"),
        head=read.linear("head"),
    )
