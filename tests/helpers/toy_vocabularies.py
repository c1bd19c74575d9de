"""Small tokenizers for the tests, of the two kinds there are, in the files that transformers reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

SENTENCES = [
    "a photo of a cat",
    "a photo of a dog on a bicycle",
    "this is a photo of two cats sleeping on a sofa",
    "the quick brown fox jumps over the lazy dog",
    "an aerial view of the city at night, with lights",
    "une photo d'un café à la française",
    "ein Foto von einem großen Hund im Schnee",
    "一张猫的照片",
    "a bowl of ramen 拉麺",
    "traffic light, street sign and 3 cars",
]

TEXTS = [
    "a photo of a cat",
    "A Photo OF a CAT.",
    "This is a photo of a dog.",
    "  leading,\ttabs\n\nnew lines  and   spaces  ",
    "punctuation! (all) of [it]: #$%&'*+,-./:;<=>?@\\^_`{|}~\"",
    "traffic_light, don't, ice-cream",
    "café naïve Ångström İstanbul ΟΔΟΣ straße ﬁne",
    "cafe\u0301 combining",
    "emoji 🐱🐶 👩‍👩‍👧 flags 🇫🇷",
    "一张猫的照片\uff0c两只狗",
    "日本語のテキスト العربية עברית हिन्दी",
    "non\u00a0breaking \u200bzero \u3000wide ▁ underline",
    "x",
    "",
    "   ",
    "...",
    "a",
    "3.14 + 2 = 5,14",
    "a photo of a cat " * 60,
    "猫" * 200,
]
"""Punctuation, case, accents, emoji, Chinese, empty and very long."""


def write_siglip_tokenizer(folder: Path, **settings: Any) -> None:
    """A SentencePiece model of SigLIP's kind, trained here, as ``SiglipTokenizer`` saves it."""
    import sentencepiece
    from transformers import SiglipTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=120,
        model_type="unigram",
        character_coverage=0.99,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        minloglevel=2,
    )
    (folder / "trained.model").write_bytes(model.getvalue())
    # As published: were there a mask, transformers' pipeline would hand it to the model.
    settings = {"model_input_names": ["input_ids"], **settings}
    tokenizer = SiglipTokenizer(str(folder / "trained.model"), **settings)
    tokenizer.save_pretrained(folder)
    (folder / "trained.model").unlink()


def gemma_tokenizer(kind: str = "Siglip2Tokenizer", **settings: Any) -> Any:
    """A BPE of Gemma's kind, trained here, as transformers' class of this name."""
    import json

    import tokenizers
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=special + bytes_, show_progress=False)
    tokenizer.train_from_iterator([sentence.lower() for sentence in SENTENCES], trainer)
    state = json.loads(tokenizer.model.__getstate__())
    return getattr(transformers, kind)(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        **{"add_bos_token": False, "add_eos_token": True, "padding_side": "right", **settings},
    )
