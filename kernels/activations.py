"""The activation functions that a configuration may name, with transformers' names.

Every published SigLIP uses ``gelu_pytorch_tanh``; the others are here because ``hidden_act`` may
name them. GELU has a file of its own, `gelu`; the rest are one line each:

    relu       max(x, 0)                    relu2         max(x, 0)^2
    relu6      min(max(x, 0), 6)            leaky_relu    x if x >= 0 else 0.01 x
    sigmoid    s(x) = 1 / (1 + exp(-x))     silu, swish   x s(x)
    quick_gelu x s(1.702 x)                 softplus      p(x) = log(1 + exp(x))
    mish       x tanh(p(x))                 sqrtsoftplus  sqrt(p(x))
    hardswish  x relu6(x + 3) / 6           laplace       Phi((x - 0.707107) / 0.282095)
    gelu_10    gelu clipped to [-10, 10]    tanh, linear  as they are called

Sigmoid and softplus are written with ``logaddexp``, log(exp(a) + exp(b)) without overflow:
p(x) = logaddexp(0, x), and s(x) = exp(-p(-x)).

Operand
    x  any shape, any float dtype
Result
    the shape and dtype of ``x``, C order
Cost
    The last column of ``ACTIVATIONS``, flops an element; read once, written once.
NaN
    NaN gives NaN. At infinity each takes its limit, or NaN where the formula is 0 * inf.
Source
    ``ACT2FN`` in transformers' ``activations`` module. Its ``prelu`` and ``xielu`` are missing here
    on purpose: they carry trained parameters, which no SigLIP checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .cost import Cost, float32_traffic
from .gelu import (
    GELU_EXACT_FLOPS,
    GELU_TANH_FLOPS,
    gelu_exact_reference,
    gelu_tanh_reference,
    normal_distribution,
)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), which overflows for no x.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(4).tolist()
    [0.0, 0.6931, 1000.0]
    """
    return np.logaddexp(x.dtype.type(0), x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), accurate for large negative x too.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.exp(-softplus(-x))


def _laplace(x: np.ndarray) -> np.ndarray:
    return normal_distribution((x.astype(np.float64) - 0.707107) / 0.282095).astype(x.dtype)


class Activation(NamedTuple):
    """One activation function and its arithmetic."""

    function: Callable[[np.ndarray], np.ndarray]
    flops: int
    """Floating-point operations an element."""


_gelu_exact = Activation(gelu_exact_reference, GELU_EXACT_FLOPS)
_gelu_tanh = Activation(gelu_tanh_reference, GELU_TANH_FLOPS)
_silu = Activation(lambda x: x * sigmoid(x), 4)

ACTIVATIONS: dict[str, Activation] = {
    "gelu": _gelu_exact,
    "gelu_10": Activation(lambda x: np.clip(gelu_exact_reference(x), -10, 10), GELU_EXACT_FLOPS + 2),
    "gelu_accurate": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_new": _gelu_tanh,
    "gelu_python": _gelu_exact,
    "gelu_python_tanh": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "hardswish": Activation(lambda x: x * np.clip(x + 3, 0, 6) / 6, 5),
    "laplace": Activation(_laplace, 4),
    "leaky_relu": Activation(lambda x: np.where(x >= 0, x, x.dtype.type(0.01) * x), 2),
    "linear": Activation(lambda x: x, 0),
    "mish": Activation(lambda x: x * np.tanh(softplus(x)), 5),
    "quick_gelu": Activation(lambda x: x * sigmoid(1.702 * x), 5),
    "relu": Activation(lambda x: np.maximum(x, 0), 1),
    "relu2": Activation(lambda x: np.square(np.maximum(x, 0)), 2),
    "relu6": Activation(lambda x: np.clip(x, 0, 6), 2),
    "sigmoid": Activation(sigmoid, 3),
    "silu": _silu,
    "sqrtsoftplus": Activation(lambda x: np.sqrt(softplus(x)), 4),
    "swish": _silu,
    "tanh": Activation(np.tanh, 1),
}


def activation_reference(x: np.ndarray, name: str) -> np.ndarray:
    """Apply the activation function of this name.

    Parameters
    ----------
    x : ndarray of any shape
    name : str
        A key of ``ACTIVATIONS``.

    Returns
    -------
    ndarray of the same shape and dtype

    Examples
    --------
    >>> import numpy as np
    >>> activation_reference(np.array([-1.0, 2.0, 9.0]), "relu6").tolist()
    [0.0, 2.0, 6.0]
    """
    with np.errstate(invalid="ignore", over="ignore"):  # 0 * inf at the far ends, as the contract says
        return ACTIVATIONS[name].function(x)


def activation_flops(name: str) -> int:
    """Floating-point operations an element of the activation of this name.

    Examples
    --------
    >>> activation_flops("relu")
    1
    """
    return ACTIVATIONS[name].flops


def activation_cost(*, elements: int, name: str) -> Cost:
    """Cost of one call."""
    return Cost(flops=activation_flops(name) * elements, bytes=float32_traffic(2 * elements))
