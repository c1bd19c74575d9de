"""Attention in which the tokens of a text look at some of its tokens only.

    mask (B, T) of ones and zeros -> keys and values of the ones alone -> the same attention, over fewer keys

A token that is masked is looked at by none, and looks at the others itself: it is a query, and no key. What
is left out is left out before any number is computed, so that the weights of the others need no correction,
and whatever a masked token holds has no influence. transformers adds the smallest float to its scores, which
rounds its weight to zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..common.checks import as_array, shown
from ..errors import TextError
from ..kernels.backend import Backend


class AttentionMask(NamedTuple):
    """Texts of a batch by which of their tokens are looked at."""

    groups: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Numbers of the texts whose masks are alike, and the tokens that those leave"""

    @classmethod
    def of(cls, attention_mask: Any, shape: tuple[int, ...]) -> AttentionMask | None:
        """Read what a model is called with; None if it leaves nothing out.

        Parameters
        ----------
        attention_mask : array_like of shape (batch, tokens), or None
            1 or True where a token is looked at, 0 or False where not.
        shape : tuple of int
            Of the tokens.

        Raises
        ------
        TextError
            If it has another shape, holds anything else, or leaves nothing of a text.

        Examples
        --------
        >>> mask = AttentionMask.of([[1, 1, 0], [1, 1, 1], [1, 1, 0]], (3, 3))
        >>> [(texts.tolist(), tokens.tolist()) for texts, tokens in mask.groups]
        [([0, 2], [0, 1]), ([1], [0, 1, 2])]
        >>> AttentionMask.of([[1, 1]], (1, 2)) is None
        True
        """
        if attention_mask is None:
            return None
        mask = as_array("attention_mask", attention_mask, TextError)
        if mask.shape != shape:
            raise TextError(
                f"attention_mask has shape {mask.shape}, and input_ids {shape}; they must be alike"
            )
        if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
            raise TextError(
                f"attention_mask is {shown(attention_mask)}; it must hold 1 for a token that is looked at, "
                "and 0 for one that is not"
            )
        looked_at = mask.astype(bool)
        if looked_at.all():
            return None
        empty = np.flatnonzero(~looked_at.any(axis=1))
        if empty.size:
            raise TextError(
                f"attention_mask leaves nothing of text {empty[0] + 1} of {len(looked_at)}; leave the text "
                "itself out"
            )
        alike: dict[bytes, list[int]] = {}
        for text, row in enumerate(looked_at):
            alike.setdefault(row.tobytes(), []).append(text)
        return cls(tuple((np.array(texts), np.flatnonzero(looked_at[texts[0]])) for texts in alike.values()))


def masked_attention(
    ops: Backend,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    num_heads: int,
    mask: AttentionMask,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the attention of a backend, over the keys that a mask leaves to each text.

    Parameters
    ----------
    ops : Backend
    query, key, value : ndarray of shape (batch, tokens, width)
    num_heads : int
    mask : AttentionMask
    return_attention : bool

    Returns
    -------
    output : ndarray of shape (batch, tokens, width)
    attention : ndarray of shape (batch, num_heads, tokens, tokens), or None
        Zero at the tokens that are masked.

    Examples
    --------
    >>> from numpy_siglip.model.backends import choose_backend
    >>> x = np.array([[[1.0], [2.0], [50.0]]], np.float32)
    >>> mask = AttentionMask.of([[1, 1, 0]], (1, 3))
    >>> output, attention = masked_attention(choose_backend("numpy"), x * 0, x, x, 1, mask, True)
    >>> output.ravel().tolist(), attention[0, 0, 0].tolist()
    ([1.5, 1.5, 1.5], [0.5, 0.5, 0.0])
    """
    batch, tokens, _ = query.shape
    output = np.empty(query.shape, np.float32)
    attention = np.zeros((batch, num_heads, tokens, tokens), np.float32) if return_attention else None
    for texts, kept in mask.groups:
        looked_at = np.ix_(texts, kept)
        output[texts], weights = ops.attention(
            query[texts], key[looked_at], value[looked_at], num_heads, return_attention
        )
        if attention is not None:
            attention[np.ix_(texts, np.arange(num_heads), np.arange(tokens), kept)] = weights
    return output, attention
