"""What an image processor and a tower return: fields by name and by key, as in transformers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np


class BatchFeature(dict[str, np.ndarray]):
    """Result of an image processor: a dictionary whose values are attributes too.

    Examples
    --------
    >>> inputs = BatchFeature(pixel_values=np.zeros((1, 3, 8, 8), np.float32))
    >>> inputs.pixel_values is inputs["pixel_values"]
    True
    """

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self)}") from None


class ModelOutput:
    """Base of what models return, frozen dataclasses.

    As in transformers, fields that are None are left out when the result is used as a tuple or
    asked for its keys.
    """

    def keys(self) -> tuple[str, ...]:
        """Names of the fields that are present."""
        names = (f.name for f in fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass
        return tuple(name for name in names if getattr(self, name) is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Any:
        # transformers' outputs iterate over their keys, like dictionaries
        return iter(self.keys())


@dataclass(frozen=True)
class BaseModelOutputWithPooling(ModelOutput):
    """Result of a tower.

    Parameters
    ----------
    last_hidden_state : ndarray of shape (batch, tokens, hidden_size)
        Tokens after the final layer norm.
    pooler_output : ndarray of shape (batch, hidden_size), or None
        The embedding of the image or of the text; None if the tower has no pooling head.
    hidden_states : tuple of ndarray of shape (batch, tokens, hidden_size), or None
        The embeddings, then the output of each layer. The last one is not normalised.
    attentions : tuple of ndarray of shape (batch, num_attention_heads, tokens, tokens), or None
        Attention weights of each layer.

    Examples
    --------
    >>> output = BaseModelOutputWithPooling(np.zeros((1, 4, 8)), np.ones((1, 8)))
    >>> output["pooler_output"] is output.pooler_output is output[1]
    True
    >>> output.keys()
    ('last_hidden_state', 'pooler_output')
    """

    last_hidden_state: np.ndarray
    pooler_output: np.ndarray | None = None
    hidden_states: tuple[np.ndarray, ...] | None = None
    attentions: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True)
class SiglipOutput(ModelOutput):
    """Result of both towers, compared with one another.

    Parameters
    ----------
    loss : ndarray of shape (), or None
        The sigmoid loss, if it was asked for.
    logits_per_image : ndarray of shape (images, texts)
        Scaled and shifted cosines; their sigmoid is a probability.
    logits_per_text : ndarray of shape (texts, images)
        The same turned over.
    text_embeds : ndarray of shape (texts, projection_size)
        Of length 1 each.
    image_embeds : ndarray of shape (images, projection_size)
        Of length 1 each.
    text_model_output : BaseModelOutputWithPooling
    vision_model_output : BaseModelOutputWithPooling

    Examples
    --------
    >>> from numpy_siglip import SiglipModel, SiglipProcessor
    >>> inputs = SiglipProcessor.from_pretrained(model_folder)(text=["a cat"], images=[photo])
    >>> output = SiglipModel.from_pretrained(model_folder)(**inputs, return_loss=True)
    >>> output.keys()[:3]
    ('loss', 'logits_per_image', 'logits_per_text')
    """

    loss: np.ndarray | None = None
    logits_per_image: np.ndarray | None = None
    logits_per_text: np.ndarray | None = None
    text_embeds: np.ndarray | None = None
    image_embeds: np.ndarray | None = None
    text_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, and those of the towers as tuples too."""
        values = (getattr(self, name) for name in self.keys())
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in values)


@dataclass(frozen=True)
class ImageClassifierOutput(ModelOutput):
    """Result of an image classifier.

    Parameters
    ----------
    logits : ndarray of shape (images, num_labels)
    hidden_states : tuple of ndarray of shape (images, tokens, hidden_size), or None
    attentions : tuple of ndarray of shape (images, num_attention_heads, tokens, tokens), or None

    Examples
    --------
    >>> ImageClassifierOutput(np.zeros((1, 2))).keys()
    ('logits',)
    """

    logits: np.ndarray
    hidden_states: tuple[np.ndarray, ...] | None = None
    attentions: tuple[np.ndarray, ...] | None = None
