"""Multi-head scaled dot-product attention, without a mask.

For each image and each head h, with Q, K and V the h-th slices of the operands' last axis:

    A_h = softmax(Q_h K_h^T / sqrt(head_dim))         (queries, keys)
    O_h = A_h V_h                                     (queries, head_dim)

and the heads' results lie side by side again in the last axis. With B images, T tokens of width D, H heads
and d = D / H:

    query (B, T, D)      key (B, T, D)        value (B, T, D)
         |                    |                    |            the last axis is cut into H heads of d
    (B, H, T, d)         (B, H, d, T)         (B, H, T, d)
         |                    |                    |
         +-------- @ ---------+                    |            every query with every key of its head
                   |                               |
     scores (B, H, T, T) / sqrt(d)                 |
                   | softmax over the keys         |
        maps (B, H, T, T) ----------- @ -----------+            means of the values, weighted by the maps
                                      |
                                (B, H, T, d)
                                      |                         heads side by side again
                               output (B, T, D)

Queries and keys may be of different number; here both are T, as they are among the tokens of one image.

Operands
    query       (batch, queries, width), any float dtype
    key, value  (batch, keys, width), the same dtype
    num_heads   divides width; head_dim = width / num_heads may be odd
    The three may be strided views of one stacked projection (batch, tokens, 3 * width).
Result
    output (batch, queries, width) and, if asked for, the attention maps
    (batch, num_heads, queries, keys), both in C order and in the dtype of ``query``. No padding is needed.
Cost
    4 * queries * keys * width flops for the two products, 5 + 1 an element for the softmax and
    the scale; query, key, value and output are touched once. The maps are counted only if they
    are returned.
NaN
    In a query: its own row of that head. In a key or value: that head of the whole image.
Source
    Vaswani et al., 2017, section 3.2, https://arxiv.org/abs/1706.03762; ``SiglipAttention`` with
    ``eager_attention_forward`` in transformers' ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel
from ..machine.runtime import NOTHING, Runtime
from ..machine.threads import counters_of_a_kernel
from ..rows.softmax import softmax_cost, softmax_reference
from .attention_packing import AttentionPlan, HeadStrides, pack_keys_and_values, plan_attention
from .attention_product import attend


def split_heads(x: np.ndarray, num_heads: int) -> np.ndarray:
    """Cut the last axis into heads: (batch, tokens, width) -> (batch, heads, tokens, head_dim).

    Examples
    --------
    >>> import numpy as np
    >>> split_heads(np.zeros((2, 5, 12)), num_heads=4).shape
    (2, 4, 5, 3)
    """
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, num_heads, width // num_heads).transpose(0, 2, 1, 3)


def attention_reference(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Let every query gather a weighted mean of the values, separately in each head.

    Parameters
    ----------
    query : ndarray of shape (batch, queries, width)
    key, value : ndarray of shape (batch, keys, width)
    num_heads : int
    return_attention : bool

    Returns
    -------
    output : ndarray of shape (batch, queries, width)
    attention : ndarray of shape (batch, num_heads, queries, keys), or None

    Examples
    --------
    A query of zeros finds all keys alike and returns the mean of the values:

    >>> import numpy as np
    >>> value = np.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> output, attention = attention_reference(np.zeros((1, 1, 2)), value, value, 2, True)
    >>> output
    array([[[ 2., 20.]]])
    >>> attention.shape
    (1, 2, 1, 2)
    """
    q, k, v = (split_heads(x, num_heads) for x in (query, key, value))
    scale = query.dtype.type(q.shape[-1] ** -0.5)
    scores = q @ k.swapaxes(-1, -2) * scale  # (B, H, queries, keys)
    attention = softmax_reference(scores)
    heads = attention @ v  # (B, H, queries, head_dim)
    output = heads.transpose(0, 2, 1, 3).reshape(query.shape)
    return output, (attention if return_attention else None)


