"""The errors this package raises on bad input; each says what is wrong, where, and what to do."""

from __future__ import annotations

import re

# What a terminal obeys instead of showing it: control characters, line and paragraph separators,
# changes of direction, and halves of characters, which stand for bytes of a file name that is no text.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def on_one_line(text: str) -> str:
    r"""A text with its control characters escaped, so that no name can break a line or move the cursor.

    Examples
    --------
    >>> on_one_line("two\nlines and a \x1b[31mcolour")
    'two\\nlines and a \\x1b[31mcolour'
    """
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


class SiglipError(ValueError):
    r"""Base of every error below, for callers that want to catch them all.

    Messages quote names from files, so that each is brought onto one line (`on_one_line`).

    Parameters
    ----------
    message : str

    Examples
    --------
    >>> issubclass(CheckpointError, SiglipError) and issubclass(SiglipError, ValueError)
    True
    >>> str(SiglipError("photo\n.jpg: no such file"))
    'photo\\n.jpg: no such file'
    """

    def __init__(self, message: str) -> None:
        super().__init__(on_one_line(message))


class ConfigError(SiglipError):
    """A configuration or a setting is missing, unreadable or impossible; the message names file and field.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionConfig
    >>> SiglipVisionConfig(image_size=0)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: image_size is 0; it must be a positive integer up to 16384
    """


class UnknownOptionError(ConfigError, TypeError):
    """A call names an option that there is not; the message gives the near ones.

    It is a `ConfigError`, and the TypeError that Python itself raises for such a call.

    Examples
    --------
    >>> from numpy_siglip import SiglipTokenizer
    >>> SiglipTokenizer.from_pretrained(model_folder)("a cat", max_lenght=16)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.UnknownOptionError: there is no option 'max_lenght'; do you mean 'max_length'?
    """


class CheckpointError(SiglipError):
    """A checkpoint is missing, damaged or of another model; the message names the file or the tensor.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionModel
    >>> SiglipVisionModel.from_pretrained("photo.jpg/")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.CheckpointError: photo.jpg/: no such file or folder
    """


class ImageError(SiglipError):
    """An image cannot be read or does not fit the model; the message names the file or the shape.

    Examples
    --------
    >>> from numpy_siglip import load_image
    >>> load_image("photo.jpeg")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ImageError: photo.jpeg: no such file
    """


class TextError(SiglipError):
    """A text cannot be tokenized, or tokens do not fit the model; the message names the text or the shape.

    Examples
    --------
    >>> from numpy_siglip import SiglipTextModel
    >>> SiglipTextModel.from_pretrained(model_folder)([[5, 1_000_000]])
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.TextError: input_ids holds 1000000, but the model knows tokens 0 to ...
    """
