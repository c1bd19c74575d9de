r"""Weights balanced before they are quantised, so that no channel spoils the scale of all others.

    W x = (W diag(s)) (diag(1 / s) x)

A token's scale is set by its largest channel. Channels that are always large are divided by an s, and the
columns of the weight that meet them multiplied; the division is folded into what makes x: the layer norm in
front of the queries, keys and values and of the MLP, and the rows of v_proj in front of out_proj, whose
input is a mixture of values. (In front of fc2 stands the activation, through which nothing can be folded.)

    s[j] = 2 ** round(log2(a[j] ** strength / w[j] ** (1 - strength)))

where a[j] is how large channel j gets, measured on images or estimated from the weights that make it, and
w[j] the largest weight of its column. Being powers of two, the factors change no bit of the map in float32.
Whether to balance, by which a and how strongly, is tried out for every map on inputs it was seen with, and
what gives the smallest error is taken: often nothing.

Xiao et al., 2023, https://arxiv.org/abs/2211.10438 (SmoothQuant), equation 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...kernels.backend import Backend
from .calibration import Calibration

STRENGTHS = (0.25, 0.5, 0.75)
_SPREAD = 3.0
"""Standard deviations that a channel is taken to reach, where it is estimated."""
_LARGEST_FACTOR = 2.0**12

Read = Callable[[str], np.ndarray]
"""Gives a tensor in float32 by its name."""


class Balance(NamedTuple):
    """How the input of some maps of a layer was balanced."""

    layer: str
    """Such as ``encoder.layers.0``"""
    maps: tuple[str, ...]
    """Such as ``self_attn.q_proj``: the maps that share an input, multiplied along their columns"""
    divided: tuple[str, ...]
    """The tensors that are divided along their first axis"""
    factors: np.ndarray | None
    """One for each channel, or None if nothing was better"""
    chosen: str
    """In words"""
    error_before: float
    """Of the maps' results, relative to their norm"""
    error: float


_PLACES = (
    (
        "layer_norm1",
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("layer_norm1.weight", "layer_norm1.bias"),
    ),
    ("attention/heads", ("self_attn.out_proj",), ("self_attn.v_proj.weight", "self_attn.v_proj.bias")),
    ("layer_norm2", ("mlp.fc1",), ("layer_norm2.weight", "layer_norm2.bias")),
)


def balance_layer(read: Read, index: int, calibration: Calibration, ops: Backend) -> list[Balance]:
    """Find factors for one layer.

    Parameters
    ----------
    read : callable
    index : int
    calibration : Calibration
    ops : Backend
    """
    layer = f"encoder.layers.{index}"
    result = []
    for stage, maps, divided in _PLACES:
        weight = np.concatenate([read(f"{layer}.{name}.weight") for name in maps])
        rows = calibration.rows(index, stage)
        expected = ops.linear(rows, ops.prepare_linear(weight)).copy()
        magnitudes = {
            "weights": _estimate(read, layer, divided),
            "images": calibration.largest(index, stage),
        }
        before = _error(rows, weight, expected, ops)
        best = Balance(layer, maps, divided, None, "none", before, before)
        for source, magnitude in magnitudes.items():
            for strength in STRENGTHS:
                factors = _factors(magnitude, np.abs(weight).max(axis=0), strength)
                error = _error(rows / factors, weight * factors, expected, ops)
                if error < best.error:
                    best = best._replace(factors=factors, chosen=f"{source} {strength}", error=error)
        result.append(best)
    return result


def _factors(magnitude: np.ndarray, weight: np.ndarray, strength: float) -> np.ndarray:
    """One for each channel, around 1, and 1 for channels that are nothing."""
    usable = (magnitude > 0) & (weight > 0) & np.isfinite(magnitude)
    if not usable.any():
        return np.ones(len(weight), np.float32)
    a, w = np.where(usable, magnitude, 1), np.where(usable, weight, 1)
    logarithm = strength * np.log2(a) - (1 - strength) * np.log2(w)
    logarithm = logarithm - logarithm[usable].mean()
    factors = np.exp2(np.rint(logarithm)).clip(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return np.where(usable, factors, 1).astype(np.float32)


def _error(rows: np.ndarray, weight: np.ndarray, expected: np.ndarray, ops: Backend) -> float:
    """How far a quantised map is from what it should give, relative to the norm of that."""
    quantised = ops.prepare_quantized_linear(*ops.quantize_rows(weight))
    difference = ops.linear(rows, quantised) - expected
    return float(np.linalg.norm(difference) / max(float(np.linalg.norm(expected)), 1e-30))


def _estimate(read: Read, layer: str, divided: tuple[str, ...]) -> np.ndarray:
    """How large each channel may get, from the weights that make it."""
    scale, shift = (read(f"{layer}.{name}") for name in divided)
    if scale.ndim == 1:  # a layer norm gives channels of about this standard deviation and mean
        return np.asarray(_SPREAD * np.abs(scale) + np.abs(shift))
    norm_weight, norm_bias = (read(f"{layer}.layer_norm1.{kind}") for kind in ("weight", "bias"))
    deviation = np.sqrt(np.square(scale * norm_weight).sum(axis=1))
    return np.asarray(_SPREAD * deviation + np.abs(shift + scale @ norm_bias))
