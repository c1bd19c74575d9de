"""Every operation in plain Python loops over float64 numbers.

Written to be obviously right and nothing else. It imports nothing of the package; NumPy only holds
the numbers. Weights are plain arrays here: (out_features, in_features) and (out_features,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray


def _indices(*sizes: int) -> Iterator[tuple[int, ...]]:
    return product(*(range(size) for size in sizes))


def image_to_patches(pixels: Array, patch_size: int) -> Array:
    """Copy every pixel to its patch and to its place in the patch."""
    batch, channels, height, width = pixels.shape
    rows, columns, p = height // patch_size, width // patch_size, patch_size
    out = np.zeros((batch, rows * columns, channels * p * p))
    for b, c, y, x in _indices(batch, channels, rows * p, columns * p):
        token = (y // p) * columns + x // p
        feature = c * p * p + (y % p) * p + x % p
        out[b, token, feature] = pixels[b, c, y, x]
    return out


def patch_embedding(pixels: Array, weight: Array, bias: Array, position: Array, patch_size: int) -> Array:
    """A convolution with a stride: slide a filter over the image and sum what it covers."""
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch_size, width // patch_size
    filters = weight.reshape(-1, channels, patch_size, patch_size)
    out = np.zeros((batch, rows * columns, len(filters)))
    for b, y, x, d in _indices(batch, rows, columns, len(filters)):
        total = float(bias[d])
        for c, i, j in _indices(channels, patch_size, patch_size):
            total += float(filters[d, c, i, j]) * float(pixels[b, c, y * patch_size + i, x * patch_size + j])
        out[b, y * columns + x, d] = total + float(position[y * columns + x, d])
    return out


def _cubic(distance: float) -> float:
    """The interpolation kernel of Keys (1981) with a = -3/4, expanded."""
    d = abs(distance)
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    if d < 2:
        return -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3
    return 0.0


def _cubic_weights(place: float, side: int) -> dict[int, float]:
    """Four cells around a place; those beyond the edge repeat it."""
    weights: dict[int, float] = {}
    for cell in range(math.floor(place) - 1, math.floor(place) + 3):
        inside = min(max(cell, 0), side - 1)
        weights[inside] = weights.get(inside, 0.0) + _cubic(place - cell)
    return weights


def _triangle_weights(place: float, side: int, scale: float) -> dict[int, float]:
    """Every cell under a triangle whose half width is one new cell, and at least one old one."""
    heights = {cell: max(0.0, 1 - abs(place - cell) / max(scale, 1.0)) for cell in range(side)}
    return {cell: height / math.fsum(heights.values()) for cell, height in heights.items()}


def position_embedding(position: Array, rows: int, columns: int, interpolation: str) -> Array:
    """The cells around every new place, each weighted by its distance down and across."""
    side = math.isqrt(len(position))
    out = np.zeros((rows * columns, position.shape[1]))

    def weights(index: int, count: int) -> dict[int, float]:
        place = (index + 0.5) * side / count - 0.5
        if interpolation == "bicubic":
            return _cubic_weights(place, side)
        return _triangle_weights(place, side, side / count)

    for r, c in _indices(rows, columns):
        for (y, down), (x, across) in product(weights(r, rows).items(), weights(c, columns).items()):
            for d in range(position.shape[1]):
                out[r * columns + c, d] += down * across * float(position[y * side + x, d])
    return out


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Row by row: mean, variance, normalise, scale, shift."""
    rows, width = x.shape
    out = np.zeros((rows, width))
    for r in range(rows):
        mean = math.fsum(float(v) for v in x[r]) / width
        variance = math.fsum((float(v) - mean) ** 2 for v in x[r]) / width
        for d in range(width):
            normalised = (float(x[r, d]) - mean) / math.sqrt(variance + eps)
            out[r, d] = normalised * float(weight[d]) + float(bias[d])
    return out


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def _gelu_exact(x: float) -> float:
    return x * math.erfc(-x / math.sqrt(2)) / 2


