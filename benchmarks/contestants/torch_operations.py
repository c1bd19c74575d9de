"""The operations of the registry in torch, on the same operands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Operands = dict[str, Any]


def torch_operation(name: str, operands: Operands) -> Callable[[], Any] | None:
    """A call of torch that computes an operation of the registry, or None if torch has nothing like it.

    Operands are converted beforehand; what is timed is the call alone.

    Parameters
    ----------
    name : str
        Of an entry of ``OPS``.
    operands : dict
        As its reference takes them.
    """
    import torch

    function = OPERATIONS[name]
    if function is None:
        return None
    call = function(torch, {key: _converted(torch, value) for key, value in operands.items()})

    def without_gradient() -> Any:
        with torch.inference_mode():
            return call()

    return without_gradient


def _converted(torch: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, tuple):
        return tuple(_converted(torch, part) for part in value)
    return value


def _activation(torch: Any, name: str) -> Callable[[Any], Any]:
    functional = torch.nn.functional
    if name == "gelu_pytorch_tanh":
        return lambda x: functional.gelu(x, approximate="tanh")
    if name == "quick_gelu":
        return lambda x: x * torch.sigmoid(1.702 * x)
    return {"gelu": functional.gelu, "relu": functional.relu}[name]


def _linear(torch: Any, o: Operands) -> Callable[[], Any]:
    weight, bias = o["weights"]
    activate = _activation(torch, o["activation"]) if o["activation"] else None

    def call() -> Any:
        y = torch.nn.functional.linear(o["x"], weight, bias)
        if activate:
            y = activate(y)
        return y if o["residual"] is None else y + o["residual"]

    return call


def _attention(torch: Any, o: Operands) -> Callable[[], Any]:
    def call() -> Any:
        parts = (
            o[key].unflatten(2, (o["num_heads"], -1)).transpose(1, 2) for key in ("query", "key", "value")
        )
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    return call


def _patch_embedding(torch: Any, o: Operands) -> Callable[[], Any]:
    weight, bias = o["weights"]
    p = o["patch_size"]
    filters = weight.reshape(weight.shape[0], -1, p, p)

    def call() -> Any:
        tokens = torch.nn.functional.conv2d(o["pixels"], filters, bias, stride=p)
        return tokens.flatten(2).transpose(1, 2) + o["position"]

    return call


def _position_embedding(torch: Any, o: Operands) -> Callable[[], Any]:
    side = round(o["position"].shape[0] ** 0.5)

    def call() -> Any:
        table = o["position"].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        antialias = o["interpolation"] == "antialiased_bilinear"
        mode = "bilinear" if antialias else "bicubic"
        size = (o["rows"], o["columns"])
        grid = torch.nn.functional.interpolate(
            table, size=size, mode=mode, align_corners=False, antialias=antialias
        )
        return grid.permute(0, 2, 3, 1).reshape(o["rows"] * o["columns"], -1)

    return call


def _attention_pooling(torch: Any, o: Operands) -> Callable[[], Any]:
    probe, query, key_value, output = o["weights"]
    width = probe.shape[0]
    module = torch.nn.MultiheadAttention(width, o["num_heads"], batch_first=True, dtype=probe.dtype)
    stacked = [torch.cat([query[i], key_value[i]]) for i in (0, 1)]
    module.load_state_dict(
        {
            "in_proj_weight": stacked[0],
            "in_proj_bias": stacked[1],
            "out_proj.weight": output[0],
            "out_proj.bias": output[1],
        }
    )

    def call() -> Any:
        probes = probe.expand(o["hidden"].shape[0], 1, width)
        return module(probes, o["hidden"], o["hidden"], need_weights=False)[0][:, 0]

    return call


def _encoder_layer(torch: Any, o: Operands) -> Callable[[], Any]:
    layer = _layer(torch, o["weights"], o)
    return lambda: layer(o["hidden"])


def _encoder(torch: Any, o: Operands) -> Callable[[], Any]:
    layers = [_layer(torch, weights, o) for weights in o["layers"]]
    return lambda: functools.reduce(lambda hidden, layer: layer(hidden), layers, o["hidden"])


def _layer(torch: Any, weights: Any, o: Operands) -> Callable[[Any], Any]:
    norm1, stacked, out_proj, norm2, fc1, fc2 = weights
    functional, width = torch.nn.functional, o["hidden"].shape[-1]
    activate = _activation(torch, o["activation"])

    def call(hidden: Any) -> Any:
        normed = functional.layer_norm(hidden, (width,), *norm1, o["eps"])
        parts = functional.linear(normed, *stacked).chunk(3, dim=-1)
        parts = [part.unflatten(2, (o["num_heads"], -1)).transpose(1, 2) for part in parts]
        heads = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        hidden = hidden + functional.linear(heads, *out_proj)
        normed = functional.layer_norm(hidden, (width,), *norm2, o["eps"])
        return hidden + functional.linear(activate(functional.linear(normed, *fc1)), *fc2)

    return call


def _sigmoid_loss(torch: Any, o: Operands) -> Callable[[], Any]:
    signs = 2 * torch.eye(len(o["logits"])) - 1
    return lambda: -torch.nn.functional.logsigmoid(signs * o["logits"]).sum(dim=-1)


OPERATIONS: dict[str, Callable[[Any, Operands], Callable[[], Any]] | None] = {
    "activation": lambda torch, o: lambda: _activation(torch, o["name"])(o["x"]),
    "attention": _attention,
    "attention_pooling": _attention_pooling,
    "encoder": _encoder,
    "encoder_layer": _encoder_layer,
    "gelu_exact": lambda torch, o: lambda: _activation(torch, "gelu")(o["x"]),
    "gelu_tanh": lambda torch, o: lambda: _activation(torch, "gelu_pytorch_tanh")(o["x"]),
    "image_to_patches": lambda torch, o: (
        lambda: torch.nn.functional.unfold(o["pixels"], o["patch_size"], stride=o["patch_size"]).transpose(
            1, 2
        )
    ),
    "l2_normalize": lambda torch, o: lambda: torch.nn.functional.normalize(o["x"], dim=-1),
    "layer_norm": lambda torch, o: (
        lambda: torch.nn.functional.layer_norm(o["x"], o["weight"].shape, o["weight"], o["bias"], o["eps"])
    ),
    "linear": _linear,
    "mean_pooling": lambda torch, o: lambda: o["x"].mean(dim=1),
    "patch_embedding": _patch_embedding,
    "position_embedding": _position_embedding,
    "quantize_rows": None,
    "quantized_linear": None,
    "sigmoid_loss": _sigmoid_loss,
    "similarity": lambda torch, o: lambda: torch.matmul(o["x"], o["y"].T) * o["scale"] + o["bias"],
    "softmax": lambda torch, o: lambda: torch.softmax(o["x"], dim=-1),
    "token_embedding": lambda torch, o: (
        lambda: torch.nn.functional.embedding(o["ids"], o["table"]) + o["position"]
    ),
}
