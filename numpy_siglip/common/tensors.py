"""Tensors of torch as arrays of NumPy, without importing torch: known by what they can do."""

from __future__ import annotations

from typing import Any

_KNOWN_TO_NUMPY = ("torch.float16", "torch.float32", "torch.float64")


def without_torch(value: Any) -> Any:
    """A tensor as an array that shares its memory where it can; anything else as it is.

    Gradients are left behind, and what lies on another device is fetched. NumPy has no bfloat16, which
    float32 holds exactly.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> without_torch([1, 2])
    [1, 2]
    """
    if not all(hasattr(value, method) for method in ("detach", "cpu", "numpy", "is_floating_point")):
        return value
    tensor = value.detach().cpu()
    if tensor.is_floating_point() and str(tensor.dtype) not in _KNOWN_TO_NUMPY:
        tensor = tensor.float()
    return tensor.numpy()
