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
    """A configuration is missing, unreadable or impossible; the message names the file or the field."""


class CheckpointError(SiglipError):
    """A checkpoint is missing, damaged or of another model; the message names the file or the tensor."""


class ImageError(SiglipError):
    """An image cannot be read or does not fit the model; the message names the file or the shape."""
