"""What pipelines have in common: images in, and what a program wants to know of them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from ..common.batches import check_batch_size, in_batches
from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.keywords import Keyword, Keywords, parameters_of
from ..errors import ConfigError
from ..model.module import Module
from .pipeline_images import is_one_image, pipeline_image

Answer = Callable[[list[Any]], list[Any]]
"""From the images of a batch to what is to be known of each"""

CALL_KEYWORDS: Keywords = {
    "num_workers": Keyword(lambda value: value is None or isinstance(value, int), "it must be a number"),
    "timeout": Keyword(
        lambda value: value is None or isinstance(value, (int, float)), "it must be a number of seconds"
    ),
}
"""Both are about fetching images, which are here."""


class Pipeline:
    """Base of pipelines.

    Parameters
    ----------
    model : model
    image_processor : SiglipImageProcessor or Siglip2ImageProcessor
        Of the same kind.
    tokenizer : SiglipTokenizer, optional
    **options
        Of the call, for all calls.
    """

    task: ClassVar[str]

    def __init__(self, model: Any, image_processor: Any, tokenizer: Any = None, **options: Any) -> None:
        self.model = self.checked(model)
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self._options = options

    @classmethod
    def options(cls) -> list[str]:
        """What a call may say besides its images."""
        return [*parameters_of(cls.answer), "batch_size", *CALL_KEYWORDS]

    @property
    def device(self) -> str:
        """Where everything is computed."""
        return Module.device

    def __call__(self, images: Any = None, **options: Any) -> Any:
        """Run the pipeline.

        Parameters
        ----------
        images : image, or images in a list, a tuple or a generator
            An image is a path, a ``PIL.Image.Image``, the content of a file as ``bytes``, a data URL, an
            array or a tensor.
        **options
            Those of `answer`; ``batch_size``, how many images go through the model at once, which changes no
            bit; and ``timeout`` and ``num_workers``, which have no effect.

        Returns
        -------
        object
            Of an image, its result; of a list or a tuple, a list of them; of a generator, a generator.

        Raises
        ------
        ImageError
            If an image cannot be read.
        ConfigError
            If an option is impossible.
        """
        options = {**self._options, **options}
        for name in ("image", "inputs", "images"):
            images = options.pop(name, images)
        if images is None:
            raise ConfigError(f"{self.task} is called without images; pass one, or a list")
        batch_size = options.pop("batch_size", None)
        batch_size = check_batch_size(DEFAULT_BATCH_SIZE if batch_size is None else batch_size)
        one = is_one_image(images)
        results = _in_turn(self.answer(**options), [images] if one else images, batch_size)
        if isinstance(images, Iterator):
            return results
        return next(results) if one else list(results)

    def checked(self, model: Any) -> Any:
        """The model, or the part of it that the pipeline runs."""
        raise NotImplementedError  # every pipeline needs another

    def answer(self, **options: Any) -> Answer:
        """What is to be done with each batch of images."""
        raise NotImplementedError  # every pipeline wants to know something else


def _in_turn(answer: Answer, images: Iterable[Any], batch_size: int) -> Iterator[Any]:
    for batch in in_batches(images, batch_size):
        yield from answer([pipeline_image(image) for image in batch])


def by_score(labels: list[str], scores: list[float]) -> list[dict[str, Any]]:
    """Labels with their scores, the highest first; equal ones stay in their order.

    Examples
    --------
    >>> by_score(["cat", "dog"], [0.25, 0.5])
    [{'label': 'dog', 'score': 0.5}, {'label': 'cat', 'score': 0.25}]
    """
    found = [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]
    return sorted(found, key=lambda each: -float(each["score"]))
