"""Attention pooling: one learned query, the probe, gathers all tokens of an image into a vector.

    query      = probe Wq^T + bq                        (1, width), the same for every image
    key, value = hidden Wkv^T + bkv, cut in half        (tokens, width) each
    pooled     = attention(query, key, value) Wo^T + bo

The probe takes part as the query and nowhere else: it is not added to what it gathered. (The
pooling head that follows adds a residual MLP to ``pooled``; that is the model's business.)

Operands
    hidden     (batch, tokens, width), any float dtype
    weights    made by ``prepare_attention_pooling`` from the probe (width,), the stacked input
               projection (3 * width, width) with its bias, query, key and value in this order, and the
               output projection (width, width) with its bias
    num_heads  divides width
Result
    pooled (batch, width) and, if asked for, the attention maps (batch, num_heads, 1, tokens);
    the dtype of ``hidden``, C order. No padding is needed.
Cost
    The flops of its parts: the query of one row, key and value of batch * tokens rows, attention
    of one query an image, and the output of batch rows. Hidden state and weights are read once,
    the pooled vectors (and the maps that are asked for) written once; what lies between is free.
NaN
    A NaN token spoils the pooled vector of its image.
Source
    ``MAPHead`` in big_vision's ``models/vit.py``, after Zhai et al., 2022,
    https://arxiv.org/abs/2106.04560; ``SiglipMultiheadAttentionPoolingHead`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, fill, fma, load, load_part, store, store_part
from ..products.linear import LinearWeights, linear, linear_cost, linear_reference
from ..rows.softmax import softmax, softmax_cost
from ..tiles.packing import PackedLinear, pack_linear
from .attention import attention_cost, attention_reference


class AttentionPoolingWeights(NamedTuple):
    """A probe and three linear maps, as the reference uses them."""

    probe: np.ndarray
    """(width,)"""
    query: LinearWeights
    """(width, width)"""
    key_value: LinearWeights
    """(2 * width, width): keys above, values below."""
    output: LinearWeights
    """(width, width)"""


def prepare_attention_pooling_reference(
    probe: np.ndarray,
    in_projection: LinearWeights,
    out_projection: LinearWeights,
    num_heads: int,
) -> AttentionPoolingWeights:
    """Cut the stacked projection: only the probe is asked for its query, only the tokens for key and value.

    Parameters
    ----------
    probe : ndarray of shape (width,)
    in_projection : LinearWeights
        (3 * width, width) and (3 * width,).
    out_projection : LinearWeights
        (width, width) and (width,).
    num_heads : int
        Not looked at here.

    Examples
    --------
    >>> import numpy as np
    >>> stacked, output = LinearWeights(np.ones((6, 2)), np.zeros(6)), LinearWeights(np.eye(2), np.zeros(2))
    >>> prepare_attention_pooling_reference(np.ones(2), stacked, output, 1).key_value.weight.shape
    (4, 2)
    """
    width = probe.size
    weight, bias = in_projection
    assert bias is not None
    query = LinearWeights(weight[:width], bias[:width])
    return AttentionPoolingWeights(probe, query, LinearWeights(weight[width:], bias[width:]), out_projection)


def attention_pooling_reference(
    hidden: np.ndarray,
    weights: AttentionPoolingWeights,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pool the tokens of each image with the probe's attention.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    weights : AttentionPoolingWeights
    num_heads : int
    return_attention : bool

    Returns
    -------
    pooled : ndarray of shape (batch, width)
    attention : ndarray of shape (batch, num_heads, 1, tokens), or None

    Examples
    --------
    With a probe of zeros and identity maps, pooling is the mean of the tokens:

    >>> import numpy as np
    >>> stacked = LinearWeights(np.vstack([np.eye(2)] * 3), np.zeros(6))
    >>> identity = LinearWeights(np.eye(2), np.zeros(2))
    >>> weights = prepare_attention_pooling_reference(np.zeros(2), stacked, identity, num_heads=1)
    >>> attention_pooling_reference(np.array([[[1.0, 10.0], [3.0, 30.0]]]), weights, 1)[0]
    array([[ 2., 20.]])
    """
    batch, _, width = hidden.shape
    query = linear_reference(weights.probe.reshape(1, 1, width), weights.query)
    query = np.broadcast_to(query, (batch, 1, width))
    key_value = linear_reference(hidden, weights.key_value)  # (B, T, 2 D)
    key, value = key_value[..., :width], key_value[..., width:]
    gathered, attention = attention_reference(query, key, value, num_heads, return_attention)
    return linear_reference(gathered, weights.output)[:, 0], attention


