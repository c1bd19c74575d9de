"""Fused layers: pieces and groups of any number, and as many counters as there are calls."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_siglip.kernels.catalogue.layers import encoder_layer_operands, quantized_encoder_layer_operands
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.layers import layer_kernel, layer_plan
from numpy_siglip.kernels.layers.encoder import PackedEncoder, encoder
from numpy_siglip.kernels.layers.encoder_layer import encoder_layer, encoder_layer_reference
from numpy_siglip.kernels.machine import tuning
from numpy_siglip.kernels.machine.runtime import Runtime

DRAWN = {"float32": encoder_layer_operands, "int8": quantized_encoder_layer_operands}
INNER, ROWS_OF_PIECE = 40, 20
SIZES = {
    # images and tokens of each; groups of images and pieces of one
    "one piece": (1, 3, 1, 1),
    "several images in a piece": (3, 3, 1, 1),
    "several groups": (3, 9, 2, 1),
    "several pieces": (1, 43, 1, 3),
    "several pieces of several groups": (2, 43, 2, 3),
}


@pytest.fixture(params=[1, 2])
def runtime(request, monkeypatch) -> Runtime:
    """Threads whose pieces are small."""
    monkeypatch.setattr(tuning, "floats_of_thread", lambda: ROWS_OF_PIECE * INNER // request.param)
    return Runtime(threads=request.param)


def _operands(dtype: str, runtime: Runtime, batch: int, tokens: int, num_heads: int = 2):
    shape = {"batch": batch, "tokens": tokens, "width": 32, "intermediate_size": INNER}
    shape = {**shape, "num_heads": num_heads, "activation": "gelu_pytorch_tanh"}
    draw, plain = Sampler(seed=1, runtime=runtime), Sampler(seed=1)
    return DRAWN[dtype](draw, **shape), DRAWN[dtype](plain, **shape)


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_are_what_they_are_called(size, runtime):
    batch, tokens, groups, pieces = SIZES[size]
    images, rows = layer_plan.cut_into_pieces(tokens, INNER, runtime.threads)
    assert (-(-batch // images), -(-tokens // rows)) == (groups, pieces)


@pytest.mark.parametrize("dtype", DRAWN)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("num_heads", [2, 4])  # heads of whole vectors, and of parts of one
def test_every_call_has_its_counters(dtype, size, num_heads, runtime):
    """`Team.run` raises where they are not exactly as many."""
    operands, references = _operands(dtype, runtime, *SIZES[size][:2], num_heads)
    result = encoder_layer(runtime, **operands).copy()
    expected = encoder_layer_reference(**references)
    error = np.abs(result - expected).max() / np.abs(expected).max()
    assert error < (1e-5 if dtype == "float32" else 2e-2)
    others = {key: value for key, value in operands.items() if key not in ("hidden", "weights")}
    stack = PackedEncoder([operands["weights"]] * 3)
    for _ in range(2):
        result = encoder_layer(runtime, **{**operands, "hidden": result}).copy()
    np.testing.assert_array_equal(encoder(runtime, operands["hidden"], stack, **others), result)


@pytest.mark.parametrize("dtype", DRAWN)
@pytest.mark.parametrize("name", ["_KERNELS_OF_PIECE", "_KERNELS_OF_IMAGES"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_call_more_or_less_than_was_said_is_noticed(dtype, name, change, runtime, monkeypatch):
    operands, _ = _operands(dtype, runtime, *SIZES["one piece"][:2])
    said = getattr(layer_kernel, name)
    monkeypatch.setattr(layer_kernel, name, said + change)
    with pytest.raises(RuntimeError, match=f"{1 + change} are left where 1 should be"):
        encoder_layer(runtime, **operands)


@pytest.mark.parametrize("dtype", DRAWN)
def test_layers_in_several_calls_are_layers_in_one(dtype, runtime, monkeypatch):
    operands, _ = _operands(dtype, runtime, *SIZES["several images in a piece"][:2])
    stack = PackedEncoder([operands.pop("weights")] * 5)
    hidden = operands.pop("hidden")
    expected = encoder(runtime, hidden, stack, **operands).copy()
    monkeypatch.setattr(tuning, "KERNELS_OF_CALL", 20)
    np.testing.assert_array_equal(encoder(runtime, hidden, stack, **operands), expected)
