"""What a model reads for the label of a class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..common.checks import shown
from ..errors import ConfigError, TextError
from .prompt_sets import PROMPT_SETS

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


def list_prompts(prompt: str | Sequence[str]) -> list[str]:
    """Several prompts as a list: a prompt, the name of a set of them, or some of either.

    Raises
    ------
    ConfigError
        If there is none, or one is neither a name nor has a place for the label.

    Examples
    --------
    >>> list_prompts("a photo of {}"), len(list_prompts(["clip-7", "a drawing of {}"]))
    (['a photo of {}'], 8)
    """
    found: list[str] = []
    for one in prompt if isinstance(prompt, (list, tuple)) else [prompt]:
        if isinstance(one, str) and one in PROMPT_SETS:
            found += PROMPT_SETS[one]
            continue
        if not isinstance(one, str) or "{}" not in one:
            raise ConfigError(
                f"prompt is {shown(one)}; it must be a text with {{}} in the label's place, or the name of "
                f"several: {', '.join(PROMPT_SETS)}"
            )
        found.append(one)
    if not found:
        raise ConfigError("prompt names no prompt; leave it out, or pass one")
    return found


def list_labels(labels: str | Iterable[str]) -> list[str]:
    """Labels as a list; of a single text, what stands between its commas.

    Raises
    ------
    TextError
        If a single text holds none, or one is no text.

    Examples
    --------
    >>> list_labels("a cup, a cat"), list_labels(["salt, pepper"])
    (['a cup', 'a cat'], ['salt, pepper'])
    """
    from .tokenizer import list_texts  # see above

    if not isinstance(labels, str):
        return list_texts(labels)
    listed = [label.strip() for label in labels.split(",") if label.strip()]
    if not listed:
        raise TextError('labels names no label; write them with commas between: "a cat, a dog"')
    return listed
