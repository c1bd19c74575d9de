"""The tokens that a tokenizer knows: their texts, their numbers, and the way back from numbers to a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..common.checks import as_array, check_flag, shown
from ..common.keywords import check_keywords
from ..errors import TextError
from .call_keywords import DECODING_KEYWORDS

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token")
"""What special tokens are for, in the order in which transformers lists them"""


class Vocabulary(NamedTuple):
    """What the file of a vocabulary knows of its tokens."""

    size: int
    """How many tokens there are"""
    token_to_id: Callable[[str], int | None]
    id_to_token: Callable[[int], str | None]
    """For numbers below the size; None for one that no token has"""
    join: Callable[[list[int]], str]
    """The text of some tokens"""
    special: Mapping[str, str]
    """Special tokens by what they are for: some of ``SPECIAL_TOKENS``"""
    special_ids: frozenset[int]
    """Numbers of all special tokens, of those too that SigLIP has no use for"""


class WithVocabulary:
    """Base of tokenizers: what a program may ask of the tokens, under the names of transformers.

    Parameters
    ----------
    vocabulary : Vocabulary

    Examples
    --------
    >>> from numpy_siglip import SiglipTokenizer
    >>> tokenizer = SiglipTokenizer.from_pretrained(model_folder)
    >>> len(tokenizer), tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.bos_token
    (76, '</s>', 1, None)
    >>> ids = tokenizer("Two cats!").input_ids[0]
    >>> tokenizer.decode(ids, skip_special_tokens=True)
    'two cats'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def vocab_size(self) -> int:
        """How many tokens it knows."""
        return self._vocabulary.size

    def get_vocab(self) -> dict[str, int]:
        """The number of every token."""
        tokens = {number: self._vocabulary.id_to_token(number) for number in range(self.vocab_size)}
        return {token: number for number, token in tokens.items() if token is not None}

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Special tokens by what they are for, such as ``"eos_token"``."""
        return dict(self._vocabulary.special)

    @property
    def all_special_tokens(self) -> list[str]:
        """Special tokens, each once."""
        return list(dict.fromkeys(self._vocabulary.special.values()))

    @property
    def all_special_ids(self) -> list[int]:
        """Numbers of `all_special_tokens`."""
        numbers = (self._number(token) for token in self.all_special_tokens)
        return [number for number in numbers if number is not None]

    @property
    def bos_token(self) -> str | None:
        """What would begin a text; None in SigLIP."""
        return self._vocabulary.special.get("bos_token")

    @property
    def bos_token_id(self) -> int | None:
        """Its number."""
        return self._special_number("bos_token")

    @property
    def eos_token(self) -> str | None:
        """What ends a text."""
        return self._vocabulary.special.get("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        """Its number."""
        return self._special_number("eos_token")

    @property
    def unk_token(self) -> str | None:
        """What stands for a piece of a text that no token has."""
        return self._vocabulary.special.get("unk_token")

    @property
    def unk_token_id(self) -> int | None:
        """Its number."""
        return self._special_number("unk_token")

    @property
    def pad_token(self) -> str | None:
        """What fills a text up to its length; in SigLIP the token that ends it."""
        return self._vocabulary.special.get("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        """Its number."""
        return self._special_number("pad_token")

    @property
    def mask_token(self) -> str | None:
        """What would stand for a token to be guessed; None in SigLIP."""
        return self._vocabulary.special.get("mask_token")

    @property
    def mask_token_id(self) -> int | None:
        """Its number."""
        return self._special_number("mask_token")

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The number of a token, or of each of several.

        Parameters
        ----------
        tokens : str or iterable of str
            What is no token has the number of the unknown one, or None if there is none.

        Returns
        -------
        int or list of int

        Raises
        ------
        TextError
            If one is no text.
        """
        if isinstance(tokens, str):
            return self.convert_tokens_to_ids([tokens])[0]
        if isinstance(tokens, (bytes, Mapping)) or not isinstance(tokens, Iterable):
            raise TextError(f"tokens is {shown(tokens)}; it must be a token or several, each a string")
        listed = list(tokens)
        for token in listed:
            if not isinstance(token, str):
                raise TextError(f"a token is {shown(token)}; it must be a string")
            if any("\ud800" <= character <= "\udfff" for character in token):
                raise TextError(
                    f"a token is {shown(token)}, which holds half of a surrogate pair; decode it anew"
                )
        return [self._number(token) for token in listed]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of a number, or of each of several.

        Parameters
        ----------
        ids : int or array_like of int, shape (tokens,)
        skip_special_tokens : bool
            Leave special tokens out.

        Returns
        -------
        str or list of str

        Raises
        ------
        TextError
            If one is no number of a token.
        """
        numbers = self._numbers(ids, "ids")
        if numbers.ndim == 0:
            return self._token(int(numbers))
        if numbers.ndim != 1:
            raise TextError(f"ids has shape {numbers.shape}; tokens are given one text at a time")
        return [self._token(one) for one in self._kept(numbers, skip_special_tokens)]

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **others: Any) -> Any:
        """The text of some tokens: what the model was given, without what a tokenizer leaves out.

        Parameters
        ----------
        token_ids : int, array_like of int, shape (tokens,), or several of such texts
            As ``input_ids`` of calling the tokenizer.
        skip_special_tokens : bool
            Leave special tokens out, padding among them.
        **others
            What transformers' programs pass and has one right value here, such as
            ``clean_up_tokenization_spaces=False``.

        Returns
        -------
        str, or list of str if there are several texts

        Raises
        ------
        TextError
            If one is no number of a token.
        ConfigError
            If an option asks for what there is not.
        """
        check_keywords(self.decode, others, DECODING_KEYWORDS)
        if isinstance(token_ids, Mapping):
            if "input_ids" not in token_ids:
                raise TextError(f"token_ids holds {shown(list(token_ids))}; it must hold input_ids")
            token_ids = token_ids["input_ids"]
        if isinstance(token_ids, (list, tuple)) and any(np.ndim(one) for one in token_ids):
            return [self.decode(one, skip_special_tokens) for one in token_ids]
        numbers = self._numbers(token_ids, "token_ids")
        if numbers.ndim > 1:
            return [self.decode(row, skip_special_tokens) for row in numbers]
        return self._vocabulary.join(self._kept(numbers.reshape(-1), skip_special_tokens))

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **others: Any) -> list[str]:
        """The texts of several sequences of tokens; parameters and errors are those of `decode`."""
        decoded = self.decode(sequences, skip_special_tokens, **others)
        return [decoded] if isinstance(decoded, str) else decoded

    def _kept(self, numbers: np.ndarray, skip_special_tokens: bool) -> list[int]:
        skipped = (
            self._vocabulary.special_ids if check_flag("skip_special_tokens", skip_special_tokens) else ()
        )
        return [number for number in numbers.tolist() if number not in skipped]

    def _numbers(self, ids: Any, name: str) -> np.ndarray:
        numbers = as_array(name, ids, TextError)
        if not numbers.size:
            return numbers.astype(np.int64)
        if numbers.dtype.kind not in "iu":
            raise TextError(f"{name} is {shown(ids)}; it must hold numbers of tokens")
        if not 0 <= int(numbers.min()) <= int(numbers.max()) < self.vocab_size:
            worst = numbers.min() if numbers.min() < 0 else numbers.max()
            raise TextError(f"{name} holds {int(worst)}; there are tokens 0 to {self.vocab_size - 1}")
        return numbers

    def _token(self, number: int) -> str:
        token = self._vocabulary.id_to_token(number)
        if token is None:
            raise TextError(f"no token has the number {number}")
        return token

    def _number(self, token: str) -> int | None:
        number = self._vocabulary.token_to_id(token)
        unknown = self._vocabulary.special.get("unk_token")
        return self._vocabulary.token_to_id(unknown) if number is None and unknown else number

    def _special_number(self, purpose: str) -> int | None:
        token = self._vocabulary.special.get(purpose)
        return None if token is None else self._number(token)
