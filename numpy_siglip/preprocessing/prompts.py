"""What a model reads for the label of a class."""

from __future__ import annotations

from collections.abc import Iterable

from ..common.checks import shown
from ..errors import ConfigError

DEFAULT_PROMPT = "This is a photo of {}."
"""That of transformers' pipeline for zero-shot image classification."""


def fill_prompt(prompt: str, labels: Iterable[str]) -> list[str]:
    """What the model reads for each label.

    Raises
    ------
    ConfigError
        If the prompt has no place for the label.
    TextError
        If a label is no text.

    Examples
    --------
    >>> fill_prompt("This is a photo of {}.", ["a cat", "a dog"])
    ['This is a photo of a cat.', 'This is a photo of a dog.']
    """
    from .tokenizer import list_texts  # only here, so that the command line knows the prompt without NumPy

    if not isinstance(prompt, str) or "{}" not in prompt:
        raise ConfigError(f"prompt is {shown(prompt)}; it must be a text with {{}} in the label's place")
    return [prompt.replace("{}", label) for label in list_texts(labels)]
