"""What an image processor and a tower return: fields by name and by key, as in transformers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


class BatchFeature(dict[str, np.ndarray]):
    """Result of an image processor: a dictionary whose values are attributes too.

    Examples
    --------
    >>> inputs = BatchFeature(pixel_values=np.zeros((1, 3, 8, 8), np.float32))
    >>> inputs.pixel_values is inputs["pixel_values"]
    True
    """

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self)}") from None


@dataclass(frozen=True)
class BaseModelOutputWithPooling:
    """Result of a vision tower.

    As in transformers, fields that are None are left out when the result is used as a tuple or
    asked for its keys.

    Parameters
    ----------
    last_hidden_state : ndarray of shape (batch, tokens, hidden_size)
        Tokens after the final layer norm.
    pooler_output : ndarray of shape (batch, hidden_size), or None
        The image embedding; None if the tower has no pooling head.
    hidden_states : tuple of ndarray of shape (batch, tokens, hidden_size), or None
        The embeddings, then the output of each layer. The last one is not normalised.
    attentions : tuple of ndarray of shape (batch, num_attention_heads, tokens, tokens), or None
        Attention weights of each layer.

    Examples
    --------
    >>> output = BaseModelOutputWithPooling(np.zeros((1, 4, 8)), np.ones((1, 8)))
    >>> output["pooler_output"] is output.pooler_output is output[1]
    True
    >>> output.keys()
    ('last_hidden_state', 'pooler_output')
    """

    last_hidden_state: np.ndarray
    pooler_output: np.ndarray | None = None
    hidden_states: tuple[np.ndarray, ...] | None = None
    attentions: tuple[np.ndarray, ...] | None = None

    def keys(self) -> tuple[str, ...]:
        """Names of the fields that are present."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Any:
        # transformers' outputs iterate over their keys, like dictionaries
        return iter(self.keys())
