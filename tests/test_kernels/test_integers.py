"""Quantised rows and products of integers: exact at every edge, on every processor, and finite."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.assert_close import assert_close
from helpers.embedding_process import PATIENCE

from numpy_siglip.kernels.catalogue.layers import encoder_layer_operands, quantized_encoder_layer_operands
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.layers.encoder import PackedEncoder, encoder
from numpy_siglip.kernels.layers.encoder_layer import encoder_layer, encoder_layer_reference
from numpy_siglip.kernels.machine.processor import architecture
from numpy_siglip.kernels.machine.runtime import NOTHING, Runtime
from numpy_siglip.kernels.products.integer_product import multiply_integers, plan_integer_product
from numpy_siglip.kernels.products.quantized_linear import (
    QuantizedWeights,
    quantized_linear,
    quantized_linear_reference,
)
from numpy_siglip.kernels.rows.quantization import quantize_rows, quantize_rows_reference
from numpy_siglip.kernels.tiles.integer_packing import pack_integers
from numpy_siglip.kernels.tiles.integer_tile import LARGEST_DEPTH, PAIRS, word_of_this_machine
from numpy_siglip.kernels.tiles.matrix_tile import integer_tile_of_this_machine

_TILE = integer_tile_of_this_machine()
_HEIGHTS = sorted({1, _TILE.rows // 2, _TILE.rows - 1, _TILE.rows, _TILE.rows + 1, 2 * _TILE.rows + 3})
_WIDTHS = sorted({1, 15, 16, 17, _TILE.columns - 1, _TILE.columns, _TILE.columns + 1, 2 * _TILE.columns + 3})


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(threads=2)


def _bytes(*shape: int, seed: int, low: int = -127) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 128, shape).astype(np.int8)


def _sums(runtime: Runtime, q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The compiled product of integers alone: scales are 1, so that float32 rounds the sums once."""
    (rows, depth), width = q.shape, len(weight)
    plan = plan_integer_product(rows, depth, width, runtime.threads)
    word = word_of_this_machine()
    element = np.int16 if word == PAIRS else np.uint8
    padded = np.zeros((plan.row_panels * plan.tile_rows, word.neighbours * plan.row_size), element)
    padded[:rows, :depth] = (q.astype(np.int16) + word.zero_point).astype(element)
    blocks = padded.reshape(plan.row_panels, plan.tile_rows, plan.row_size // 16, -1)
    packed = np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).view(np.float32).reshape(-1)
    out = np.empty(rows * width, np.float32)
    scratch = np.empty(runtime.threads * plan.tiles_size, np.float32)
    weights = pack_integers(runtime, weight, np.ones(width, np.float32))
    ones = np.ones(rows, np.float32)
    runtime.run(multiply_integers, packed, ones, rows, weights, 0, NOTHING, out, scratch, plan)
    return out.reshape(rows, width)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 588])
def test_sums_are_exact_at_every_edge_of_a_tile(depth, runtime):
    for rows in _HEIGHTS:
        for width in _WIDTHS:
            q, weight = _bytes(rows, depth, seed=1), _bytes(width, depth, seed=2)
            expected = q.astype(np.int64) @ weight.T.astype(np.int64)
            result = _sums(runtime, q, weight)
            np.testing.assert_array_equal(result, expected.astype(np.float32), f"{rows} x {depth} x {width}")


@pytest.mark.parametrize("depth", [4304, 4609, 6144, LARGEST_DEPTH])
def test_the_largest_sums_are_exact(depth, runtime):
    """Where 16 bits would saturate, and K is cut into blocks; K = 66311 fills 32 bits."""
    q = np.array([[127], [-127], [1]], np.int8).repeat(depth, axis=1)
    weight = np.concatenate([_bytes(17, depth, seed=3), np.full((2, depth), 127), np.full((2, depth), -127)])
    weight = weight.astype(np.int8)
    expected = q.astype(np.int64) @ weight.T.astype(np.int64)
    np.testing.assert_array_equal(_sums(runtime, q, weight), expected.astype(np.float32))


@pytest.mark.parametrize("depth", [768, 4704])
def test_sums_of_several_tasks_are_exact(depth, runtime):
    """Blocks of rows and panels of weights, also where sums wait for the next block of K."""
    q, weight = _bytes(203, depth, seed=4), _bytes(149, depth, seed=5)
    expected = q.astype(np.int64) @ weight.T.astype(np.int64)
    np.testing.assert_array_equal(_sums(runtime, q, weight), expected.astype(np.float32))


def test_a_sum_that_might_not_fit_is_refused(runtime):
    with pytest.raises(ValueError, match="66312 columns"):
        pack_integers(runtime, np.zeros((1, LARGEST_DEPTH + 1), np.int8), np.ones(1))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 32, 47, 588, 4304])
def test_compiled_rows_are_quantised_to_the_same_integers(width, runtime):
    x = np.random.default_rng(width).standard_normal((19, width)).astype(np.float32) * 3
    x[3] = 0
    x[4] *= 1e-33
    x[5] *= 1e30
    x[6] = np.linspace(-127, 127, width)  # halves among them, which go to even
    (q, scale), (q_expected, scale_expected) = quantize_rows(runtime, x), quantize_rows_reference(x)
    np.testing.assert_array_equal(q, q_expected)
    np.testing.assert_array_equal(scale, scale_expected)
    np.testing.assert_allclose(q * scale[:, None], x, atol=np.abs(x).max(axis=1).max() / 250)
    assert q.min() >= -127


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 16, 40])
def test_what_is_not_finite_spreads_over_its_row_and_no_further(bad, column, runtime):
    x, weight = np.random.default_rng(0).standard_normal((5, 41)).astype(np.float32), _bytes(20, 41, seed=1)
    x[2, column] = bad
    packed = pack_integers(runtime, weight, np.ones(20))
    for result in (
        quantized_linear(runtime, x, packed),
        quantized_linear_reference(x, QuantizedWeights(weight, np.ones(20), None)),
    ):
        assert np.isnan(result[2]).all()
        assert np.isfinite(np.delete(result, 2, axis=0)).all()


