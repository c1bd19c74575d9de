"""Texts of odd characters and of any length: the ids that transformers gives, or an error of the package."""

from __future__ import annotations

import numpy as np
import pytest
import transformers
from helpers.fuzzing import fuzz

from numpy_siglip import SiglipTokenizer

KINDS = ["siglip", "siglip2", "siglip_as_json"]
CASES = [300, pytest.param(6000, marks=pytest.mark.slow)]
ODD = (
    *(
        " ",
        "\t",
        "\n",
        "\r",
        "\x00",
        "\x0b",
        "\x1c",
        "\x7f",
        "\x85",
        "\xa0",
        "\xad",
        "\u0301",
        "\u200b",
        "\u200d",
    ),
    *(
        "\u2028",
        "\u2581",
        "\u3000",
        "\ufeff",
        "\ufffd",
        "\U0001f600",
        "\U000e0041",
        ".",
        ",",
        "'",
        "-",
        "_",
        "a",
        "A",
    ),
    *("İ", "ß", "ﬁ", "中", "\u0627", "0", "</s>", "<unk>", "<eos>", "<pad>", "<bos>", "a cat"),
)


@pytest.fixture(scope="module")
def siglip(pair_folder):
    return SiglipTokenizer.from_pretrained(pair_folder), transformers.SiglipTokenizer.from_pretrained(
        pair_folder
    )


@pytest.fixture(scope="module")
def siglip2(naflex_pair_folder):
    return SiglipTokenizer.from_pretrained(naflex_pair_folder), transformers.Siglip2Tokenizer.from_pretrained(
        naflex_pair_folder
    )


@pytest.fixture(scope="module")
def siglip_as_json(pair_folder, siglip, tmp_path_factory):
    """The same vocabulary in the other kind of file, which normalises odd characters in a way of its own."""
    from transformers.convert_slow_tokenizer import SpmConverter

    folder = tmp_path_factory.mktemp("json")
    SpmConverter(siglip[1]).converted().save(str(folder / "tokenizer.json"))
    return SiglipTokenizer.from_pretrained(folder, context_length=siglip[0].context_length), None


def _text(generator):
    length = int(generator.choice([0, 1, 2, 5, 20, 100]))
    return "".join(ODD[int(generator.integers(len(ODD)))] for _ in range(length))


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_odd_characters(kind, cases, request):
    ours, theirs = request.getfixturevalue(kind)

    def case(generator):
        text = _text(generator)
        ids = ours(text)["input_ids"]
        assert ids.shape == (1, ours.context_length)
        assert ids.max() < len(ours)
        if theirs is not None:
            options = {"padding": "max_length", "truncation": True, "max_length": ours.context_length}
            assert ids[0].tolist() == theirs(text, **options)["input_ids"], repr(text)

    count = fuzz(case, cases)
    assert count.refused == 0


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_objects(kind, cases, request):
    ours, _ = request.getfixturevalue(kind)
    odd = (
        *(None, 3, 2.5, True, float("nan"), b"a", {}, {"a": 1}, object(), (), iter(["a"]), "a cat"),
        *([None], ["a", 3], [["a"]], [b"a"], [True], "\ud800", ["a", "\udfff"]),
        *(np.array(["a", "b"]), np.array([1, 2])),
    )
    lengths = (None, 0, -1, 1, 2, 7, 64, 2**40, "8", 2.5, True)

    def case(generator):
        text = odd[int(generator.integers(len(odd)))] if generator.random() < 0.8 else _text(generator)
        length = lengths[int(generator.integers(len(lengths)))] if generator.random() < 0.3 else None
        ids = ours(text, max_length=length)["input_ids"]
        assert ids.dtype == np.int64

    count = fuzz(case, cases)
    assert min(count) > 0


@pytest.mark.parametrize("length", [2**17, pytest.param(2**20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["siglip", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS[1:])])
def test_a_long_run_of_any_character_takes_no_hours(kind, length, request):
    """Some seconds where time is linear; where it is quadratic, 100,000 spaces took two minutes."""
    ours, _ = request.getfixturevalue(kind)
    for character in ODD:
        repeated = character * (length // len(character))
        ids = ours(repeated)["input_ids"][0]
        short = ours(character * (4 * ours.context_length))["input_ids"][0]
        assert ids.shape == short.shape
