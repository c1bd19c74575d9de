"""From a text to the numbers of its tokens, by the file of a vocabulary.

SigLIP has a SentencePiece model (``spiece.model``, or the same as ``tokenizer.json``) and canonicalises
texts. SigLIP 2 has Gemma's ``tokenizer.json`` and lowers their case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..common.extras import how_to_install
from ..common.reading import read_regular_file
from ..errors import ConfigError, SiglipError
from .canonical_text import canonicalize

_LARGEST = 2**28
"""Bytes of a vocabulary; that of SigLIP 2 has an eighth of it."""


class Encoder(NamedTuple):
    """A vocabulary, ready for use."""

    encode: Callable[[str, int], list[int]]
    """(text, longest) -> ids, at most so many; what is cut keeps its end token."""
    pad_id: int
    pads_left: bool
    """Whether padding stands before the text."""
    vocab_size: int
    """How many tokens there are."""


def read_sentencepiece(file: Path, settings: Mapping[str, Any]) -> Encoder:
    """Read the SentencePiece model of a SigLIP tokenizer.

    Parameters
    ----------
    file : Path
    settings : mapping
        Of its ``tokenizer_config.json``.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no SentencePiece model, or is that of another model.
    SiglipError
        If the library sentencepiece is not installed.
    """
    try:
        import sentencepiece
    except ImportError as cause:
        raise not_installed(file, "sentencepiece") from cause
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(_read(file))
    except RuntimeError as cause:
        raise ConfigError(f"{file}: not a SentencePiece model; fetch the file again") from cause
    unknown = token_text(settings, "unk_token", "<unk>")
    # The model would strip a leading space, so a text is encoded behind a word that is cut off again.
    lead = len(model.encode(unknown))

    def pieces(text: str) -> list[int]:
        return [int(number) for number in model.encode(unknown + text)[lead:]]

    def number(token: str) -> int | None:
        found = int(model.piece_to_id(token))
        return found if model.id_to_piece(found) == token else None

    return _siglip_encoder(file, settings, pieces, number, int(model.get_piece_size()), space="▁")


def read_tokenizer(file: Path, settings: Mapping[str, Any]) -> Encoder:
    """Read a ``tokenizer.json``, of SigLIP or of SigLIP 2.

    Parameters
    ----------
    file : Path
    settings : mapping
        Of its ``tokenizer_config.json``.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no tokenizer, or is that of another model.
    SiglipError
        If the library tokenizers is not installed.
    """
    try:
        import tokenizers
    except ImportError as cause:
        raise not_installed(file, "tokenizers") from cause
    content = _read(file)
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as cause:  # the library raises plain Exception
        raise ConfigError(f"{file}: not a tokenizer ({cause}); fetch the file again") from cause
    kind = type(tokenizer.model).__name__
    if kind == "Unigram":
        return _siglip_encoder(
            file,
            settings,
            lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            tokenizer.token_to_id,
            tokenizer.get_vocab_size(),
            space="",
        )
    if kind == "BPE":
        return _gemma_encoder(file, settings, tokenizer)
    raise ConfigError(
        f"{file}: a vocabulary of the kind {kind}, and SigLIP has Unigram or BPE; it is that of another model"
    )


def _siglip_encoder(
    file: Path,
    settings: Mapping[str, Any],
    pieces: Callable[[str], list[int]],
    number: Callable[[str], int | None],
    vocab_size: int,
    *,
    space: str,
) -> Encoder:
    """Canonical text, then the end token."""
    end, pad = token_text(settings, "eos_token", "</s>"), token_text(settings, "pad_token", "</s>")
    unknown = token_text(settings, "unk_token", "<unk>")
    special = {token: _known(file, number(token), token) for token in (end, pad, unknown)}
    lowercase = settings.get("do_lower_case") is not False
    split = re.compile(f"({'|'.join(map(re.escape, special))})")

    def encode(text: str, longest: int) -> list[int]:
        ids: list[int] = []
        parts = split.split(space + text.replace("▁", " "))
        for place, part in enumerate(parts):
            if place % 2:
                ids.append(special[part])
                continue
            # White space around a special token belongs to it. A pattern that says so would look at every
            # run of spaces once for each of its spaces.
            part = part.lstrip() if place else part
            part = part.rstrip() if place + 1 < len(parts) else part
            if part:
                ids += pieces(canonicalize(part, lowercase=lowercase))
            if len(ids) >= longest:
                break
        ids = ids[: longest - 1]
        return ids if ids and ids[-1] == special[end] else [*ids, special[end]]

    return Encoder(encode, special[pad], settings.get("padding_side") == "left", vocab_size)


def _gemma_encoder(file: Path, settings: Mapping[str, Any], tokenizer: Any) -> Encoder:
    """Text in lower case, then what the file puts around it, the end token among it."""
    from tokenizers import normalizers

    own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    padding = tokenizer.padding or {}
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad = token_text(settings, "pad_token", padding.get("pad_token", "<pad>"))
    end = token_text(settings, "eos_token", "<eos>")
    pad_id, end_id = (_known(file, tokenizer.token_to_id(token), token) for token in (pad, end))
    around = tokenizer.num_special_tokens_to_add(False)

    def encode(text: str, longest: int) -> list[int]:
        content = tokenizer.encode(text, add_special_tokens=False)
        content.truncate(max(longest - around, 0))
        return list(tokenizer.post_process(content).ids)

    if encode("a", 64)[-1] != end_id:
        raise ConfigError(
            f"{file}: puts no {end} behind a text, and SigLIP 2 was trained with it; it is the tokenizer of "
            "another model"
        )
    side = settings.get("padding_side") or padding.get("direction") or "left"  # as Siglip2Tokenizer has it
    return Encoder(encode, pad_id, side == "left", tokenizer.get_vocab_size())


def token_text(settings: Mapping[str, Any], name: str, default: str) -> str:
    """A special token of a ``tokenizer_config.json``, where it is a string or an object that holds one.

    Raises
    ------
    ConfigError
        If it is something else.

    Examples
    --------
    >>> token_text({"eos_token": {"content": "</s>", "lstrip": True}}, "eos_token", "<eos>")
    '</s>'
    """
    value = settings.get(name)
    if isinstance(value, Mapping):
        value = value.get("content")
    if value is None:
        return default
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ConfigError(f"{name} is no text in tokenizer_config.json; fetch the file again")
    return value


def _known(file: Path, number: int | None, token: str) -> int:
    if number is None:
        raise ConfigError(f"{file}: has no token {token}; it is the vocabulary of another model")
    return number


def _read(file: Path) -> bytes:
    try:
        return read_regular_file(file, ConfigError, largest=_LARGEST)
    except FileNotFoundError as cause:
        raise ConfigError(f"{file}: no such file") from cause


def not_installed(file: Path, library: str) -> SiglipError:
    """The error for a library that is missing, with the extra that installs it.

    Examples
    --------
    >>> str(not_installed(Path("tokenizer.json"), "tokenizers"))
    'tokenizer.json: tokenizers is not installed, and reads it: pip install "numpy-siglip[text]"'
    """
    return SiglipError(f"{file}: {library} is not installed, and reads it: {how_to_install(library)}")