def attention_pooling_cost(
    *, batch: int, tokens: int, width: int, num_heads: int, return_attention: bool = False
) -> Cost:
    """Cost of one call."""
    parts = (
        linear_cost(rows=1, in_features=width, out_features=width),
        linear_cost(rows=batch * tokens, in_features=width, out_features=2 * width),
        attention_cost(batch=batch, queries=1, keys=tokens, width=width, num_heads=num_heads),
        linear_cost(rows=batch, in_features=width, out_features=width),
    )
    maps = batch * num_heads * tokens if return_attention else 0
    return Cost(
        flops=sum(part.flops for part in parts),
        bytes=float32_traffic(
            batch * tokens * width, width, 4 * (width * width + width), batch * width, maps
        ),
    )


def folded_pooling_cost(
    *, batch: int, tokens: int, width: int, num_heads: int, return_attention: bool = False
) -> Cost:
    """Cost of one call as it is compiled, which does less than the definition counts; see `FoldedPooling`."""
    sums = batch * num_heads
    parts = (
        linear_cost(rows=batch * tokens, in_features=width, out_features=num_heads),
        softmax_cost(rows=sums, width=tokens),
        linear_cost(rows=sums, in_features=width, out_features=width),
        linear_cost(rows=batch, in_features=width, out_features=width),
    )
    maps = sums * tokens if return_attention else 0
    matrices = num_heads * width + 2 * (width * width + width)
    return Cost(
        flops=sum(part.flops for part in parts) + 2 * sums * tokens * width,
        bytes=float32_traffic(batch * tokens * width, matrices, batch * width, maps),
    )


# ----------------------------------------------------------------------------------------- compiled


class FoldedPooling(NamedTuple):
    """The pooling head with everything done beforehand that does not depend on the image.

    The probe's query q is always the same. So the scores of head h need no keys,

        q_h . (Wk_h x + bk_h) = (Wk_h^T q_h) . x + a constant that softmax does not see,

    and since the attention weights a_t sum to one, the values need to be projected only once, after
    the tokens were summed:

        sum_t a_t (Wv_h x_t + bv_h) = Wv_h (sum_t a_t x_t) + bv_h

    Two thirds of a layer's projections, for all tokens, become three products with a few rows.
    """

    scores: PackedLinear
    """(num_heads, width): Wk_h^T q_h / sqrt(head_dim)"""
    value: PackedLinear
    """(width, width)"""
    output: PackedLinear
    """(width, width)"""


def fold_attention_pooling(
    runtime: Runtime,
    probe: np.ndarray,
    in_projection: LinearWeights,
    out_projection: LinearWeights,
    num_heads: int,
) -> FoldedPooling:
    """Prepare what `attention_pooling` needs; see `prepare_attention_pooling_reference`.

    Examples
    --------
    >>> import numpy as np
    >>> stacked, output = LinearWeights(np.ones((6, 2)), np.zeros(6)), LinearWeights(np.eye(2), None)
    >>> folded = fold_attention_pooling(Runtime(threads=1), np.ones(2), stacked, output, num_heads=2)
    >>> folded.scores.in_features, folded.scores.out_features
    (2, 2)
    """
    width = probe.size
    head_dim = width // num_heads
    weight, bias = in_projection
    assert bias is not None
    query = linear(runtime, probe.reshape(1, width), pack_linear(runtime, weight[:width], bias[:width]))
    query = query * np.float32(1 / np.sqrt(head_dim))
    keys = weight[width : 2 * width].reshape(num_heads, head_dim, width)
    folded = weighted_sums(runtime, query.reshape(num_heads, 1, head_dim), keys)
    return FoldedPooling(
        pack_linear(runtime, folded[:, 0]),
        pack_linear(runtime, weight[2 * width :], bias[2 * width :]),
        pack_linear(runtime, *out_projection),
    )


