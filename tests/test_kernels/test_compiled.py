"""Every compiled operation against its reference in float64, at sizes around the edges of its tiles."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.assert_close import assert_close

from numpy_siglip.kernels.attention.attention import attention, attention_reference
from numpy_siglip.kernels.attention.attention_pooling import (
    attention_pooling,
    fold_attention_pooling,
)
from numpy_siglip.kernels.catalogue.layers import encoder_layer_operands
from numpy_siglip.kernels.catalogue.registry import OPS
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.inputs.position_embedding import position_embedding
from numpy_siglip.kernels.inputs.token_embedding import token_embedding
from numpy_siglip.kernels.layers.encoder_layer import encoder_layer
from numpy_siglip.kernels.machine import tuning
from numpy_siglip.kernels.machine.caches import Caches
from numpy_siglip.kernels.machine.runtime import Runtime
from numpy_siglip.kernels.products.linear import LinearWeights, linear, linear_reference
from numpy_siglip.kernels.products.matrix_product import plan_product
from numpy_siglip.kernels.rows.activations import ACTIVATIONS, activation, activation_reference
from numpy_siglip.kernels.rows.layer_norm import layer_norm
from numpy_siglip.kernels.tiles.packing import pack_linear
from numpy_siglip.kernels.tiles.tile import AVX2, AVX512, PORTABLE, Tile, multiply_tile, tile_of_this_machine

RELATIVE = 2e-6
"""Of the largest magnitude of a result. float32 resolves 6e-8; sums of some thousand terms lose a digit."""

CASES = [
    pytest.param(op, shape, id=f"{op.name}-{index}")
    for op in OPS
    for index, shape in enumerate(op.check_shapes)
]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(threads=2)


def _as_tuple(result) -> tuple[np.ndarray, ...]:
    results = result if isinstance(result, tuple) else (result,)
    return tuple(part for part in results if part is not None)


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _widened(value):
    """Operands of the reference in float64, those inside weights included."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    if isinstance(value, tuple):
        parts = [_widened(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def _compare(op, shape, runtime, relative=RELATIVE) -> None:
    wide = {name: _widened(value) for name, value in op.operands(Sampler(seed=1), **shape).items()}
    operands = op.operands(Sampler(seed=1, runtime=runtime), **shape)
    results, expected = _as_tuple(op.compiled(runtime, **operands)), _as_tuple(op.reference(**wide))
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        assert result.dtype == (reference.dtype if reference.dtype.kind == "i" else np.float32)
        assert result.flags.c_contiguous
        assert_close(result, reference, relative=relative, name=op.name, same_dtype=False)


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_compiled_operations_equal_their_references(op, shape, runtime):
    _compare(op, shape, runtime)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_compiled_operations_equal_their_references_at_the_shapes_of_a_model(op, runtime):
    for name, shape in op.model_shapes.items():
        if "base-patch16-224" in name:
            _compare(op, shape, runtime)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_compiled_operations_equal_their_references_at_the_shapes_of_large_models(op, runtime):
    for name, shape in op.model_shapes.items():
        if "base-patch16-224" not in name:
            _compare(op, shape, runtime)


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_operands_are_left_alone_and_may_be_read_only(op, shape, runtime):
    operands = op.operands(Sampler(seed=2, runtime=runtime), **shape)
    arrays = {name: value for name, value in operands.items() if isinstance(value, np.ndarray)}
    expected = [part.copy() for part in _as_tuple(op.compiled(runtime, **operands))]
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    for result, other in zip(_as_tuple(op.compiled(runtime, **operands)), expected, strict=True):
        np.testing.assert_array_equal(result, other)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_memory_order_of_operands_does_not_matter(op, shape, runtime):
    operands = op.operands(Sampler(seed=3, runtime=runtime), **shape)
    turned = {
        name: np.asfortranarray(value) if isinstance(value, np.ndarray) else value
        for name, value in operands.items()
    }
    expected = [part.copy() for part in _as_tuple(op.compiled(runtime, **operands))]
    for result, other in zip(_as_tuple(op.compiled(runtime, **turned)), expected, strict=True):
        np.testing.assert_array_equal(result, other)


# ----------------------------------------------------------------------------------- matrix products

_TILE = tile_of_this_machine()
_HEIGHTS = sorted({1, _TILE.rows // 2, _TILE.rows - 1, _TILE.rows, _TILE.rows + 1, 2 * _TILE.rows + 3})
_WIDTHS = sorted({1, 15, 16, 17, _TILE.columns - 1, _TILE.columns, _TILE.columns + 1, 2 * _TILE.columns + 3})
_DEPTHS = [1, 3, 4, 5, 15, 16, 17, 31, 588]


@pytest.mark.parametrize("depth", _DEPTHS)
def test_products_at_every_edge_of_a_tile(depth, runtime):
    for rows in _HEIGHTS:
        for width in _WIDTHS:
            x, weight = _random(rows, depth), _random(width, depth, seed=1)
            bias, residual = _random(width, seed=2), _random(rows, width, seed=3)
            packed = pack_linear(runtime, weight, bias)
            wide = (x.astype(np.float64), LinearWeights(weight.astype(np.float64), bias))
            expected = linear_reference(*wide, "gelu_pytorch_tanh", residual)
            result = linear(runtime, x, packed, "gelu_pytorch_tanh", residual)
            assert_close(
                result, expected, relative=RELATIVE, name=f"{rows} x {depth} x {width}", same_dtype=False
            )


@pytest.mark.parametrize("depth", [1151, 1152, 1153, 2305, 4304])
def test_products_that_are_cut_along_k(depth, runtime):
    x, weight, residual = _random(9, depth), _random(49, depth, seed=1), _random(9, 49, seed=2)
    expected = linear_reference(x.astype(np.float64), LinearWeights(weight, None), None, residual)
    result = linear(runtime, x, pack_linear(runtime, weight), residual=residual)
    assert_close(result, expected, relative=RELATIVE, same_dtype=False)


def test_products_of_many_blocks_of_rows(runtime, monkeypatch):
    """Over a thousand rows, so that they are cut into blocks, with K cut as well."""
    monkeypatch.setattr(tuning, "caches", lambda: Caches(2**14, 2**17))
    plan_product.cache_clear()
    x, weight, bias = _random(1003, 1200), _random(70, 1200, seed=1), _random(70, seed=2)
    plan = plan_product(1003, 1200, 70, _TILE, threads=2)
    assert plan.row_blocks > 1
    assert plan.depth < 1200
    expected = linear_reference(x.astype(np.float64), LinearWeights(weight, bias), "relu")
    result = linear(runtime, x, pack_linear(runtime, weight, bias), "relu")
    assert_close(result, expected, relative=RELATIVE, same_dtype=False)
    plan_product.cache_clear()


def test_a_residual_of_fewer_rows_is_repeated(runtime):
    x, weight, residual = _random(3, 5, 7), _random(20, 7, seed=1), _random(5, 20, seed=2)
    expected = linear_reference(x.astype(np.float64), LinearWeights(weight, None), residual=residual)
    result = linear(runtime, x, pack_linear(runtime, weight), residual=residual)
    assert_close(result, expected, relative=RELATIVE, same_dtype=False)


def test_shapes_that_do_not_fit_are_named(runtime):
    packed = pack_linear(runtime, _random(4, 3))
    with pytest.raises(ValueError, match=r"\(2, 5\).*3 features"):
        linear(runtime, _random(2, 5), packed)
    for shape in ((2, 3), (3, 4)):
        with pytest.raises(ValueError, match=r"residual has shape .*\(2, 4\)"):
            linear(runtime, _random(2, 3), packed, residual=_random(*shape))


@pytest.mark.parametrize(
    ("operation", "operands", "message"),
    [
        (attention, ((1, 2, 7), (1, 2, 7), (1, 2, 7), 2), "2 heads do not divide a width of 7"),
        (attention, ((1, 2, 8), (1, 3, 4), (1, 3, 4), 2), r"query .*\(1, 2, 8\), key \(1, 3, 4\)"),
        (attention, ((1, 2, 8), (1, 3, 8), (1, 2, 8), 2), r"key \(1, 3, 8\), value \(1, 2, 8\)"),
        (attention, ((2, 2, 8), (1, 3, 8), (1, 3, 8), 2), r"query .*\(2, 2, 8\), key \(1, 3, 8\)"),
        (layer_norm, ((2, 6), (3,), (6,), 0.1), r"x .*\(2, 6\), weight \(3,\), bias \(6,\)"),
        (layer_norm, ((2, 6), (6,), (7,), 0.1), r"bias \(7,\)"),
        (position_embedding, ((5, 2), 2, 2), "5 is no square"),
    ],
)
def test_no_operand_is_read_beyond_its_end(operation, operands, message, runtime):
    arrays = [_random(*operand) if isinstance(operand, tuple) else operand for operand in operands]
    with pytest.raises(ValueError, match=message):
        operation(runtime, *arrays)


def test_layers_of_another_width_are_named(runtime):
    shape = {"batch": 1, "tokens": 2, "width": 4, "intermediate_size": 5, "num_heads": 2}
    operands = encoder_layer_operands(Sampler(seed=0, runtime=runtime), **shape, activation="relu")
    with pytest.raises(ValueError, match=r"\(1, 2, 6\); the layers are 4 wide and of 2 heads"):
        encoder_layer(runtime, **{**operands, "hidden": _random(1, 2, 6)})
    with pytest.raises(ValueError, match="4 wide and of 3 heads"):
        encoder_layer(runtime, **{**operands, "num_heads": 3})


def test_positions_and_heads_that_do_not_fit_are_named(runtime):
    with pytest.raises(ValueError, match=r"\(1, 3, 4\), position \(2, 4\)"):
        token_embedding(runtime, np.zeros((1, 3), int), _random(5, 4), _random(2, 4))
    stacked, output = LinearWeights(_random(12, 4), np.zeros(12)), LinearWeights(_random(4, 4), None)
    folded = fold_attention_pooling(runtime, _random(4), stacked, output, num_heads=2)
    with pytest.raises(ValueError, match="of 2 heads, not of 4"):
        attention_pooling(runtime, _random(1, 3, 4), folded, 4)


@pytest.mark.parametrize("tile", [AVX512, AVX2, PORTABLE, Tile(5, 2)])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (196, 768, 2304), (729, 4304, 1152), (50_000, 3072, 768)])
@pytest.mark.parametrize("threads", [1, 2, 64])
def test_plans_cover_the_product_once(tile, sizes, threads):
    rows, in_features, out_features = sizes
    plan = plan_product(rows, in_features, out_features, tile, threads)
    assert plan.row_panels * tile.rows >= rows > (plan.row_panels - 1) * tile.rows
    assert plan.row_blocks * plan.panels_per_block >= plan.row_panels
    assert (plan.row_blocks - 1) * plan.panels_per_block < plan.row_panels
    assert plan.depth % 16 == 0
    assert plan.row_size >= plan.depth
    assert plan.weight_panels * tile.columns >= out_features > (plan.weight_panels - 1) * tile.columns


def test_the_instruction_and_its_description_agree():
    """multiply_tile, compiled, against its body in NumPy, which is what its documentation is."""
    import numba

    @numba.njit
    def compiled(rows, vectors, a, b, steps, out, resume):
        multiply_tile(rows, vectors, a, 0, b, 0, steps, out, 5, vectors * 16, 16, resume, b, 0)

    for rows in _TILE.row_counts:
        for vectors in range(1, _TILE.vectors + 1):
            for steps, resume in ((0, 0), (1, 1), (9, 0)):
                a, b = _random(3 * _TILE.rows * 16), _random(4 * 9 * vectors * 16, seed=1)
                out = _random(5 + _TILE.rows * vectors * 16, seed=2)
                expected = out.copy()
                multiply_tile(
                    rows, vectors, a, 0, b, 0, steps, expected, 5, vectors * 16, 16, resume, b, 0
                )  # fmt: skip
                compiled(rows, vectors, a, b, steps, out, resume)
                assert_close(out, expected, relative=1e-6)


# ------------------------------------------------------------------------------------------ attention


@pytest.mark.parametrize(
    ("batch", "queries", "keys", "heads", "head_dim"),
    [
        (1, 196, 196, 12, 64),
        (1, 729, 729, 2, 72),
        (3, 50, 50, 3, 11),
        (2, 33, 17, 2, 80),
        (1, 7, 300, 1, 96),
        (1, 5, 9, 1, 200),
        (2, 1, 49, 4, 16),
    ],
)
def test_attention_of_any_head_size(batch, queries, keys, heads, head_dim, runtime):
    query, key, value = (_random(batch, n, heads * head_dim, seed=n) for n in (queries, keys, keys))
    wide = (x.astype(np.float64) for x in (query, key, value))
    output, maps = attention(runtime, query, key, value, heads, return_attention=True)
    expected, expected_maps = attention_reference(*wide, heads, return_attention=True)
    assert_close(output, expected, relative=RELATIVE, same_dtype=False)
    assert_close(maps, expected_maps, relative=RELATIVE, same_dtype=False)
    without_maps, nothing = attention(runtime, query, key, value, heads)
    assert nothing is None
    np.testing.assert_array_equal(without_maps, output)


def test_attention_reads_a_stacked_projection_in_place(runtime):
    stacked = runtime.empty(2, 50, 3 * 66)
    stacked[...] = _random(2, 50, 3 * 66)
    views = [stacked[..., i * 66 : (i + 1) * 66] for i in range(3)]
    expected = attention(runtime, *(view.copy() for view in views), num_heads=3)[0].copy()
    np.testing.assert_array_equal(attention(runtime, *views, num_heads=3)[0], expected)


def test_attention_with_scores_far_apart(runtime):
    """Weights that underflow, and one that is all there is."""
    query = _random(1, 20, 32) * 300
    output, maps = attention(runtime, query, query, query, 1, return_attention=True)
    expected, expected_maps = attention_reference(*[query.astype(np.float64)] * 3, 1, True)
    assert_close(maps, expected_maps, relative=1e-5, same_dtype=False)
    assert_close(output, expected, relative=1e-5, same_dtype=False)


# ---------------------------------------------------------------------------------------- activations


def test_activations_of_one_code_are_one_function():
    functions = {entry.code: entry.function for entry in ACTIVATIONS.values()}
    assert all(entry.function is functions[entry.code] for entry in ACTIVATIONS.values())
    assert len(set(functions.values())) == len(functions)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_equal_their_references(name, runtime):
    x = np.concatenate([np.linspace(-30, 30, 20_001), [0.0, -3, 3, 6, 1e-30, -1e-30, 100, -100]])
    x = x.astype(np.float32)
    expected = activation_reference(x.astype(np.float64), name)
    assert_close(activation(runtime, x, name), expected, relative=3e-7, same_dtype=False)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_at_the_ends(name, runtime):
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0], np.float32)
    result, expected = activation(runtime, x, name), activation_reference(x, name)
    assert np.isnan(result[0])
    np.testing.assert_allclose(result[1:], expected[1:], rtol=1e-6, atol=1e-36)


@pytest.mark.parametrize("sizes", [(48, 48, 48), (48, 96, 5), (3, 48, 7)])
def test_several_weights_are_packed_as_if_they_were_one(sizes, runtime):
    parts = [_random(size, 19, seed=size + i) for i, size in enumerate(sizes)]
    together, apart = pack_linear(runtime, np.concatenate(parts)), pack_linear(runtime, parts)
    np.testing.assert_array_equal(together.panels, apart.panels)
    assert together[2:] == apart[2:]
