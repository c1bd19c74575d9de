"""What programs pass to image processors and tokenizers beyond what is chosen here, and what each may be."""

from __future__ import annotations

from typing import Any

from ..checkpoints.loading_keywords import is_flag
from ..common.keywords import Keyword, Keywords
from ..common.spellings import is_cpu

_NO_STEP = "which is not a step of SigLIP's preprocessing; leave it out"
_IDS_ALONE = "a tokenizer gives what the model takes; leave it out"


def _is_no_device(value: Any) -> bool:
    return value is None or is_cpu(value)


IMAGE_KEYWORDS: Keywords = {
    "crop_size": Keyword((None,), _NO_STEP),
    "data_format": Keyword((None, "channels_first"), "models take channels before height and width"),
    "default_to_square": Keyword((None, False), "give size as a height and a width"),
    "device": Keyword(_is_no_device, "images are prepared on the CPU: pass 'cpu' or leave it out"),
    "disable_grouping": Keyword(is_flag, "it must be true or false"),
    "do_center_crop": Keyword((None, False), _NO_STEP),
    "do_pad": Keyword((None, False), _NO_STEP),
    "image_seq_length": Keyword((None,), _NO_STEP),
    "pad_size": Keyword((None,), _NO_STEP),
}

TEXT_KEYWORDS: Keywords = {
    "add_special_tokens": Keyword((None, True), "SigLIP was trained with them; leave it out"),
    "is_split_into_words": Keyword((None, False), "a text is one string"),
    "pad_to_multiple_of": Keyword((None,), "the length of a text is max_length"),
    "padding_side": Keyword((None,), "the side is that of the tokenizer's files"),
    "return_length": Keyword((None, False), _IDS_ALONE),
    "return_offsets_mapping": Keyword((None, False), _IDS_ALONE),
    "return_overflowing_tokens": Keyword((None, False), _IDS_ALONE),
    "return_special_tokens_mask": Keyword((None, False), _IDS_ALONE),
    "return_token_type_ids": Keyword((None, False), _IDS_ALONE),
    "stride": Keyword((None, 0), "nothing is given of what is cut off"),
    "text_pair": Keyword((None,), "texts stand by themselves"),
    "verbose": Keyword(is_flag, "it must be true or false"),
}

DECODING_KEYWORDS: Keywords = {
    "clean_up_tokenization_spaces": Keyword(
        (None, False), "spaces stay where they are, since cleaning up is for tokenizers of another kind"
    ),
    "spaces_between_special_tokens": Keyword(is_flag, "it must be true or false"),
    "use_source_tokenizer": Keyword((None, False), "there is one tokenizer"),
}

_ONE_LENGTH = "SigLIP knows texts of one length"
LENGTH_KEYWORDS: Keywords = {
    "padding": Keyword((None, True, "max_length"), f"{_ONE_LENGTH}: leave it out, or pass 'max_length'"),
    "truncation": Keyword(
        (None, True, "longest_first", "only_first"), f"{_ONE_LENGTH}: leave it out, or pass True"
    ),
}
"""All of these mean the one thing that is done: every text is padded or cut to the length of training."""

PROCESSOR_KEYWORDS: Keywords = {
    "audio": Keyword((None,), "SigLIP takes images and texts"),
    "videos": Keyword((None,), "SigLIP takes images and texts; pass single frames as images"),
}
