"""A whole pre-norm transformer layer in one call.

    h = x + attention(layer_norm_1(x))        with query, key and value from one stacked projection
    y = h + mlp(layer_norm_2(h))              mlp(z) = fc2(activation(fc1(z)))

Nothing is computed here that the other files do not compute. What is saved is the way from one operation
to the next: some ten thousand instructions of Python, which find the caches full of weights and take
as long as 50 microseconds while every core waits. In one call, threads pass from one operation to
the next inside compiled code. The bits are those of the operations called one by one.

Operands
    hidden     (batch, tokens, width), any float dtype
    weights    `EncoderLayerWeights`, linear maps made by ``prepare_linear``
    num_heads  divides width
    activation a name from ``activations.ACTIVATIONS``
    eps        of both layer norms
Result
    (batch, tokens, width), the dtype of ``hidden``, C order. Nobody pads.
Cost
    The flops of its parts; hidden state and weights are read once, the result is written once.
NaN
    Spreads over its image.
Source
    Xiong et al., 2020, https://arxiv.org/abs/2002.04745; ``SiglipEncoderLayer`` in transformers'
    ``modeling_siglip``.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .activations import IDENTITY, activation_code
from .attention import attention_cost, attention_reference
from .attention_product import AttentionPlan, HeadStrides, attend, plan_attention
from .compilation import kernel, routine
from .cost import Cost, float32_traffic
from .layer_norm import layer_norm_cost, layer_norm_reference, normalise_rows
from .linear import linear_cost, linear_reference
from .matrix_product import Plan, multiply, plan_product
from .packing import round_up
from .runtime import Runtime, flat
from .threads import counters_of_a_kernel
from .tile import tile_of_this_machine
from .vector import LANES


class LayerNormWeights(NamedTuple):
    """Scale and shift of a layer norm."""

    weight: np.ndarray
    """(width,)"""
    bias: np.ndarray
    """(width,)"""


class EncoderLayerWeights(NamedTuple):
    """One pre-norm transformer layer. Linear maps are as the backend prepared them."""

    layer_norm1: LayerNormWeights
    query_key_value: Any
    """(width) -> (3 * width): the three projections, stacked in this order"""
    out_proj: Any
    """(width) -> (width)"""
    layer_norm2: LayerNormWeights
    fc1: Any
    """(width) -> (intermediate_size)"""
    fc2: Any
    """(intermediate_size) -> (width)"""


def encoder_layer_reference(
    hidden: np.ndarray, weights: EncoderLayerWeights, num_heads: int, activation: str, eps: float
) -> np.ndarray:
    """Run one layer: its parts one after the other.

    Parameters
    ----------
    hidden : ndarray of shape (batch, tokens, width)
    weights : EncoderLayerWeights
    num_heads : int
    activation : str
    eps : float

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    A layer whose last maps are zero adds nothing:

    >>> import numpy as np
    >>> from numpy_siglip.kernels.linear import LinearWeights
    >>> norm, zero = LayerNormWeights(np.ones(2), np.zeros(2)), LinearWeights(np.zeros((2, 2)), None)
    >>> stacked = LinearWeights(np.ones((6, 2)), None)
    >>> weights = EncoderLayerWeights(norm, stacked, zero, norm, zero, zero)
    >>> encoder_layer_reference(np.array([[[1.0, 2.0]]]), weights, num_heads=1, activation="relu", eps=0.1)
    array([[[1., 2.]]])
    """
    normed = layer_norm_reference(hidden, *weights.layer_norm1, eps)
    query, key, value = np.split(linear_reference(normed, weights.query_key_value), 3, axis=-1)
    heads, _ = attention_reference(query, key, value, num_heads)
    hidden = linear_reference(heads, weights.out_proj, residual=hidden)
    normed = layer_norm_reference(hidden, *weights.layer_norm2, eps)
    activated = linear_reference(normed, weights.fc1, activation=activation)
    return linear_reference(activated, weights.fc2, residual=hidden)


def encoder_layer_cost(
    *, batch: int, tokens: int, width: int, intermediate_size: int, num_heads: int, activation: str
) -> Cost:
    """Cost of one call."""
    rows, f = batch * tokens, intermediate_size
    parts = (
        layer_norm_cost(rows=rows, width=width) * 2,
        linear_cost(rows=rows, in_features=width, out_features=3 * width),
        attention_cost(batch=batch, queries=tokens, keys=tokens, width=width, num_heads=num_heads),
        linear_cost(rows=rows, in_features=width, out_features=width, residual=True),
        linear_cost(rows=rows, in_features=width, out_features=f, activation=activation),
        linear_cost(rows=rows, in_features=f, out_features=width, residual=True),
    )
    weights = 4 * width + 4 * (width * width + width) + 2 * width * f + f + width
    return Cost(flops=sum(part.flops for part in parts), bytes=float32_traffic(2 * rows * width, weights))


# ----------------------------------------------------------------------------------------- compiled


_KERNELS = 7
"""What one layer calls."""

_ROWS_AT_A_TIME = 256
"""A batch goes through a layer in pieces of at most this many rows, or of one image. What one operation wrote
is then still in the second level of cache when the next one reads it, and the memory for it is that of one
piece. Weights are read once more for each piece, but they are fetched ahead."""


class LayerPlan(NamedTuple):
    """Plans of the parts of a layer, and where their arrays lie in one piece of memory."""

    query_key_value: Plan
    attention: AttentionPlan
    out_proj: Plan
    fc1: Plan
    fc2: Plan
    normed: int
    """Begin of the normalised rows, and so on; each array ends where the next begins."""
    projected: int
    heads: int
    middle: int
    """The residual stream between the two halves of the layer."""
    activated: int
    keys: int
    values: int
    attending: int
    multiplying: int
    end: int


@functools.lru_cache(maxsize=64)
def plan_layer(
    batch: int, tokens: int, width: int, intermediate_size: int, num_heads: int, threads: int
) -> LayerPlan:
    """Sizes of the parts of a layer.

    Examples
    --------
    >>> plan = plan_layer(batch=1, tokens=2, width=8, intermediate_size=16, num_heads=2, threads=1)
    >>> plan.middle - plan.heads == plan.projected - plan.normed, plan.heads - plan.projected
    (True, 48)
    """
    rows, tile = batch * tokens, tile_of_this_machine()
    query_key_value = plan_product(rows, width, 3 * width, tile, threads)
    out_proj = plan_product(rows, width, width, tile, threads)
    fc1 = plan_product(rows, width, intermediate_size, tile, threads)
    fc2 = plan_product(rows, intermediate_size, width, tile, threads)
    products = (query_key_value, out_proj, fc1, fc2)
    attention = plan_attention(batch, tokens, tokens, width, num_heads)
    sizes = {
        "normed": out_proj.packed_size,
        "projected": rows * 3 * width,
        "heads": out_proj.packed_size,
        "middle": rows * width,
        "activated": fc2.packed_size,
        "keys": batch * num_heads * attention.key_size,
        "values": batch * num_heads * attention.value_size,
        "attending": threads * attention.own_size,
        "multiplying": threads * max(plan.tiles_size for plan in products) + out_proj.packed_size,
    }
    ends = np.cumsum([round_up(size, LANES) for size in sizes.values()]).tolist()  # at cache lines
    return LayerPlan(
        query_key_value=query_key_value,
        attention=attention,
        out_proj=out_proj,
        fc1=fc1,
        fc2=fc2,
        **dict(zip(sizes, [0, *ends], strict=False)),
        end=ends[-1],
    )


def encoder_layer(
    runtime: Runtime,
    hidden: np.ndarray,
    weights: EncoderLayerWeights,
    num_heads: int,
    activation: str,
    eps: float,
) -> np.ndarray:
    """Compute `encoder_layer_reference` in float32, on packed weights.

    Parameters
    ----------
    runtime : Runtime
    hidden : ndarray of shape (batch, tokens, width)
    weights : EncoderLayerWeights
        Linear maps made by ``pack_linear``.
    num_heads : int
    activation : str
    eps : float

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.packing import pack_linear
    >>> from numpy_siglip.kernels.runtime import Runtime
    >>> runtime = Runtime(threads=1)
    >>> norm, zero = LayerNormWeights(np.ones(2), np.zeros(2)), pack_linear(runtime, np.zeros((2, 2)))
    >>> weights = EncoderLayerWeights(norm, pack_linear(runtime, np.ones((6, 2))), zero, norm, zero, zero)
    >>> encoder_layer(runtime, np.array([[[1.0, 2.0]]]), weights, 1, "relu", eps=0.1).tolist()
    [[[1.0, 2.0]]]
    """
    batch, tokens, width = hidden.shape
    out = runtime.empty(batch, tokens, width)
    if not out.size:
        return out
    images = min(batch, max(1, _ROWS_AT_A_TIME // tokens))
    sizes = (tokens, width, weights.fc1.out_features, num_heads, runtime.threads)
    plan = plan_layer(images, *sizes)
    rest = plan_layer(batch % images or images, *sizes)
    pieces = -(-batch // images)
    runtime.run(
        encode,
        flat(hidden),
        *(flat(vector) for norm in (weights.layer_norm1, weights.layer_norm2) for vector in norm),
        *weights.query_key_value[:2],
        *weights.out_proj[:2],
        *weights.fc1[:2],
        *weights.fc2[:2],
        activation_code(activation),
        np.float32(eps),
        runtime.empty(plan.end),
        out.reshape(-1),
        plan,
        rest,
        kernels=pieces * _KERNELS,
    )
    return out


@kernel
def encode(
    hidden: np.ndarray,
    norm1_weight: np.ndarray,
    norm1_bias: np.ndarray,
    norm2_weight: np.ndarray,
    norm2_bias: np.ndarray,
    qkv_panels: np.ndarray,
    qkv_bias: np.ndarray,
    out_panels: np.ndarray,
    out_bias: np.ndarray,
    fc1_panels: np.ndarray,
    fc1_bias: np.ndarray,
    fc2_panels: np.ndarray,
    fc2_bias: np.ndarray,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    plan: LayerPlan,
    rest: LayerPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Take some images at a time through the whole layer; the last ones by a plan of their own."""
    counters = _KERNELS * counters_of_a_kernel(progress[0])
    pieces = progress.size // counters
    size = plan.attention.batch * plan.attention.queries * norm1_weight.size
    for piece in range(pieces):
        _encode_some(
            hidden[piece * size : (piece + 1) * size],
            norm1_weight, norm1_bias, norm2_weight, norm2_bias, qkv_panels, qkv_bias, out_panels, out_bias,
            fc1_panels, fc1_bias, fc2_panels, fc2_bias, activation, eps, memory,
            out[piece * size : (piece + 1) * size],
            plan if piece < pieces - 1 else rest,
            progress[piece * counters :],
            thread,
        )  # fmt: skip


