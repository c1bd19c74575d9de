"""What torch, NumPy and their users call devices and types of numbers, without importing torch."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .checks import shown


def is_cpu(device: Any) -> bool:
    """Whether a device is the processor, be it a name, a ``torch.device``, or -1 as for a pipeline.

    Examples
    --------
    >>> is_cpu("cpu"), is_cpu(-1), is_cpu("cuda:0"), is_cpu(0), is_cpu("auto")
    (True, True, False, False, False)
    """
    return str(device) in ("cpu", "cpu:0", "-1")


def is_device(value: Any) -> bool:
    """Whether a value names a device and not a type of numbers.

    Examples
    --------
    >>> is_device("cuda:0"), is_device("float16"), is_device(float)
    (True, False, False)
    """
    return type(value).__name__ in ("int", "device") or str(value).partition(":")[0] in (
        *("cpu", "cuda", "mps", "xpu", "npu", "hpu", "meta", "xla"),
    )


def require_cpu(name: str, device: Any) -> None:
    """Refuse any device but the processor.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> require_cpu("device", "cuda")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: device is 'cuda'; everything is computed on the CPU: pass 'cpu' or ...
    """
    if not is_cpu(device):
        raise ConfigError(
            f"{name} is {shown(device)}; everything is computed on the CPU: pass 'cpu' or leave it out"
        )


def dtype_name(dtype: Any) -> str:
    """The name of a type of numbers, however it is given; of what is none, how a message shows it.

    Parameters
    ----------
    dtype : object
        A name, a type of NumPy or, known by how it is written, of torch.

    Examples
    --------
    >>> import numpy as np
    >>> dtype_name("torch.float32"), dtype_name(np.float16), dtype_name(np.dtype("int8"))
    ('float32', 'float16', 'int8')
    >>> dtype_name(7)
    '7'
    """
    if isinstance(dtype, str):
        return dtype.removeprefix("torch.")
    if type(dtype).__module__ == "torch":
        return str(dtype).removeprefix("torch.")
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)  # a numpy.dtype, or a class
    return {"float": "float64", "half": "float16"}.get(name, name) if isinstance(name, str) else shown(dtype)