def attention_pooling(
    runtime: Runtime,
    hidden: np.ndarray,
    weights: FoldedPooling,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute `attention_pooling_reference` in float32, by way of `FoldedPooling`.

    Parameters
    ----------
    runtime : Runtime
    hidden : ndarray of shape (batch, tokens, width)
    weights : FoldedPooling
    num_heads : int
    return_attention : bool

    Returns
    -------
    pooled : ndarray of shape (batch, width)
    attention : ndarray of shape (batch, num_heads, 1, tokens), or None

    Raises
    ------
    ValueError
        If the weights are those of another width or of another number of heads.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> runtime = Runtime(threads=1)
    >>> stacked = LinearWeights(np.vstack([np.eye(2)] * 3), np.zeros(6))
    >>> identity = LinearWeights(np.eye(2), np.zeros(2))
    >>> weights = fold_attention_pooling(runtime, np.zeros(2), stacked, identity, num_heads=1)
    >>> attention_pooling(runtime, np.array([[[1.0, 10.0], [3.0, 30.0]]]), weights, 1)[0].tolist()
    [[2.0, 20.0]]
    """
    batch, _, width = hidden.shape
    if num_heads != weights.scores.out_features:
        raise ValueError(f"the weights are of {weights.scores.out_features} heads, not of {num_heads}")
    scores = linear(runtime, hidden, weights.scores)  # (B, T, H)
    attention = softmax(runtime, scores.transpose(0, 2, 1))  # (B, H, T)
    gathered = weighted_sums(runtime, attention, hidden)  # (B, H, D): a mean of the tokens for each head
    values = linear(runtime, gathered, weights.value)  # all values of each mean, of which its head's are used
    values = values.reshape(batch, num_heads, num_heads, width // num_heads)
    heads = np.arange(num_heads)
    pooled = linear(runtime, values[:, heads, heads].reshape(batch, width), weights.output)
    return pooled, (attention[:, :, None] if return_attention else None)


def weighted_sums(runtime: Runtime, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum the rows of each image with several sets of weights.

    Parameters
    ----------
    runtime : Runtime
    weights : ndarray of shape (batch, sets, tokens)
    rows : ndarray of shape (batch, tokens, width)

    Returns
    -------
    ndarray of shape (batch, sets, width)

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    >>> weighted_sums(Runtime(threads=1), np.array([[[0.5, 0.5]]], np.float32), rows).tolist()
    [[[2.0, 3.0]]]
    """
    batch, sets, tokens = weights.shape
    out = runtime.empty(batch, sets, rows.shape[2])
    runtime.run(sum_rows, flat(weights), flat(rows), out.reshape(-1), batch, sets, tokens, rows.shape[2])
    return out


@kernel
def sum_rows(
    weights: np.ndarray,
    rows: np.ndarray,
    out: np.ndarray,
    batch: int,
    sets: int,
    tokens: int,
    width: int,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Sum a strip of 16 columns a task, for all sets; rows are added in their order."""
    strips = (width + LANES - 1) // LANES
    while True:
        task = next_task(counters, 0, batch * strips, thread)
        if task < 0:
            break
        image, column = task // strips, task % strips * LANES
        count = min(LANES, width - column)
        fours = sets & -4 if count == LANES else 0
        for s in range(0, fours, 4):  # which need not wait for one another, and share the rows
            first = (image * sets + s) * tokens
            a, b, c, d = fill(np.float32(0)), fill(np.float32(0)), fill(np.float32(0)), fill(np.float32(0))
            for t in range(first, first + tokens):
                numbers = load(rows, (image * tokens + t - first) * width + column)
                a, b = fma(numbers, weights[t], a), fma(numbers, weights[t + tokens], b)
                c, d = fma(numbers, weights[t + 2 * tokens], c), fma(numbers, weights[t + 3 * tokens], d)
            offset = (image * sets + s) * width + column
            store(out, offset, a)
            store(out, offset + width, b)
            store(out, offset + 2 * width, c)
            store(out, offset + 3 * width, d)
        for s in range(fours, sets):
            total = fill(np.float32(0))
            for t in range(tokens):
                offset = (image * tokens + t) * width + column
                numbers = load(rows, offset) if count == LANES else load_part(rows, offset, count)
                total = fma(numbers, weights[(image * sets + s) * tokens + t], total)
            offset = (image * sets + s) * width + column
            if count == LANES:
                store(out, offset, total)
            else:
                store_part(out, offset, total, count)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, batch * strips)
