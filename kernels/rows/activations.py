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
    ``ACTIVATIONS`` holds the flops of an element; read once, written once.
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

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel, part, routine
from ..machine.elementary import exp_flushed, log1p_small, tanh
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, Vector, absolute, load, load_part, select, square_root, store, store_part
from .gelu import (
    GELU_EXACT_FLOPS,
    GELU_TANH_FLOPS,
    gelu_exact_reference,
    gelu_exact_vector,
    gelu_tanh_reference,
    gelu_tanh_vector,
    normal_distribution,
    normal_distribution_vector,
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
    """One activation function, its arithmetic, and the number by which compiled code knows it."""

    function: Callable[[np.ndarray], np.ndarray]
    flops: int
    """Floating-point operations an element."""
    code: int


IDENTITY, GELU_TANH, GELU_EXACT, SILU, QUICK_GELU, SIGMOID, TANH, RELU = range(8)
RELU2, RELU6, LEAKY_RELU, HARDSWISH, LAPLACE, MISH, SQRTSOFTPLUS, GELU_10 = range(8, 16)

_FUNCTIONS = {
    "gelu": Activation(gelu_exact_reference, GELU_EXACT_FLOPS, GELU_EXACT),
    "gelu_10": Activation(lambda x: np.clip(gelu_exact_reference(x), -10, 10), GELU_EXACT_FLOPS + 2, GELU_10),
    "gelu_pytorch_tanh": Activation(gelu_tanh_reference, GELU_TANH_FLOPS, GELU_TANH),
    "hardswish": Activation(lambda x: x * np.clip(x + 3, 0, 6) / 6, 5, HARDSWISH),
    "laplace": Activation(_laplace, 4, LAPLACE),
    "leaky_relu": Activation(lambda x: np.where(x >= 0, x, x.dtype.type(0.01) * x), 2, LEAKY_RELU),
    "linear": Activation(lambda x: x, 0, IDENTITY),
    "mish": Activation(lambda x: x * np.tanh(softplus(x)), 5, MISH),
    "quick_gelu": Activation(lambda x: x * sigmoid(1.702 * x), 5, QUICK_GELU),
    "relu": Activation(lambda x: np.maximum(x, 0), 1, RELU),
    "relu2": Activation(lambda x: np.square(np.maximum(x, 0)), 2, RELU2),
    "relu6": Activation(lambda x: np.clip(x, 0, 6), 2, RELU6),
    "sigmoid": Activation(sigmoid, 3, SIGMOID),
    "silu": Activation(lambda x: x * sigmoid(x), 4, SILU),
    "sqrtsoftplus": Activation(lambda x: np.sqrt(softplus(x)), 4, SQRTSOFTPLUS),
    "tanh": Activation(np.tanh, 1, TANH),
}
_OTHER_NAMES = {
    "gelu_accurate": "gelu_pytorch_tanh",
    "gelu_fast": "gelu_pytorch_tanh",
    "gelu_new": "gelu_pytorch_tanh",
    "gelu_python": "gelu",
    "gelu_python_tanh": "gelu_pytorch_tanh",
    "swish": "silu",
}
ACTIVATIONS = _FUNCTIONS | {other: _FUNCTIONS[name] for other, name in _OTHER_NAMES.items()}
"""By name"""


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


# ----------------------------------------------------------------------------------------- compiled

_f = np.float32
_ZERO, _ONE, _TWO, _THREE, _SIX, _TEN = _f(0), _f(1), _f(2), _f(3), _f(6), _f(10)


def activation_code(name: str | None) -> int:
    """Number by which compiled code knows an activation; no name is the identity.

    Examples
    --------
    >>> activation_code(None), activation_code("gelu_pytorch_tanh")
    (0, 1)
    """
    return IDENTITY if name is None else ACTIVATIONS[name].code


@part
def activate(code: int, x: Vector) -> Vector:
    """Apply an activation to 16 numbers."""
    if code == GELU_TANH:
        return gelu_tanh_vector(x)
    return _activate_rarer(code, x)


@routine
def _activate_rarer(code: int, x: Vector) -> Vector:
    y = x
    if code == GELU_EXACT:
        y = gelu_exact_vector(x)
    elif code == GELU_10:
        y = _clip(gelu_exact_vector(x), _ZERO - _TEN, _TEN)
    elif code == SILU:
        y = x / (exp_flushed(_ZERO - x) + _ONE)
    elif code == QUICK_GELU:
        y = x / (exp_flushed(x * _f(-1.702)) + _ONE)
    elif code == SIGMOID:
        y = _ONE / (exp_flushed(_ZERO - x) + _ONE)
    elif code == TANH:
        y = tanh(x)
    elif code == RELU:
        y = select(x < _ZERO, _ZERO, x)
    elif code == RELU2:
        y = select(x < _ZERO, _ZERO, x)
        y = y * y
    elif code == RELU6:
        y = _clip(x, _ZERO, _SIX)
    elif code == LEAKY_RELU:
        y = select(x < _ZERO, x * _f(0.01), x)
    elif code == HARDSWISH:
        y = x * _clip(x + _THREE, _ZERO, _SIX) / _SIX
    elif code == LAPLACE:
        y = normal_distribution_vector((x - _f(0.707107)) / _f(0.282095))
    elif code == MISH:
        y = _mish(x)
    elif code == SQRTSOFTPLUS:
        y = square_root(softplus_vector(x))
    return y


@part
def _clip(x: Vector, low: float, high: float) -> Vector:
    return select(x < low, low, select(x > high, high, x))


@part
def softplus_vector(x: Vector) -> Vector:
    """max(x, 0) + log(1 + exp(-|x|)), whose exponential cannot overflow."""
    return select(x < _ZERO, _ZERO, x) + log1p_small(exp_flushed(_ZERO - absolute(x)))


@part
def _mish(x: Vector) -> Vector:
    """X tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2), which is x itself for large x."""
    e = exp_flushed(x)
    n = e * (e + _TWO)
    return select(x > _f(20), x, x * n / (n + _TWO))


def activation(runtime: Runtime, x: np.ndarray, name: str) -> np.ndarray:
    """Compute `activation_reference` in float32: any shape, the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> y = activation(Runtime(threads=1), np.array([-1.0, 2.0, 9.0]), "relu6")
    >>> [round(float(value), 6) for value in y]
    [0.0, 2.0, 6.0]
    """
    out = runtime.empty(*x.shape)
    runtime.run(activate_elements, flat(x), out.reshape(-1), activation_code(name))
    return out


@kernel
def activate_elements(x: np.ndarray, out: np.ndarray, code: int, counters: np.ndarray, thread: int) -> None:
    """Take some thousand elements a task."""
    tasks = (x.size + tuning.ELEMENTS_OF_TASK - 1) // tuning.ELEMENTS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        end = min((task + 1) * tuning.ELEMENTS_OF_TASK, x.size)
        begin = task * tuning.ELEMENTS_OF_TASK
        if code == GELU_EXACT:  # a long chain of steps, two of which the processor goes through at a time
            pairs = begin + (end - begin & -(2 * LANES))
            for i in range(begin, pairs, 2 * LANES):
                y, z = gelu_exact_vector(load(x, i)), gelu_exact_vector(load(x, i + LANES))
                store(out, i, y)
                store(out, i + LANES, z)
            begin = pairs
        for i in range(begin, end & -LANES, LANES):
            store(out, i, activate(code, load(x, i)))
        if end & LANES - 1:
            i, count = end & -LANES, end & LANES - 1
            store_part(out, i, activate(code, load_part(x, i, count)), count)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)
