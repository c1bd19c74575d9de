"""What each contract says of NaN, of infinity and of degenerate input; warnings are errors here."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from numpy_siglip.kernels.attention.attention import attention_reference
from numpy_siglip.kernels.attention.attention_pooling import attention_pooling_reference
from numpy_siglip.kernels.catalogue.attention import attention_pooling_operands
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.inputs.image_to_patches import image_to_patches_reference
from numpy_siglip.kernels.inputs.patch_embedding import patch_embedding_reference
from numpy_siglip.kernels.inputs.position_embedding import position_embedding_reference
from numpy_siglip.kernels.inputs.token_embedding import token_embedding, token_embedding_reference
from numpy_siglip.kernels.machine.runtime import Runtime
from numpy_siglip.kernels.products.linear import LinearWeights, linear_reference
from numpy_siglip.kernels.products.similarity import similarity, similarity_reference
from numpy_siglip.kernels.rows.activations import ACTIVATIONS, activation_reference
from numpy_siglip.kernels.rows.gelu import gelu_exact_reference, gelu_tanh_reference
from numpy_siglip.kernels.rows.l2_normalize import l2_normalize, l2_normalize_reference
from numpy_siglip.kernels.rows.layer_norm import layer_norm_reference
from numpy_siglip.kernels.rows.sigmoid_loss import sigmoid_loss, sigmoid_loss_reference
from numpy_siglip.kernels.rows.softmax import softmax_reference

DRAW = Sampler(seed=0)
RUNTIME = Runtime(threads=2)


def _both(reference, compiled):
    """The two forms of an operation, called alike."""
    return pytest.mark.parametrize(
        "operation", [reference, functools.partial(compiled, RUNTIME)], ids=["reference", "compiled"]
    )


def _nan_rows(array: np.ndarray) -> list[int]:
    """Indices of the first axis that hold a NaN; each of them must hold nothing else."""
    flat = np.isnan(array.reshape(len(array), -1))
    assert (flat.all(axis=1) == flat.any(axis=1)).all()
    return np.flatnonzero(flat.any(axis=1)).tolist()


def test_a_nan_pixel_is_copied_to_one_place():
    pixels = DRAW.array(2, 3, 6, 9)
    pixels[1, 2, 4, 7] = np.nan
    assert np.isnan(image_to_patches_reference(pixels, 3)).sum() == 1


def test_a_nan_pixel_spoils_the_token_of_its_patch():
    pixels = DRAW.array(1, 3, 6, 9)
    pixels[0, 2, 4, 7] = np.nan
    tokens = patch_embedding_reference(pixels, DRAW.linear(5, 27), DRAW.array(6, 5), 3)
    assert _nan_rows(tokens[0]) == [5]  # second row, third column


def test_a_nan_position_stays_within_its_rows_and_columns():
    position = DRAW.array(25, 2)
    position[0] = np.nan
    assert np.isnan(position_embedding_reference(position, 5, 5)).any()
    assert position_embedding_reference(position, 9, 7).shape == (63, 2)


def test_linear_spreads_nan_over_its_row_or_column():
    x, weights = DRAW.array(4, 3), DRAW.linear(5, 3)
    x[2, 1] = np.nan
    assert _nan_rows(linear_reference(x, weights)) == [2]
    weight = weights.weight.copy()
    weight[3, 0] = np.nan
    spoiled = linear_reference(DRAW.array(4, 3), LinearWeights(weight, weights.bias))
    assert _nan_rows(spoiled.T) == [3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_layer_norm_spreads_over_its_row(bad):
    x = DRAW.array(3, 6)
    x[1, 2] = bad
    assert _nan_rows(layer_norm_reference(x, DRAW.array(6), DRAW.array(6), 1e-6)) == [1]


def test_layer_norm_of_a_constant_row_is_the_bias():
    bias = DRAW.array(4)
    for constant in (0.0, 5.0, -1e6):
        x = np.full((2, 4), constant, np.float32)
        result = layer_norm_reference(x, DRAW.array(4), bias, 1e-6)
        np.testing.assert_array_equal(result, np.broadcast_to(bias, (2, 4)))


def test_softmax_at_infinity():
    inf = np.inf
    x = np.array([[0, 1, 2], [-inf, 0, 0], [-inf, -inf, -inf], [inf, 0, 0], [np.nan, 0, 0]], np.float32)
    result = softmax_reference(x)
    assert _nan_rows(result) == [2, 3, 4]
    np.testing.assert_array_equal(result[1], [0, 0.5, 0.5])


def test_softmax_of_huge_scores_neither_overflows_nor_vanishes():
    x = np.array([[3e38, 3e38, -3e38], [-3e38, -3e38, -3e38]], np.float32)
    np.testing.assert_allclose(softmax_reference(x), [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-6)


def test_attention_keeps_nan_within_query_or_head():
    query, key, value = (DRAW.array(2, 5, 6) for _ in range(3))
    spoiled = query.copy()
    spoiled[1, 3, 0] = np.nan  # head 0 of 2
    output, _ = attention_reference(spoiled, key, value, 2)
    nan = np.isnan(output)
    assert nan[1, 3, :3].all()
    assert nan.sum() == 3
    for operands in ((query, _with_nan(key), value), (query, key, _with_nan(value))):
        nan = np.isnan(attention_reference(*operands, 2)[0])
        assert not nan[0].any()
        assert not nan[1, :, 3:].any()
        assert nan[1, :, :3].any()


def _with_nan(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed[1, 3, 0] = np.nan
    return changed


def test_pooling_keeps_nan_within_its_image():
    operands = attention_pooling_operands(DRAW, batch=3, tokens=4, width=6, num_heads=2)
    operands["hidden"][1, 2, 0] = np.nan
    assert _nan_rows(attention_pooling_reference(**operands)[0]) == [1]


def test_the_probe_is_not_added_to_what_it_gathers():
    operands = attention_pooling_operands(DRAW, batch=1, tokens=1, width=6, num_heads=2)
    weights = operands["weights"]
    pooled, _ = attention_pooling_reference(**operands)
    far = weights._replace(probe=weights.probe * 1000)
    # With one token there is nothing to choose, so the probe cannot matter.
    np.testing.assert_array_equal(attention_pooling_reference(operands["hidden"], far, 2)[0], pooled)


@pytest.mark.parametrize("gelu", [gelu_tanh_reference, gelu_exact_reference])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_at_the_ends(gelu, dtype):
    largest = np.finfo(dtype).max
    x = np.array([np.nan, np.inf, -np.inf, largest, -largest, 0.0], dtype)
    np.testing.assert_array_equal(gelu(x), np.array([np.nan, np.inf, np.nan, largest, 0.0, 0.0], dtype))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_pass_nan_on_and_warn_of_nothing(name):
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0], np.float32)
    result = activation_reference(x, name)
    assert np.isnan(result[0])
    assert result.dtype == np.float32
    assert np.isfinite(result[5:]).all()


@pytest.mark.parametrize(
    "name", ["relu", "relu6", "silu", "mish", "sigmoid", "tanh", "quick_gelu", "hardswish"]
)
def test_activations_at_infinity_agree_with_torch_where_torch_has_a_limit(name):
    import torch
    from transformers.activations import ACT2FN

    x = np.array([np.inf, -np.inf], np.float32)
    expected = ACT2FN[name](torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(activation_reference(x, name), expected)


@_both(token_embedding_reference, token_embedding)
def test_a_nan_in_the_table_spoils_its_tokens_alone(operation):
    table = DRAW.array(5, 3)
    table[4] = np.nan
    hidden = operation(np.array([[0, 4], [4, 1]]), table, DRAW.array(2, 3))
    assert _nan_rows(hidden.reshape(4, 3)) == [1, 2]


@_both(l2_normalize_reference, l2_normalize)
@pytest.mark.parametrize("width", [1, 5, 16, 40])
def test_normalisation_of_what_is_extreme(operation, width):
    x = DRAW.array(7, width)
    expected = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    x[0] *= np.float32(1e30)  # whose squares overflow
    x[1] *= np.float32(1e-30)  # and vanish
    x[2] = 0
    x[3, -1], x[4, 0], x[5, width // 2] = np.nan, np.inf, -np.inf
    result = operation(x)
    assert _nan_rows(result) == [3, 4, 5]
    np.testing.assert_array_equal(result[2], np.zeros(width))
    np.testing.assert_allclose(result[[0, 1, 6]], expected[[0, 1, 6]], rtol=1e-6)


@_both(similarity_reference, similarity)
def test_similarity_keeps_nan_within_its_row_or_column(operation):
    x, y = DRAW.array(4, 3), DRAW.array(5, 3)
    x[1, 2] = y[3, 0] = np.nan
    nan = np.isnan(operation(x, y, 2.0, -1.0))
    assert nan[1].all()
    assert nan[:, 3].all()
    assert nan.sum() == 5 + 4 - 1


@_both(sigmoid_loss_reference, sigmoid_loss)
def test_the_loss_of_what_is_extreme(operation):
    logits = np.full((20, 20), -3e38, np.float32)
    np.fill_diagonal(logits, 3e38)
    np.testing.assert_array_equal(operation(logits), np.zeros(20))  # all told rightly
    logits[3, 4] = logits[5, 5] = np.nan
    logits[6, 6], logits[7, 0], logits[8, 8], logits[9, 0] = -np.inf, np.inf, np.inf, -np.inf
    losses = operation(logits)
    assert _nan_rows(losses) == [3, 5]
    assert np.flatnonzero(np.isinf(losses)).tolist() == [6, 7]
    assert operation(np.zeros((0, 0), np.float32)).shape == (0,)


def test_the_loss_of_pairs_needs_as_many_columns_as_rows():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        sigmoid_loss(RUNTIME, np.zeros((2, 3), np.float32))