def attention_cost(
    *, batch: int, queries: int, keys: int, width: int, num_heads: int, return_attention: bool = False
) -> Cost:
    """Cost of one call."""
    scores = batch * num_heads * queries * keys
    softmax = softmax_cost(rows=batch * num_heads * queries, width=keys)
    moved = float32_traffic(2 * batch * queries * width, 2 * batch * keys * width)
    return Cost(
        flops=4 * batch * queries * keys * width + scores + softmax.flops,
        bytes=moved + (float32_traffic(scores) if return_attention else 0),
    )


# ----------------------------------------------------------------------------------------- compiled


def attention(
    runtime: Runtime,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    num_heads: int,
    return_attention: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute `attention_reference` in float32, without ever holding all scores.

    Parameters
    ----------
    runtime : Runtime
    query : ndarray of shape (batch, queries, width)
    key, value : ndarray of shape (batch, keys, width)
    num_heads : int
    return_attention : bool

    Returns
    -------
    output : ndarray of shape (batch, queries, width)
    attention : ndarray of shape (batch, num_heads, queries, keys), or None

    Raises
    ------
    ValueError
        If the shapes do not fit, or heads do not divide the width.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> value = np.array([[[1.0, 10.0], [3.0, 30.0]]])
    >>> output, _ = attention(Runtime(threads=1), np.zeros((1, 1, 2)), value, value, num_heads=2)
    >>> output.tolist()
    [[[2.0, 20.0]]]
    """
    batch, queries, width = query.shape
    if width % num_heads:
        raise ValueError(f"{num_heads} heads do not divide a width of {width}")
    if key.shape != (batch, key.shape[1], width) or value.shape != key.shape:
        raise ValueError(f"query has shape {query.shape}, key {key.shape}, value {value.shape}")
    plan = plan_attention(batch, queries, key.shape[1], width, num_heads)
    out = runtime.empty(batch, queries, width)
    maps = runtime.empty(batch, num_heads, queries, plan.keys) if return_attention else None
    runtime.run(
        pack_and_attend,
        *_strided(query),
        *_strided(key),
        *_strided(value),
        out.reshape(-1),
        NOTHING if maps is None else maps.reshape(-1),
        runtime.empty(batch * num_heads * plan.key_size),
        runtime.empty(batch * num_heads * plan.value_size),
        runtime.empty(runtime.threads * plan.scratch_size),
        plan,
        kernels=2,
    )
    return out, maps


@kernel
def pack_and_attend(
    query: np.ndarray,
    query_strides: HeadStrides,
    key: np.ndarray,
    key_strides: HeadStrides,
    value: np.ndarray,
    value_strides: HeadStrides,
    out: np.ndarray,
    maps: np.ndarray,
    packed_keys: np.ndarray,
    packed_values: np.ndarray,
    scratch: np.ndarray,
    plan: AttentionPlan,
    counters: np.ndarray,
    thread: int,
) -> int:
    """Call the two kernels of attention, one after the other, for a plain result."""
    width, plain = plan.num_heads * plan.head_dim, np.int64(1)
    taken = counters_of_a_kernel(counters[0])
    pack_keys_and_values(
        key, key_strides, value, value_strides, packed_keys, packed_values, plan, counters, thread
    )
    counters = counters[taken:]
    attend(
        query, query_strides, packed_keys, packed_values, out, width, plain, maps, scratch, plan,
        counters, thread,
    )  # fmt: skip
    counters = counters[taken:]
    return counters.size // taken


def _strided(x: np.ndarray) -> tuple[np.ndarray, HeadStrides]:
    """A flat array, and where in it the operand lies; a slice of a projection is not copied."""
    base = x.base
    if (
        isinstance(base, np.ndarray)
        and base.ndim == 1
        and base.dtype == x.dtype == np.float32
        and base.flags.writeable
        and base.flags.c_contiguous
        and x.strides[2] == x.itemsize
    ):
        start = (_address(x) - _address(base)) // x.itemsize
        return base, HeadStrides(start, x.strides[0] // x.itemsize, x.strides[1] // x.itemsize)
    whole = np.require(x, np.float32, ["C", "W"])
    return whole.reshape(-1), HeadStrides(0, whole.shape[1] * whole.shape[2], whole.shape[2])


def _address(x: np.ndarray) -> int:
    address: int = x.__array_interface__["data"][0]
    return address