def _gelu_tanh(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def activation_of_number(x: float, name: str) -> float:
    """One activation function of one number."""
    formulas: dict[str, Any] = {
        "gelu": _gelu_exact,
        "gelu_python": _gelu_exact,
        "gelu_10": lambda x: min(max(_gelu_exact(x), -10), 10),
        "gelu_accurate": _gelu_tanh,
        "gelu_fast": _gelu_tanh,
        "gelu_new": _gelu_tanh,
        "gelu_python_tanh": _gelu_tanh,
        "gelu_pytorch_tanh": _gelu_tanh,
        "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
        "laplace": lambda x: (1 + math.erf((x - 0.707107) / (0.282095 * math.sqrt(2)))) / 2,
        "leaky_relu": lambda x: x if x >= 0 else 0.01 * x,
        "linear": lambda x: x,
        "mish": lambda x: x * math.tanh(_softplus(x)),
        "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
        "relu": lambda x: max(x, 0),
        "relu2": lambda x: max(x, 0) ** 2,
        "relu6": lambda x: min(max(x, 0), 6),
        "sigmoid": _sigmoid,
        "silu": lambda x: x * _sigmoid(x),
        "sqrtsoftplus": lambda x: math.sqrt(_softplus(x)),
        "swish": lambda x: x * _sigmoid(x),
        "tanh": math.tanh,
    }
    return float(formulas[name](x))


def activation(x: Array, name: str) -> Array:
    """Element by element."""
    return np.array([activation_of_number(float(v), name) for v in x.ravel()]).reshape(x.shape)


def gelu_tanh(x: Array) -> Array:
    """Element by element."""
    return activation(x, "gelu_pytorch_tanh")


def gelu_exact(x: Array) -> Array:
    """Element by element."""
    return activation(x, "gelu")


def linear(
    x: Array, weight: Array, bias: Array | None, name: str | None = None, residual: Array | None = None
) -> Array:
    """Dot products, then bias, activation and residual, one number at a time."""
    rows, features = x.shape
    out = np.zeros((rows, len(weight)))
    for m, n in _indices(rows, len(weight)):
        total = math.fsum(float(x[m, k]) * float(weight[n, k]) for k in range(features))
        total += 0.0 if bias is None else float(bias[n])
        total = total if name is None else activation_of_number(total, name)
        out[m, n] = total + (0.0 if residual is None else float(residual[m, n]))
    return out


def quantize_rows(x: Array) -> tuple[Array, Array]:
    """Integers up to 127, and what they count. Which integer is nearest is decided in float32 everywhere."""
    q, scale = np.zeros(x.shape, np.int8), np.zeros(len(x), np.float32)
    limit = np.float32(127)
    for r, row in enumerate(x.astype(np.float32)):
        largest = max(abs(value) for value in row)
        if largest < 2.0**-100:
            continue
        scale[r] = largest / limit
        for k, value in enumerate(row):
            q[r, k] = round(float(value * (limit / largest)))  # halves to even
    return q, scale


def quantized_linear(
    x: Array, weights: Any, activation: str | None = None, residual: Array | None = None
) -> Array:
    """Sums of whole numbers, which Python's integers hold, times both scales."""
    weight, weight_scale, bias = weights
    q, scale = quantize_rows(x)
    out = np.zeros((len(x), len(weight)))
    for m, n in _indices(*out.shape):
        total = sum(int(a) * int(b) for a, b in zip(q[m], weight[n], strict=True))
        y = total * float(weight_scale[n]) * float(scale[m]) + float(bias[n])
        y = activation_of_number(y, activation) if activation else y
        out[m, n] = y + (float(residual[m, n]) if residual is not None else 0.0)
    return out


def softmax(x: Array) -> Array:
    """Exponentials over their sum."""
    out = np.zeros(x.shape)
    for r in range(len(x)):
        largest = max(float(v) for v in x[r])
        exponentials = [math.exp(float(v) - largest) for v in x[r]]
        for i, value in enumerate(exponentials):
            out[r, i] = value / math.fsum(exponentials)
    return out


def attention(query: Array, key: Array, value: Array, num_heads: int) -> tuple[Array, Array]:
    """For each image, head and query: score every key, weigh every value."""
    batch, queries, width = query.shape
    keys, head_dim = key.shape[1], width // num_heads
    out = np.zeros((batch, queries, width))
    maps = np.zeros((batch, num_heads, queries, keys))
    for b, h, i in _indices(batch, num_heads, queries):
        columns = range(h * head_dim, (h + 1) * head_dim)
        scores = [
            math.fsum(float(query[b, i, d]) * float(key[b, j, d]) for d in columns) / math.sqrt(head_dim)
            for j in range(keys)
        ]
        maps[b, h, i] = softmax(np.array([scores]))[0]
        for d in columns:
            out[b, i, d] = math.fsum(maps[b, h, i, j] * float(value[b, j, d]) for j in range(keys))
    return out, maps


def attention_pooling(
    hidden: Array,
    probe: Array,
    query: tuple[Array, Array],
    key: tuple[Array, Array],
    value: tuple[Array, Array],
    output: tuple[Array, Array],
    num_heads: int,
) -> tuple[Array, Array]:
    """One query an image, the same for all; its result is projected and nothing is added to it."""
    batch, _, width = hidden.shape
    pooled = np.zeros((batch, width))
    maps = []
    for b in range(batch):
        q = linear(probe.reshape(1, width), *query)[None]
        k, v = linear(hidden[b], *key)[None], linear(hidden[b], *value)[None]
        gathered, attended = attention(q, k, v, num_heads)
        pooled[b] = linear(gathered[0], *output)[0]
        maps.append(attended[0])
    return pooled, np.array(maps)


def encoder_layer(hidden: Array, weights: Any, num_heads: int, activation: str, eps: float) -> Array:
    """Token by token through the two halves; attention looks at one image at a time."""
    batch, tokens, width = hidden.shape
    rows = hidden.reshape(batch * tokens, width)
    stacked = linear(layer_norm(rows, *weights.layer_norm1, eps), *weights.query_key_value)
    parts = [stacked[:, i * width : (i + 1) * width].reshape(hidden.shape) for i in range(3)]
    heads = attention(*parts, num_heads)[0].reshape(rows.shape)
    middle = linear(heads, *weights.out_proj, residual=rows)
    widened = linear(layer_norm(middle, *weights.layer_norm2, eps), *weights.fc1, name=activation)
    return linear(widened, *weights.fc2, residual=middle).reshape(hidden.shape)


def token_embedding(ids: Array, table: Array, position: Array) -> Array:
    """Token by token."""
    out = np.zeros((*ids.shape, table.shape[1]))
    for b, t, d in _indices(*out.shape):
        out[b, t, d] = float(table[int(ids[b, t]), d]) + float(position[t, d])
    return out


def l2_normalize(x: Array) -> Array:
    """Every number over the length of its row."""
    return np.array([[float(v) / math.hypot(*(float(w) for w in row)) for v in row] for row in x])


def mean_pooling(x: Array) -> Array:
    """Column by column."""
    batch, tokens, width = x.shape
    out = np.zeros((batch, width))
    for b, d in _indices(batch, width):
        out[b, d] = math.fsum(float(x[b, t, d]) for t in range(tokens)) / tokens
    return out


def similarity(x: Array, y: Array, scale: float, bias: float) -> Array:
    """Pair by pair."""
    out = np.zeros((len(x), len(y)))
    for i, j in _indices(*out.shape):
        out[i, j] = scale * math.fsum(float(a) * float(b) for a, b in zip(x[i], y[j], strict=True)) + bias
    return out


def sigmoid_loss(logits: Array) -> Array:
    """The logarithm of the probability that a pair is judged rightly, summed over pairs."""
    size = len(logits)
    out = np.zeros(size)
    for i in range(size):
        right = [_sigmoid(float(logits[i, j]) * (1 if i == j else -1)) for j in range(size)]
        out[i] = -math.fsum(math.log(p) for p in right)
    return out
