"""The text side: what is said of a concept, and the tokenizer that reads it.

A caption is the official name half of the time, the name inside a sentence or with keywords
otherwise, so that a question need not be worded as Unicode words it. The tokenizer is of SigLIP 1's kind:
lower case, punctuation deleted, a unigram vocabulary, one ``</s>`` at the end and more of them up to
64 tokens (https://arxiv.org/abs/2303.15343; transformers' SiglipTokenizer).
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from tokenizers.trainers import UnigramTrainer

CONTEXT = 64
VOCABULARY = 1500
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SENTENCES = (
    "this is a photo of {}",  # what zero-shot pipelines ask by default
    "a photo of a {}",
    "a drawing of {}",
    "an emoji of {}",
    "a picture of a {}",
    "the {}",
)
KEYWORD_CAPTIONS = 10
# Of the captions of one concept, this share of draws: the bare name, a sentence, keywords.
SHARES = (0.5, 0.25, 0.25)


def captions_of(name: str, keywords: Sequence[str], chance: random.Random) -> list[list[str]]:
    """Return three lists of captions, drawn from in the proportions of ``SHARES``."""
    words = [word for word in keywords if word.lower() != name.lower()] or [name]
    with_keywords = []
    for draw in range(KEYWORD_CAPTIONS):
        some = chance.sample(words, min(len(words), chance.randint(1, 3)))
        with_keywords.append(" ".join([name, *some] if draw % 2 else some))
    return [[name], [sentence.format(name) for sentence in SENTENCES], with_keywords]


def train_tokenizer(texts: Sequence[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Return a unigram tokenizer of the given captions."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[" + "".join("\\" + mark for mark in string.punctuation) + "]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, END, UNKNOWN], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, end)]
    )
    tokenizer.enable_truncation(CONTEXT)
    tokenizer.enable_padding(length=CONTEXT, pad_id=end, pad_token=END)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Return int64 (texts, 64): the tokens of each text, filled up with ``</s>``."""
    return np.array([encoding.ids for encoding in tokenizer.encode_batch(list(texts))], dtype=np.int64)


class CaptionTable:
    """The tokens of all captions of all concepts, and draws from them."""

    def __init__(self, tokenizer: Tokenizer, captions: Sequence[Sequence[Sequence[str]]]) -> None:
        # (concepts, kinds) of arrays (captions, 64)
        self._tokens = [[encode(tokenizer, kind) for kind in concept] for concept in captions]

    def draw(self, concepts: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """Return int64 (concepts, 64): one caption for each concept."""
        kinds = chance.choice(len(SHARES), size=len(concepts), p=SHARES)
        drawn = [self._tokens[concept][kind] for concept, kind in zip(concepts, kinds, strict=True)]
        return np.stack([tokens[chance.integers(len(tokens))] for tokens in drawn])
