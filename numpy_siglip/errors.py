"""The errors this package raises on bad input; each says what is wrong, where, and what to do."""

from __future__ import annotations


class SiglipError(ValueError):
    """Base of every error below, for callers that want to catch them all.

    Examples
    --------
    >>> issubclass(CheckpointError, SiglipError) and issubclass(SiglipError, ValueError)
    True
    """


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
