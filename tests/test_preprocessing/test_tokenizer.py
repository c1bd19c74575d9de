"""Token ids equal those of transformers, over what people write; files that are none are told."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import transformers
from helpers.embedding_process import PATIENCE
from helpers.toy_vocabularies import TEXTS, gemma_tokenizer, write_siglip_tokenizer

from numpy_siglip import ConfigError, SiglipError, SiglipTokenizer, TextError
from numpy_siglip.preprocessing.canonical_text import canonicalize

SPECIAL = ["a </s> b", "</s>", "<unk> cat</s>", "a cat</s>", "<eos>", "a <eos> B", "<pad>x"]


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    write_siglip_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def gemma_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma")
    gemma_tokenizer().save_pretrained(folder)
    return folder


def _ids(tokenizer, text, length):
    return tokenizer(text, padding="max_length", truncation=True, max_length=length)["input_ids"]


@pytest.mark.parametrize("length", [64, 16, 2, 1])
@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_ids_of_siglip_equal_transformers(length, siglip_folder):
    theirs = transformers.SiglipTokenizer.from_pretrained(siglip_folder)
    ours = SiglipTokenizer.from_pretrained(siglip_folder, context_length=length)
    for text in TEXTS + SPECIAL:
        assert ours(text).input_ids.tolist() == [_ids(theirs, text, length)], repr(text)
    together = ours(TEXTS).input_ids
    assert together.dtype == np.int64
    assert together.tolist() == [_ids(theirs, text, length) for text in TEXTS]


@pytest.mark.parametrize(
    "settings", [{"do_lower_case": False}, {"padding_side": "left"}, {"pad_token": "<pad>"}]
)
def test_settings_of_siglip_are_respected(settings, tmp_path):
    write_siglip_tokenizer(tmp_path, **settings)
    theirs = transformers.SiglipTokenizer.from_pretrained(tmp_path)
    ours = SiglipTokenizer.from_pretrained(tmp_path, context_length=16)
    for text in TEXTS:
        assert ours(text).input_ids[0].tolist() == _ids(theirs, text, 16), repr(text)


def test_a_siglip_tokenizer_as_json_gives_the_same_ids(siglip_folder, tmp_path):
    """The same vocabulary in the other kind of file, as many repositories hold it."""
    from transformers.convert_slow_tokenizer import SpmConverter

    slow = transformers.SiglipTokenizer.from_pretrained(siglip_folder)
    SpmConverter(slow).converted().save(str(tmp_path / "tokenizer.json"))
    pieces = SiglipTokenizer.from_pretrained(siglip_folder, context_length=64)
    tokenizer = SiglipTokenizer.from_pretrained(tmp_path, context_length=64)
    for text in TEXTS:
        assert tokenizer(text).input_ids.tolist() == pieces(text).input_ids.tolist(), repr(text)


@pytest.mark.parametrize("length", [64, 16, 2, 1])
def test_ids_of_siglip2_equal_transformers(length, gemma_folder):
    theirs = transformers.Siglip2Tokenizer.from_pretrained(gemma_folder)
    ours = SiglipTokenizer.from_pretrained(gemma_folder, context_length=length)
    for text in TEXTS + SPECIAL:
        assert ours(text).input_ids[0].tolist() == _ids(theirs, text, length), repr(text)


def test_a_plain_gemma_tokenizer_is_given_lower_case(tmp_path):
    """Fixed-resolution SigLIP 2 is published with GemmaTokenizer, for which transformers keeps the case."""
    from tokenizers.normalizers import Lowercase

    gemma_tokenizer("GemmaTokenizer").save_pretrained(tmp_path)
    theirs = transformers.GemmaTokenizer.from_pretrained(tmp_path)
    ours = SiglipTokenizer.from_pretrained(tmp_path, context_length=64)
    for text in TEXTS:
        lower = Lowercase().normalize_str(text)
        assert ours(text).input_ids[0].tolist() == _ids(theirs, lower, 64), repr(text)
    assert ours("A Photo").input_ids[0].tolist() != _ids(theirs, "A Photo", 64)


@pytest.mark.parametrize("side", ["left", "right", None])
@pytest.mark.parametrize("begin", [False, True])
def test_settings_of_siglip2_are_respected(side, begin, tmp_path):
    """What stands around a text is for tokenizer.json to say, whatever the settings say."""
    gemma_tokenizer(add_bos_token=begin).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.update({"add_bos_token": not begin, "add_eos_token": False})
    if side is None:
        del settings["padding_side"]
    else:
        settings["padding_side"] = side
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    theirs = transformers.Siglip2Tokenizer.from_pretrained(tmp_path)
    ours = SiglipTokenizer.from_pretrained(tmp_path, context_length=16)
    for text in TEXTS:
        assert ours(text).input_ids[0].tolist() == _ids(theirs, text, 16), repr(text)


def test_long_texts_keep_their_end_token(siglip_folder, gemma_folder):
    for folder in (siglip_folder, gemma_folder):
        ids = SiglipTokenizer.from_pretrained(folder, context_length=16)("a photo of a cat " * 60).input_ids
        assert ids.shape == (1, 16)
        assert ids[0, -1] == 1
        assert (ids[0, :-1] > 1).all()


def test_the_context_is_that_of_the_configuration(siglip_folder, tmp_path):
    for file in siglip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def shape(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return SiglipTokenizer.from_pretrained(tmp_path)("a").input_ids.shape[1]

    assert shape({"model_type": "siglip"}) == 64
    assert shape({"model_type": "siglip", "text_config": None}) == 64
    assert shape({"model_type": "siglip", "text_config": {"max_position_embeddings": 16}}) == 16
    assert shape({"model_type": "siglip2", "text_config": {"max_position_embeddings": 32}}) == 32
    assert shape({"model_type": "siglip_text_model", "max_position_embeddings": 20}) == 20
    with pytest.raises(ConfigError, match=r"config\.json: max_position_embeddings is 0"):
        shape({"text_config": {"max_position_embeddings": 0}})
    tokenizer = SiglipTokenizer.from_pretrained(tmp_path / "spiece.model", context_length=7)
    assert tokenizer("a").input_ids.shape == (1, 7)
    (tmp_path / "config.json").unlink()
    assert SiglipTokenizer.from_pretrained(tmp_path).context_length == 64  # its own model_max_length
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 10**30}))
    with pytest.raises(ConfigError, match=r"no config\.json; .*pass context_length"):
        SiglipTokenizer.from_pretrained(tmp_path)


def test_what_programs_of_transformers_pass_is_taken(siglip_folder):
    tokenizer = SiglipTokenizer.from_pretrained(siglip_folder, context_length=16)
    usual = {"padding": "max_length", "truncation": True, "return_tensors": "np"}
    assert tokenizer(["a"], max_length=20, **usual).input_ids.shape == (1, 20)
    assert tokenizer([]).input_ids.shape == (0, 16)
    for options, message in [
        ({"padding": "longest"}, "padding is 'longest'"),
        ({"truncation": False}, "truncation is False"),
        ({"return_tensors": "pt"}, "torch.from_numpy"),
        ({"max_length": 0}, "max_length is 0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            tokenizer("a", **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the text is None"),
        (5, "the text is 5"),
        (b"a cat", "the text is b'a cat'"),
        ({"a": 1}, "the text is {"),
        (["a", 5], "text 2 of 2 is 5"),
        ([["a"]], r"text 1 of 1 is \['a'\]"),
        ("\ud800", "half of a surrogate pair"),
    ],
)
def test_what_is_no_text_is_refused(text, message, siglip_folder):
    with pytest.raises(TextError, match=message):
        SiglipTokenizer.from_pretrained(siglip_folder, context_length=16)(text)


# ------------------------------------------------------------------------------------- files that are none


def _folder(tmp_path, **files):
    for name, content in files.items():
        (tmp_path / name.replace("__", ".")).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no spiece\.model and no tokenizer\.json; put the model's tokenizer"),
        ({"tokenizer_config__json": b'{"tokenizer_class": "GemmaTokenizerFast"}'}, r": no tokenizer\.json;"),
        ({"spiece__model": b"not a model"}, r"spiece\.model: not a SentencePiece model"),
        ({"spiece__model": b""}, r"spiece\.model: not a SentencePiece model"),
        ({"tokenizer__json": b"{}"}, r"tokenizer\.json: not a tokenizer"),
        ({"tokenizer__json": b""}, r"tokenizer\.json: not a tokenizer"),
        ({"tokenizer__json": b"\xff"}, r"tokenizer\.json: not a tokenizer"),
        ({"tokenizer_config__json": b"["}, r"tokenizer_config\.json: not valid JSON"),
    ],
)
def test_files_that_are_no_tokenizer_are_named(files, message, tmp_path):
    with pytest.raises(ConfigError, match=f"^{tmp_path}.*{message}"):
        SiglipTokenizer.from_pretrained(_folder(tmp_path, **files), context_length=16)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "spiece.model").mkdir()
    with pytest.raises(ConfigError, match=r"spiece\.model: cannot be read \(Is a directory\)"):
        SiglipTokenizer.from_pretrained(tmp_path, context_length=16)


def test_tokenizers_of_other_models_are_refused(siglip_folder, tmp_path):
    from tokenizers import Tokenizer, models

    file = tmp_path / "tokenizer.json"

    def refused(message, **settings):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        with pytest.raises(ConfigError, match=message):
            SiglipTokenizer.from_pretrained(tmp_path, context_length=16)

    Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1})).save(str(file))
    refused("a vocabulary of the kind WordPiece")
    Tokenizer(models.BPE({"a": 0}, [])).save(str(file))
    refused("has no token <eos>")
    gemma = gemma_tokenizer(add_bos_token=True, add_eos_token=False)  # as a language model wants it
    gemma.backend_tokenizer.save(str(file))
    refused("puts no <eos> behind a text")
    refused(r"tokenizer_config\.json: eos_token is no text", eos_token=5)
    refused("has no token </end>", eos_token={"content": "</end>"})
    file.unlink()
    (tmp_path / "spiece.model").write_bytes((siglip_folder / "spiece.model").read_bytes())
    refused(r"spiece\.model: has no token <eos>", eos_token="<eos>")


@pytest.mark.parametrize("library", ["sentencepiece", "tokenizers"])
def test_a_missing_library_is_told(library, siglip_folder, gemma_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    folder = siglip_folder if library == "sentencepiece" else gemma_folder
    with pytest.raises(
        SiglipError, match=rf"{library} is not installed.*pip install \"numpy-siglip\[text\]\""
    ):
        SiglipTokenizer.from_pretrained(folder, context_length=16)


def test_reading_a_tokenizer_prints_nothing_and_needs_no_transformers(siglip_folder, gemma_folder):
    code = (
        "import sys\n"
        "from numpy_siglip import SiglipTokenizer\n"
        "for folder in sys.argv[1:]:\n"
        "    SiglipTokenizer.from_pretrained(folder, context_length=16)(['a cat'] * 3)\n"
        "assert not {'torch', 'transformers', 'numba', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, siglip_folder, gemma_folder],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("lowercase", [True, False])
def test_canonical_text_is_transformers(lowercase, siglip_folder):
    theirs = transformers.SiglipTokenizer.from_pretrained(siglip_folder, do_lower_case=lowercase)
    for text in TEXTS:
        assert canonicalize(text, lowercase=lowercase) == theirs.canonicalize_text(text)
