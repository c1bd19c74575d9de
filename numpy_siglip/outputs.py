"""What an image processor and a tower return: fields by name and by key, as in transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .common.checks import check_flag, shown
from .common.spellings import dtype_name, is_device, require_cpu
from .errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self

_FLOATS = ("float16", "float32", "float64")


class BatchFeature(dict[str, np.ndarray]):
    """Result of an image processor: a dictionary whose values are attributes too.

    Examples
    --------
    >>> inputs = BatchFeature(pixel_values=np.zeros((1, 3, 8, 8), np.float32))
    >>> inputs.pixel_values is inputs["pixel_values"]
    True
    >>> inputs.to("cpu") is inputs, inputs.to(np.float16).pixel_values.dtype
    (True, dtype('float16'))
    """

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {', '.join(self)}") from None

    def to(self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Make floats another kind of floats; whole numbers stay what they are, as in transformers.

        Parameters
        ----------
        *args
            A device, a type of numbers, or the two.
        device : optional
            The processor, on which everything is already.
        dtype : optional
            A type of floats. A model takes any, and computes in float32.
        non_blocking : bool
            Has no effect.

        Returns
        -------
        BatchFeature
            The same, changed.

        Raises
        ------
        ConfigError
            If another device, or a type that is none of floats, is asked for.
        """
        check_flag("non_blocking", non_blocking)
        device, dtype = _where_and_what(args, device, dtype)
        if device is not None:
            require_cpu("device", device)
        if dtype is not None:
            for name, value in self.items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    self[name] = value.astype(_float_type(dtype), copy=False)
        return self


def _where_and_what(args: tuple[Any, ...], device: Any, dtype: Any) -> tuple[Any, Any]:
    """A device and a type of numbers of arguments in which each may stand first."""
    for value in args:
        if is_device(value):
            device = value
        elif value is not None:
            dtype = value
    return device, dtype


def _float_type(dtype: Any) -> np.dtype:
    name = dtype_name(dtype)
    if name not in _FLOATS:
        raise ConfigError(f"dtype is {shown(dtype)}; it must be one of {', '.join(_FLOATS)}")
    return np.dtype(name)


class ModelOutput(Mapping[str, Any]):
    """Base of what models return, frozen dataclasses.

    As in transformers, a result is a mapping of the names of its fields, and a tuple by its numbers. Fields
    that are None are left out of both.
    """

    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # in order, and can be indexed
        """Names of the fields that are present."""
        names = (f.name for f in fields(self))  # type: ignore[arg-type]  # every subclass is a dataclass
        return tuple(name for name in names if getattr(self, name) is not None)

    def values(self) -> tuple[Any, ...]:  # type: ignore[override]
        """The fields that are present."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:  # type: ignore[override]
        """Name and value of the fields that are present."""
        return tuple(zip(self.keys(), self.values(), strict=True))

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present."""
        return self.values()

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        # transformers' outputs iterate over their keys, like dictionaries
        return iter(self.keys())


Output = TypeVar("Output", bound=ModelOutput)


def as_asked(output: Output, return_dict: bool | None) -> Output:
    """A result as it is, or as a tuple for a program that says ``return_dict=False``.

    Raises
    ------
    ConfigError
        If ``return_dict`` is no truth value.

    Examples
    --------
    >>> len(as_asked(BaseModelOutputWithPooling(np.zeros((1, 4, 8)), np.ones((1, 8))), return_dict=False))
    2
    """
    if check_flag("return_dict", return_dict, default=True):
        return output
    return output.to_tuple()  # type: ignore[return-value]  # only who asks for a tuple gets one


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
