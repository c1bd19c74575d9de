"""What one value is accepted of, and truth values."""

from __future__ import annotations

import enum

import numpy as np
import pytest
import torch

from numpy_siglip import ConfigError, SiglipError
from numpy_siglip.common.checks import check_flag
from numpy_siglip.common.keywords import Keyword, check_keywords, unknown_option
from numpy_siglip.common.spellings import dtype_name, is_cpu, is_device
from numpy_siglip.common.tensors import without_torch


class Side(str, enum.Enum):
    """As transformers has its options."""

    LEFT = "left"


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_, np.array([True])[0]])
def test_truth_values_of_python_and_of_numpy_are_flags(value):
    assert check_flag("a", value) is bool(value)
    assert check_flag("a", value, default=not value) is bool(value)


@pytest.mark.parametrize(
    "value", ["no", "", "true", 0, 1, 1.0, [0, -1], [], {}, np.array([True]), np.int8(1), b""]
)
def test_nothing_else_is_a_flag(value):
    for default in (None, True, False):
        with pytest.raises(ConfigError, match=r"^output_hidden_states is .*; it must be true or false$"):
            check_flag("output_hidden_states", value, default=default)


def test_none_stands_for_the_default_where_there_is_one():
    assert check_flag("a", None, default=True) is True
    assert check_flag("a", None, default=False) is False
    with pytest.raises(ConfigError, match="a is None"):
        check_flag("a", None)


@pytest.mark.parametrize(
    ("accepted", "yes", "no"),
    [
        ((None, False), [None, False, np.False_], [True, 0, "", [], np.True_]),
        ((None, True, "max_length"), [True, "max_length", np.True_], [1, False, "longest", np.array([True])]),
        ((None, 0), [0, None], [False, 1, "0", 0.0]),
        ((None, "left"), ["left", Side.LEFT, np.str_("left")], ["right", np.array(["left"]), b"left"]),
    ],
)
def test_what_is_the_same_value(accepted, yes, no):
    keyword = Keyword(accepted, "")
    assert all(keyword.takes(value) for value in yes)
    assert not any(keyword.takes(value) for value in no)


def test_a_name_that_is_unknown_is_an_error_of_both_kinds():
    def embed(pixels, *, normalize=True, **others):
        check_keywords(embed, others, {"device": Keyword((None, "cpu"), "on the CPU alone")})

    embed(0, device="cpu")
    embed(0, device=None)
    for error in (SiglipError, ConfigError, TypeError, ValueError):
        with pytest.raises(error, match=r"there is no option 'normalise'; do you mean 'normalize'\?"):
            embed(0, normalise=True)
    with pytest.raises(
        TypeError, match=r"there is no option 'colour'; there are: device, normalize, pixels$"
    ):
        embed(0, colour=1)
    with pytest.raises(ConfigError, match="device is 'cuda'; on the CPU alone"):
        embed(0, device="cuda")
    assert "\n" not in str(unknown_option("a\nb", ["c"]))


@pytest.mark.parametrize("device", ["cpu", "cpu:0", -1, torch.device("cpu")])
def test_the_processor_by_all_its_names(device):
    assert is_cpu(device)
    assert is_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", 0, 1, torch.device("meta"), "mps"])
def test_other_devices(device):
    assert not is_cpu(device)
    assert is_device(device)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.float32, "float32"),
        (torch.float, "float32"),
        (torch.half, "float16"),
        (torch.bfloat16, "bfloat16"),
        (np.float32, "float32"),
        (np.dtype("float16"), "float16"),
        ("torch.float64", "float64"),
        ("float32", "float32"),
        (float, "float64"),
    ],
)
def test_types_by_all_their_names(dtype, name):
    assert dtype_name(dtype) == name
    assert not is_device(dtype)


def test_tensors_become_arrays():
    numbers = torch.arange(6.0).reshape(2, 3)
    for tensor in (
        numbers,
        numbers.clone().requires_grad_(),
        numbers.bfloat16(),
        numbers.half(),
        numbers.long(),
    ):
        array = without_torch(tensor)
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    assert without_torch(numbers.bfloat16()).dtype == np.float32
    assert without_torch(numbers.half()).dtype == np.float16
    assert np.shares_memory(without_torch(numbers), numbers.numpy())
    for other in ([1.0], np.ones(2), None, "a"):
        assert without_torch(other) is other