@routine
def _encode_some(
    hidden: np.ndarray,
    norm1_weight: np.ndarray,
    norm1_bias: np.ndarray,
    norm2_weight: np.ndarray,
    norm2_bias: np.ndarray,
    qkv_panels: np.ndarray,
    qkv_bias: np.ndarray,
    out_panels: np.ndarray,
    out_bias: np.ndarray,
    fc1_panels: np.ndarray,
    fc1_bias: np.ndarray,
    fc2_panels: np.ndarray,
    fc2_bias: np.ndarray,
    activation: int,
    eps: float,
    memory: np.ndarray,
    out: np.ndarray,
    plan: LayerPlan,
    progress: np.ndarray,
    thread: int,
) -> None:
    """Call the kernels of the parts; each returns when all threads are done with it.

    What only a product reads is written packed.
    """
    width, inner = norm1_weight.size, fc1_bias.size
    rows = hidden.size // width
    tokens = plan.attention.queries
    panel_rows = plan.out_proj.tile_rows
    normed = memory[plan.normed : plan.projected]
    projected = memory[plan.projected : plan.heads]
    heads = memory[plan.heads : plan.middle]
    middle = memory[plan.middle : plan.middle + hidden.size]
    activated = memory[plan.activated : plan.keys]
    own = memory[plan.multiplying : plan.end]
    width16, inner16 = plan.fc1.row_size, plan.fc2.row_size
    heads_are_packed = np.int64(plan.attention.head_dim % LANES == 0)
    heads_size, heads_rows = (width16, panel_rows) if heads_are_packed else (width, 1)

    counters = counters_of_a_kernel(progress[0])
    # Not as literals, for each combination of which Numba would compile another product.
    identity, plain, packed = np.int64(IDENTITY), np.int64(1), np.int64(1)

    normalise_rows(hidden, norm1_weight, norm1_bias, eps, normed, width, width16, panel_rows,
                   progress[0 * counters :], thread)  # fmt: skip
    multiply(normed, packed, rows, width, qkv_panels, qkv_bias, 3 * width, identity, hidden[:0],
             projected, 3 * width, plain,
             own, plan.query_key_value, progress[1 * counters :], thread)  # fmt: skip
    attend(projected, HeadStrides(0 * width, 3 * width * tokens, 3 * width),
           projected, HeadStrides(1 * width, 3 * width * tokens, 3 * width),
           projected, HeadStrides(2 * width, 3 * width * tokens, 3 * width),
           heads, heads_size, heads_rows,
           hidden[:0], memory[plan.keys : plan.values], memory[plan.values : plan.attending],
           memory[plan.attending : plan.multiplying], plan.attention,
           progress[2 * counters :], thread)  # fmt: skip
    multiply(heads, heads_are_packed, rows, width, out_panels, out_bias, width, identity, hidden,
             middle, width, plain,
             own, plan.out_proj, progress[3 * counters :], thread)  # fmt: skip
    normalise_rows(middle, norm2_weight, norm2_bias, eps, normed, width, width16, panel_rows,
                   progress[4 * counters :], thread)  # fmt: skip
    multiply(normed, packed, rows, width, fc1_panels, fc1_bias, inner, activation, hidden[:0],
             activated, inner16, panel_rows,
             own, plan.fc1, progress[5 * counters :], thread)  # fmt: skip
    multiply(activated, packed, rows, inner, fc2_panels, fc2_bias, width, identity, middle,
             out, width, plain,
             own, plan.fc2, progress[6 * counters :], thread)  # fmt: skip
