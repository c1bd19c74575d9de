"""Texts as SigLIP was trained on them: in lower case, without punctuation, with single spaces."""

from __future__ import annotations

import re
import string

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACES = re.compile(r"\s+")


def canonicalize(text: str, *, lowercase: bool = True) -> str:
    r"""Lower the case, take ASCII punctuation out, and make every run of white space one space.

    As ``SiglipTokenizer`` of transformers does it. An underscore is punctuation and goes; in the training
    code of SigLIP it became a space (https://github.com/google-research/big_vision, ``canonicalize_text``).

    Parameters
    ----------
    text : str
    lowercase : bool

    Examples
    --------
    >>> canonicalize("  A photo, of a Cat-dog!\n")
    'a photo of a catdog'
    """
    if lowercase:
        text = text.lower()
    return _SPACES.sub(" ", text.translate(_PUNCTUATION)).strip()
