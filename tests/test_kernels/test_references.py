"""Every operation's reference against plain loops, at every awkward shape that the registry lists."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
import pytest
from helpers import oracle
from helpers.assert_close import assert_close
from helpers.module_names import modules_below

import numpy_siglip.kernels
from numpy_siglip.kernels.catalogue.operation import Op
from numpy_siglip.kernels.catalogue.registry import OPS
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.cost import Cost
from numpy_siglip.kernels.rows.activations import ACTIVATIONS

CASES = [
    pytest.param(op, shape, id=f"{op.name}-{index}")
    for op in OPS
    for index, shape in enumerate(op.check_shapes)
]
MODEL_CASES = [
    pytest.param(op, shape, id=f"{op.name}-{name}") for op in OPS for name, shape in op.model_shapes.items()
]


def _oracle(op: Op, operands: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """The oracle's results for the operands of an operation."""
    plain = {name: value for name, value in operands.items() if name != "return_attention"}
    if op.name == "linear":
        weight, bias = plain.pop("weights")
        return (oracle.linear(plain["x"], weight, bias, plain["activation"], plain["residual"]),)
    if op.name == "patch_embedding":
        weight, bias = plain.pop("weights")
        return (oracle.patch_embedding(weight=weight, bias=bias, **plain),)
    if op.name == "encoder_layer":
        return (oracle.encoder_layer(**plain),)
    if op.name == "encoder":
        hidden = plain.pop("hidden")
        for layer in plain.pop("layers"):
            hidden = oracle.encoder_layer(hidden, layer, **plain)
        return (hidden,)
    if op.name == "attention_pooling":
        weights = plain.pop("weights")
        width = len(weights.probe)
        weight, bias = weights.key_value
        return oracle.attention_pooling(
            plain["hidden"],
            weights.probe,
            query=tuple(weights.query),
            key=(weight[:width], bias[:width]),
            value=(weight[width:], bias[width:]),
            output=tuple(weights.output),
            num_heads=plain["num_heads"],
        )
    result = getattr(oracle, op.name)(**plain)
    return result if isinstance(result, tuple) else (result,)


def _as_tuple(result: Any) -> tuple[np.ndarray, ...]:
    """Results that are arrays; attention maps that were not asked for are None."""
    results = result if isinstance(result, tuple) else (result,)
    return tuple(part for part in results if part is not None)