def test_constant_and_outlying_channels_stay_finite(runtime):
    draw = np.random.default_rng(0)
    x = draw.standard_normal((7, 48)).astype(np.float32)
    x[:, 3] = 1e4
    x[:, 4] = 0
    weight = draw.standard_normal((9, 48)).astype(np.float32)
    weight[2], weight[3], weight[:, 5] = 0, 1e-20, 1e6
    q, scale = quantize_rows(runtime, weight)
    result = quantized_linear(runtime, x, pack_integers(runtime, q, scale))
    assert np.isfinite(result).all()
    assert (result[:, 2] == 0).all()


@pytest.mark.parametrize(
    "shape",
    [
        {"batch": 1, "tokens": 1, "width": 2, "num_heads": 1, "intermediate_size": 7},
        {"batch": 3, "tokens": 5, "width": 33, "num_heads": 3, "intermediate_size": 70},
        {"batch": 2, "tokens": 300, "width": 144, "num_heads": 2, "intermediate_size": 4304},
    ],
    ids=str,
)
def test_quantised_layers(shape, runtime):
    """A difference of one unit in the last place before rounding may become one of a whole step behind it."""
    shape = {**shape, "activation": "gelu_pytorch_tanh"}
    operands = quantized_encoder_layer_operands(Sampler(seed=1, runtime=runtime), **shape)
    references = quantized_encoder_layer_operands(Sampler(seed=1), **shape)
    result, expected = encoder_layer(runtime, **operands), encoder_layer_reference(**references)
    assert_close(result, expected, relative=0.02, same_dtype=False)
    assert np.median(np.abs(result - expected)) < 1e-5 * np.abs(expected).max()


def test_layers_of_both_kinds_in_one_stack(runtime):
    """A stack is the layers one after the other, to the last bit, whatever is quantised in them."""
    shape = {"batch": 2, "tokens": 7, "width": 33, "num_heads": 3, "intermediate_size": 70}
    shape = {**shape, "activation": "gelu_pytorch_tanh"}
    whole = encoder_layer_operands(Sampler(seed=1, runtime=runtime), **shape)
    rounded = quantized_encoder_layer_operands(Sampler(seed=2, runtime=runtime), **shape)
    float32, int8 = whole.pop("weights"), rounded["weights"]
    mixed = int8._replace(fc1=float32.fc1)
    layers = [int8, int8, mixed, float32, mixed, mixed, int8]
    hidden = whole.pop("hidden")
    expected = hidden
    for layer in layers:
        expected = encoder_layer(runtime, expected, layer, **whole).copy()
    np.testing.assert_array_equal(encoder(runtime, hidden, PackedEncoder(layers), **whole), expected)


SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from numpy_siglip.kernels.machine.instruction_level import instruction_features
from numpy_siglip.kernels.tiles.integer_packing import pack_integers
from numpy_siglip.kernels.products.quantized_linear import QuantizedWeights, quantized_linear
from numpy_siglip.kernels.products.quantized_linear import quantized_linear_reference
from numpy_siglip.kernels.machine.runtime import Runtime
form = sys.argv[1]
if form == "portable":
    import numpy_siglip.kernels.tiles.integer_tile as integer_tile
    import numpy_siglip.kernels.tiles.integer_tile_emission as emission
    integer_tile.instruction_features = emission.instruction_features = lambda: frozenset()
else:
    assert form in instruction_features(), instruction_features()
    assert not set(sys.argv[2:]) & instruction_features()
draw = np.random.default_rng(0)
x = draw.standard_normal((9, 300)).astype(np.float32)
weight = draw.integers(-127, 128, (37, 300)).astype(np.int8)
weight[0], x[0] = 127, 1
result = quantized_linear(Runtime(threads=1), x, pack_integers(Runtime(threads=1), weight, np.ones(37)))
expected = quantized_linear_reference(x.astype(np.float64), QuantizedWeights(weight, np.ones(37), None))
np.testing.assert_allclose(result, expected, rtol=3e-7)
"""

FORMS = {
    "avxvnni": ("alderlake", "+avx2,+fma,+avxvnni", "avx512vnni"),
    "avx512bw": ("skylake-avx512", "+avx512f,+avx512bw,+avx2,+fma", "avx512vnni"),
    "avx2": ("haswell", "+avx2,+fma", "avxvnni", "avx512bw"),
    "x86_64": ("x86-64", "+sse2", "avx2"),
    "portable": ("x86-64", "+sse2"),
}


def _flags() -> set[str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    line = next((line for line in lines if line.startswith("flags")), "")
    return {flag.replace("avx_vnni", "avxvnni") for flag in line.split()}


@pytest.mark.skipif(architecture() != "x86_64", reason="x86-64 processors are named here")
@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_add_products_gives_the_same_sums(form, sums):
    result = sums[form]
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """What came of every form; compiling takes one core, so that several processes do it at a time."""

    def run(form: str) -> subprocess.CompletedProcess[str]:
        folder = folders[form]  # of its own, since two forms are code of the same name
        name, features, *missing = FORMS[form]
        if form in ("avxvnni", "avx512bw") and form not in _flags():
            form, (name, features, *missing) = "avx2", FORMS["avx2"]
        environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": folder}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, form, *missing],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    folders = {form: str(tmp_path_factory.mktemp(form)) for form in FORMS}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(FORMS, pool.map(run, FORMS), strict=True))
