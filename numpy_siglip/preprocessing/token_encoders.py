"""From a text to the numbers of its tokens, by the file of a vocabulary.

SigLIP has a SentencePiece model (``spiece.model``, or the same as ``tokenizer.json``) and canonicalises
texts. SigLIP 2 has Gemma's ``tokenizer.json`` and lowers their case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..common.extras import how_to_install
from ..common.reading import panics_as_errors
from ..errors import ConfigError, SiglipError
from .canonical_text import canonicalize
from .vocabulary import SPECIAL_TOKENS, Vocabulary

_GEMMA_TOKENS = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""Special tokens of SigLIP 2, where no file says otherwise"""


class Encoder(NamedTuple):
    """A vocabulary, ready for use."""

    encode: Callable[[str, int], list[int]]
    """(text, longest) -> ids, at most so many; what is cut keeps its end token."""
    pad_id: int
    pads_left: bool
    """Whether padding stands before the text."""
    vocabulary: Vocabulary


def read_sentencepiece(file: Path, content: bytes, settings: Mapping[str, Any]) -> Encoder:
    """Read the SentencePiece model of a SigLIP tokenizer.

    Parameters
    ----------
    file : Path
        As messages name it.
    content : bytes
    settings : mapping
        Of its ``tokenizer_config.json``.

    Raises
    ------
    ConfigError
        If it is no SentencePiece model, or is that of another model.
    SiglipError
        If the library sentencepiece is not installed.
    """
    try:
        import sentencepiece
    except ImportError as cause:
        raise not_installed(file, "sentencepiece") from cause
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(content)
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

    special = _siglip_tokens(settings)

    def join(ids: list[int]) -> str:
        return _joined([model.id_to_piece(one) for one in ids], set(special.values()), model.decode)

    vocabulary = Vocabulary(
        size=int(model.get_piece_size()),
        token_to_id=number,
        id_to_token=model.id_to_piece,
        join=join,
        special=special,
        special_ids=_known_ids(file, special.values(), number),
    )
    return _siglip_encoder(settings, pieces, vocabulary, space="▁")


def _joined(pieces: list[str], special: Collection[str], decode: Callable[[list[str]], str]) -> str:
    """The text of some pieces, as ``SiglipTokenizer`` in transformers puts it together."""
    text = ""
    plain: list[str] = []
    after_special = False
    for piece in pieces:
        if piece in special:
            text += ("" if after_special else " ") + decode(plain) + piece
            plain = []
        else:
            plain.append(piece)
        after_special = piece in special
    return (text + decode(plain)).strip()


def read_tokenizer(file: Path, content: bytes, settings: Mapping[str, Any]) -> Encoder:
    """Read a ``tokenizer.json``, of SigLIP or of SigLIP 2.

    Parameters
    ----------
    file : Path
        As messages name it.
    content : bytes
    settings : mapping
        Of its ``tokenizer_config.json``.

    Raises
    ------
    ConfigError
        If it is no tokenizer, or is that of another model.
    SiglipError
        If the library tokenizers is not installed.
    """
    try:
        import tokenizers
    except ImportError as cause:
        raise not_installed(file, "tokenizers") from cause
    try:
        with panics_as_errors():
            tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as cause:  # the library raises plain Exception
        raise ConfigError(f"{file}: not a tokenizer ({cause}); fetch the file again") from cause
    kind = type(tokenizer.model).__name__
    if kind == "Unigram":
        return _siglip_encoder(
            settings,
            lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            _vocabulary(file, tokenizer, _siglip_tokens(settings)),
            space="",
        )
    if kind == "BPE":
        return _gemma_encoder(file, settings, tokenizer)
    raise ConfigError(
        f"{file}: a vocabulary of the kind {kind}, and SigLIP has Unigram or BPE; it is that of another model"
    )


def _vocabulary(file: Path, tokenizer: Any, special: Mapping[str, str]) -> Vocabulary:
    """That of a ``tokenizer.json``, which knows special tokens of its own."""
    added = tokenizer.get_added_tokens_decoder()
    return Vocabulary(
        size=int(tokenizer.get_vocab_size()),
        token_to_id=tokenizer.token_to_id,
        id_to_token=tokenizer.id_to_token,
        join=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False)),
        special=special,
        special_ids=_known_ids(file, special.values(), tokenizer.token_to_id)
        | {number for number, token in added.items() if token.special},
    )


def _siglip_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of SigLIP, of which the one that ends a text fills it up too."""
    usual = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    return {purpose: token_text(settings, purpose, token) for purpose, token in usual.items()}


def _siglip_encoder(
    settings: Mapping[str, Any],
    pieces: Callable[[str], list[int]],
    vocabulary: Vocabulary,
    *,
    space: str,
) -> Encoder:
    """Canonical text, then the end token."""
    special = {token: vocabulary.token_to_id(token) or 0 for token in vocabulary.special.values()}
    end = special[vocabulary.special["eos_token"]]
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
        return ids if ids and ids[-1] == end else [*ids, end]

    pad = special[vocabulary.special["pad_token"]]
    return Encoder(encode, pad, settings.get("padding_side") == "left", vocabulary)


def _gemma_encoder(file: Path, settings: Mapping[str, Any], tokenizer: Any) -> Encoder:
    """Text in lower case, then what the file puts around it, the end token among it."""
    from tokenizers import normalizers

    own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    padding = tokenizer.padding or {}
    tokenizer.no_padding()
    tokenizer.no_truncation()
    usual = {**_GEMMA_TOKENS, "pad_token": padding.get("pad_token", "<pad>")}
    special = {purpose: token_text(settings, purpose, usual[purpose]) for purpose in SPECIAL_TOKENS}
    for purpose in ("bos_token", "mask_token", "unk_token"):  # which are of no use here, and may be missing
        if tokenizer.token_to_id(special[purpose]) is None:
            del special[purpose]
    vocabulary = _vocabulary(file, tokenizer, special)
    pad_id, end_id = (tokenizer.token_to_id(special[purpose]) for purpose in ("pad_token", "eos_token"))
    around = tokenizer.num_special_tokens_to_add(False)

    def encode(text: str, longest: int) -> list[int]:
        content = tokenizer.encode(text, add_special_tokens=False)
        content.truncate(max(longest - around, 0))
        return list(tokenizer.post_process(content).ids)

    if encode("a", 64)[-1] != end_id:
        raise ConfigError(
            f"{file}: puts no {special['eos_token']} behind a text, and SigLIP 2 was trained with it; it is "
            "the tokenizer of another model"
        )
    side = settings.get("padding_side") or padding.get("direction") or "left"  # as Siglip2Tokenizer has it
    return Encoder(encode, pad_id, side == "left", vocabulary)


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


def _known_ids(file: Path, tokens: Iterable[str], number: Callable[[str], int | None]) -> frozenset[int]:
    """Numbers of tokens that a vocabulary must have."""
    found = {token: number(token) for token in tokens}
    for token, its_number in found.items():
        if its_number is None:
            raise ConfigError(f"{file}: has no token {token}; it is the vocabulary of another model")
    return frozenset(one for one in found.values() if one is not None)


def not_installed(file: Path, library: str) -> SiglipError:
    """The error for a library that is missing, with the extra that installs it.

    Examples
    --------
    >>> str(not_installed(Path("tokenizer.json"), "tokenizers"))
    'tokenizer.json: tokenizers is not installed, and reads it: pip install "numpy-siglip[text]"'
    """
    return SiglipError(f"{file}: {library} is not installed, and reads it: {how_to_install(library)}")
