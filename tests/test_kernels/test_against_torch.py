"""References against torch in float64: a second oracle, by other people, at the sizes of real models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from torch.nn import functional
from transformers.activations import ACT2FN

from contestants.torch_operations import OPERATIONS, torch_operation
from numpy_siglip.kernels.attention.attention import attention_reference
from numpy_siglip.kernels.attention.attention_pooling import (
    attention_pooling_reference,
    prepare_attention_pooling_reference,
)
from numpy_siglip.kernels.catalogue.registry import OPS
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.inputs.image_to_patches import image_to_patches_reference
from numpy_siglip.kernels.inputs.patch_embedding import patch_embedding_reference
from numpy_siglip.kernels.inputs.position_embedding import position_embedding_reference
from numpy_siglip.kernels.inputs.resampling import INTERPOLATIONS, resize_matrix, resize_taps
from numpy_siglip.kernels.products.linear import LinearWeights, linear_reference
from numpy_siglip.kernels.rows.activations import ACTIVATIONS, activation_reference
from numpy_siglip.kernels.rows.gelu import gelu_exact_reference, gelu_tanh_reference
from numpy_siglip.kernels.rows.layer_norm import layer_norm_reference

EXACT = 1e-12


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def _torch(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(array, order="C")) for array in arrays]


CASES = [
    pytest.param(op, shape, id=f"{op.name}-{name}")
    for op in OPS
    for name, shape in [*enumerate(op.check_shapes), *op.model_shapes.items()]
    if "512" not in str(name) and "384" not in str(name) and OPERATIONS.get(op.name)
]


def test_it_is_said_of_every_operation_whether_torch_has_it():
    assert set(OPERATIONS) == {op.name for op in OPS}


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_operations_are_those_of_torch(op, shape):
    """Every operation that torch has, as the benchmarks call it there."""
    operands = op.operands(Sampler(seed=1, dtype=np.float64), **shape)
    theirs = torch_operation(op.name, operands)
    ours = op.reference(**operands)
    ours = ours[0] if isinstance(ours, tuple) else ours  # without attention maps
    assert_close(ours, theirs().numpy(), relative=1e-10, name=op.name)


@pytest.mark.parametrize(
    ("size", "patch"), [((224, 224), 16), ((384, 384), 14), ((45, 70), 16), ((14, 14), 14), ((64, 32), 32)]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_patch_embedding_is_a_strided_convolution(size, patch, batch):
    pixels = _random(batch, 3, *size)
    filters, bias = _random(10, 3, patch, patch, seed=1), _random(10, seed=2)
    expected = functional.conv2d(*_torch(pixels, filters, bias), stride=patch).flatten(2).transpose(1, 2)
    weights = LinearWeights(filters.reshape(10, -1), bias)
    position = _random(expected.shape[1], 10, seed=3)
    result = patch_embedding_reference(pixels, weights, position, patch)
    assert_close(result, expected.numpy() + position, relative=EXACT)
    patches = image_to_patches_reference(pixels, patch)
    unfolded = functional.unfold(*_torch(pixels), kernel_size=patch, stride=patch).transpose(1, 2)
    np.testing.assert_array_equal(patches, unfolded.numpy())


@pytest.mark.parametrize("side", [1, 2, 3, 14, 27])
@pytest.mark.parametrize(
    "grid", [(1, 1), (14, 14), (3, 40), (29, 5), (64, 64), (27, 26), (1, 256), (45, 5), (128, 8), (10, 1)]
)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_position_embedding_is_torchs_interpolation(side, grid, interpolation):
    position = _random(side * side, 4)
    (table,) = _torch(position.reshape(1, side, side, 4).transpose(0, 3, 1, 2))
    # In another layout torch 2.13 computes the first row of a single column and repeats it.
    table = table.clone(memory_format=torch.channels_last)
    antialias = interpolation == "antialiased_bilinear"
    mode = "bilinear" if antialias else "bicubic"
    expected = functional.interpolate(table, size=grid, mode=mode, align_corners=False, antialias=antialias)
    expected = expected[0].permute(1, 2, 0).reshape(-1, 4).numpy()
    result = position_embedding_reference(position, *grid, interpolation)
    assert_close(result, expected, relative=EXACT)


@pytest.mark.parametrize(("old", "new"), [(1, 5), (5, 1), (14, 14), (14, 30), (27, 9), (16, 5), (16, 64)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resize_matrices_keep_constants(old, new, interpolation):
    matrix = resize_matrix(old, new, interpolation)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-14)
    if old == new:
        np.testing.assert_array_equal(matrix, np.eye(old))
    cells, weights = resize_taps(old, new, interpolation)
    scattered = np.zeros((new, old))
    np.add.at(scattered, (np.arange(new)[:, None], cells), weights)
    np.testing.assert_allclose(scattered, matrix, atol=1e-7)


@pytest.mark.parametrize("width", [1, 2, 33, 768, 1152])
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_layer_norm(width, eps):
    x, weight, bias = _random(7, width) * 50 + 3, _random(width, seed=1), _random(width, seed=2)
    expected = functional.layer_norm(*_torch(x), (width,), *_torch(weight, bias), eps=eps)
    assert_close(
        layer_norm_reference(x, weight, bias, eps), expected.numpy(), relative=1e-10 if width == 1 else EXACT
    )


@pytest.mark.parametrize(
    ("rows", "in_features", "out_features"), [(1, 588, 1152), (3, 1152, 4304), (2, 4304, 1152), (7, 1, 3)]
)
def test_linear_at_awkward_sizes(rows, in_features, out_features):
    x, weight = _random(1, rows, in_features), _random(out_features, in_features, seed=1)
    bias, residual = _random(out_features, seed=2), _random(1, rows, out_features, seed=3)
    expected = functional.linear(*_torch(x, weight, bias)).numpy()
    weights = LinearWeights(weight, bias)
    assert_close(linear_reference(x, weights), expected, relative=EXACT)
    assert_close(linear_reference(x, LinearWeights(weight, None)), expected - bias, relative=EXACT)
    # The residual is added to what was activated, and may be one for all images.
    activated = np.maximum(expected, 0) + residual
    assert_close(linear_reference(x, weights, "relu", residual), activated, relative=EXACT)
    assert_close(linear_reference(x, weights, "relu", residual[0]), activated, relative=EXACT)


@pytest.mark.parametrize(
    ("batch", "queries", "keys", "width", "heads"),
    [(1, 729, 729, 144, 2), (3, 50, 50, 192, 2), (2, 1, 256, 216, 3), (1, 4, 4, 33, 3), (3, 7, 5, 5, 5)],
)
def test_attention(batch, queries, keys, width, heads):
    query, key, value = (_random(batch, n, width, seed=i) for i, n in enumerate((queries, keys, keys)))
    split = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in _torch(query, key, value)]
    expected = functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2).numpy()
    output, maps = attention_reference(query, key, value, heads, return_attention=True)
    assert_close(output, expected, relative=EXACT)
    scores = split[0] @ split[1].transpose(2, 3) / (width // heads) ** 0.5
    assert_close(maps, torch.softmax(scores, dim=-1).numpy(), relative=EXACT)
    assert attention_reference(query, key, value, heads)[1] is None
    # Views of one stacked projection are as good as arrays of their own.
    if queries == keys:
        stacked = np.concatenate([query, key, value], axis=2)
        views = (stacked[..., i * width : (i + 1) * width] for i in range(3))
        assert_close(attention_reference(*views, heads)[0], expected, relative=EXACT)


@pytest.mark.parametrize(("batch", "tokens", "width", "heads"), [(1, 729, 144, 2), (3, 16, 33, 3)])
def test_attention_pooling_is_torchs_multihead_attention(batch, tokens, width, heads):
    hidden, probe = _random(batch, tokens, width), _random(width, seed=1)
    in_weight, in_bias = _random(3 * width, width, seed=2) / 5, _random(3 * width, seed=3)
    out_weight, out_bias = _random(width, width, seed=4), _random(width, seed=5)
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64)
    names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    theirs.load_state_dict(dict(zip(names, _torch(in_weight, in_bias, out_weight, out_bias), strict=True)))
    query, keys = _torch(np.broadcast_to(probe, (batch, 1, width)), hidden)
    with torch.no_grad():
        expected, maps = theirs(query, keys, keys, average_attn_weights=False)
    weights = prepare_attention_pooling_reference(
        probe, LinearWeights(in_weight, in_bias), LinearWeights(out_weight, out_bias), heads
    )
    pooled, attention = attention_pooling_reference(hidden, weights, heads, return_attention=True)
    assert_close(pooled, expected[:, 0].numpy(), relative=EXACT)
    assert_close(attention, maps.numpy(), relative=EXACT)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    x = np.concatenate([np.linspace(-20, 20, 4001), [-100.0, 100.0, -0.0]])
    expected = ACT2FN[name](torch.from_numpy(x)).numpy()
    # transformers' gelu_fast rounds a constant to ten digits, and torch's softplus is linear above 20
    relative = 1e-9 if name in ("gelu_fast", "mish", "sqrtsoftplus") else EXACT
    assert_close(activation_reference(x, name), expected, relative=relative)


def test_names_of_activations_are_those_of_transformers():
    with_parameters = {"prelu", "xielu"}
    assert set(ACTIVATIONS) == set(ACT2FN) - with_parameters


def test_gelu_forms_differ_by_what_the_contract_says():
    x = np.linspace(-8, 8, 100_001)
    exact, tanh = gelu_exact_reference(x), gelu_tanh_reference(x)
    assert_close(exact, functional.gelu(*_torch(x)).numpy(), relative=EXACT)
    assert_close(tanh, functional.gelu(*_torch(x), approximate="tanh").numpy(), relative=EXACT)
    assert 4.7e-4 < np.abs(exact - tanh).max() <= 4.8e-4


def test_exact_gelu_keeps_small_results():
    """1 + erf would lose every digit here; erfc does not."""
    x = np.array([-9.0, -8.0])
    expected = x * np.array([1.1285884059538405e-19, 6.220960574271785e-16])  # Phi(-9), Phi(-8)
    np.testing.assert_allclose(gelu_exact_reference(x), expected, rtol=1e-13)