def _arrays(value: Any) -> list[np.ndarray]:
    """All arrays among operands, those inside weights included."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [array for part in value.values() for array in _arrays(part)]
    if isinstance(value, tuple):
        return [array for part in value for array in _arrays(part)]
    return []


@pytest.mark.parametrize(("op", "shape"), CASES)
@pytest.mark.parametrize(("dtype", "relative"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_reference_equals_plain_loops(op, shape, dtype, relative):
    operands = op.operands(Sampler(seed=1, dtype=dtype), **shape)
    results = _as_tuple(op.reference(**operands))
    assert len(results) == 1 + operands.get("return_attention", op.name == "quantize_rows")
    for result, expected in zip(results, _oracle(op, operands), strict=False):
        assert result.dtype == (dtype if expected.dtype == np.float64 else expected.dtype)
        assert_close(result, expected, relative=relative, name=op.name, same_dtype=False)


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_operands_are_left_alone_and_results_are_contiguous(op, shape):
    operands = op.operands(Sampler(seed=2), **shape)
    before = [array.copy() for array in _arrays(operands)]
    for array in _arrays(operands):
        array.flags.writeable = False
    for result in _as_tuple(op.reference(**operands)):
        assert result.flags.c_contiguous
    for array, copy in zip(_arrays(operands), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_memory_order_of_operands_does_not_matter(op, shape):
    operands = op.operands(Sampler(seed=3, dtype=np.float64), **shape)
    turned = {
        name: np.asfortranarray(value) if isinstance(value, np.ndarray) else value
        for name, value in operands.items()
    }
    for result, expected in zip(
        _as_tuple(op.reference(**turned)), _as_tuple(op.reference(**operands)), strict=True
    ):
        assert_close(result, expected, relative=1e-13)


def test_every_reference_and_cost_is_registered():
    """An operation that is not in the registry would be neither checked nor timed."""
    found = {}
    for module_name in modules_below(numpy_siglip.kernels):
        module = importlib.import_module(module_name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and name.endswith(("_reference", "_cost")):
                found[name] = function
    for name in [name for name in found if name.startswith("prepare_")]:
        del found[name]  # computes nothing
    listed = {f"{op.name}_reference": op.reference for op in OPS}
    listed |= {f"{op.name}_cost": op.cost for op in OPS}
    listed |= {op.compiled_cost.__name__: op.compiled_cost for op in OPS}
    assert found == listed
    assert len({op.name for op in OPS}) == len(OPS)


def test_compiled_forms_do_no_more_than_their_definitions_count():
    for op in OPS:
        for shape in op.model_shapes.values():
            done, counted = op.compiled_cost(**shape).flops, op.cost(**shape).flops
            assert done <= counted, op.name
            assert (done < counted) == (op.name == "attention_pooling"), op.name


def test_operands_are_seeded():
    for op in OPS:
        first, second, other = (
            _arrays(op.operands(Sampler(seed=seed), **op.check_shapes[1])) for seed in (5, 5, 6)
        )
        for one, same, different in zip(first, second, other, strict=True):
            np.testing.assert_array_equal(one, same)
            assert not np.array_equal(one, different)
            assert one.dtype in ((np.float32,) if one.dtype.kind == "f" else (np.int64, np.int8))


# -------------------------------------------------------------------------------- activations, all


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_equals_plain_loops(name):
    from numpy_siglip.kernels.rows.activations import activation_reference

    x = np.concatenate([np.linspace(-30, 30, 2001), [0.0, -1e-9, 1e-9, 1e-300, -3, 3, 6]])
    expected = oracle.activation(x, name)
    assert_close(activation_reference(x, name), expected, relative=1e-14)
    narrow = activation_reference(x.astype(np.float32), name)
    assert_close(narrow, expected.astype(np.float32), relative=1e-6)


# -------------------------------------------------------------------------------------------- costs


@pytest.mark.parametrize(("op", "shape"), CASES)
def test_bytes_are_what_operands_and_results_weigh(op, shape):
    """Compulsory traffic, weighed on the arrays themselves."""
    operands = op.operands(Sampler(seed=0), **shape)
    results = _as_tuple(op.reference(**operands))
    weighed = sum(array.nbytes for array in [*_arrays(operands), *results])
    if "pixels" in operands:  # those beyond the last whole patch are not read
        kept = oracle.image_to_patches(operands["pixels"], operands["patch_size"])
        weighed += 4 * (kept.size - operands["pixels"].size)
    if "table" in operands:  # one row for each token, and no others
        weighed += 4 * (results[0].size - operands["table"].size)
    assert op.cost(**shape).bytes == weighed


def test_flops_of_matrix_products_are_counted_by_running_them():
    """The oracle's own multiplications, counted."""
    batch, tokens, width, heads = 2, 5, 6, 3

    class Counting(float):
        count = 0

        def __mul__(self, other):
            Counting.count += 1
            return float(self) * float(other)

    op = {op.name: op for op in OPS}["attention"]
    shape = {"batch": batch, "queries": tokens, "keys": tokens, "width": width, "num_heads": heads}
    query = np.array([[[Counting(1) for _ in range(width)] for _ in range(tokens)]] * batch, dtype=object)
    for b in range(batch):
        for h in range(heads):
            part = query[b, :, h * 2 : h * 2 + 2]
            part @ part.T  # scores
    products = Counting.count
    elements = batch * heads * tokens * tokens
    # scores and values cost the same; scale 1, softmax 5 an element
    assert op.cost(**shape).flops == 2 * 2 * products + 6 * elements


@pytest.mark.parametrize(
    ("name", "shape", "flops"),
    [
        ("linear", {"rows": 3, "in_features": 5, "out_features": 7}, 2 * 3 * 5 * 7 + 3 * 7),
        (
            "linear",
            {"rows": 3, "in_features": 5, "out_features": 7, "activation": "relu", "residual": True},
            2 * 3 * 5 * 7 + 3 * 7 * 3,
        ),
        ("layer_norm", {"rows": 3, "width": 5}, 8 * 15),
        ("softmax", {"rows": 3, "width": 5}, 5 * 15),
        ("gelu_tanh", {"elements": 10}, 90),
        ("gelu_exact", {"elements": 10}, 40),
        ("activation", {"elements": 10, "name": "gelu_pytorch_tanh"}, 90),
        ("image_to_patches", {"batch": 1, "channels": 3, "height": 9, "width": 8, "patch_size": 4}, 0),
        (
            "position_embedding",
            {"side": 2, "rows": 3, "columns": 5, "hidden_size": 7},
            2 * 7 * (3 * 4 + 3 * 5 * 2),
        ),
        ("token_embedding", {"batch": 2, "tokens": 3, "vocab_size": 50, "width": 5}, 30),
        ("mean_pooling", {"batch": 2, "tokens": 3, "width": 5}, 2 * 5 * 4),
        ("l2_normalize", {"rows": 3, "width": 5}, 6 * 15),
        ("similarity", {"rows": 3, "columns": 4, "width": 5}, 2 * 60 + 2 * 12),
        ("sigmoid_loss", {"rows": 3}, 6 * 9),
    ],
)
def test_flops_counted_by_hand(name, shape, flops):
    op = {op.name: op for op in OPS}[name]
    assert op.cost(**shape).flops == flops


@pytest.mark.parametrize(("op", "shape"), MODEL_CASES)
def test_shapes_of_models_have_costs(op, shape):
    cost = op.cost(**shape)
    assert isinstance(cost, Cost)
    assert cost.bytes > 0
    assert cost.flops > 0 or op.name == "image_to_patches"
