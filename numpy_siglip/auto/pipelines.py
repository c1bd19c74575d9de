"""Pipelines: images in, what a program wants to know of them out, as Python's own lists and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ..common.batches import check_batch_size, in_batches
from ..common.checks import check_flag, shown
from ..common.keywords import Keyword, Keywords, check_keywords, parameters_of
from ..errors import ConfigError, TextError
from ..model.module import Module
from ..model.naflex import Siglip2VisionModel
from ..model.siglip import SiglipModel
from ..model.vision import SiglipVisionModel
from ..preprocessing.prompts import DEFAULT_PROMPT, fill_prompt
from .pipeline_images import is_one_image, pipeline_image

Scores = list[dict[str, Any]]

_CALL_KEYWORDS: Keywords = {
    "num_workers": Keyword(lambda value: value is None or isinstance(value, int), "it must be a number"),
    "timeout": Keyword(
        lambda value: value is None or isinstance(value, (int, float)), "it must be a number of seconds"
    ),
}
"""Both are about fetching images, which are files here."""


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
        self.model = self._checked(model)
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self._options = options

    @classmethod
    def options(cls) -> list[str]:
        """What a call may say besides its images.

        Examples
        --------
        >>> ImageFeatureExtractionPipeline.options()[:3]
        ['pool', 'return_tensors', 'image_processor_kwargs']
        """
        own = [name for name in parameters_of(cls.results) if name != "images"]
        return [*own, "batch_size", *_CALL_KEYWORDS]

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
            Those of `results`; ``batch_size``, how many images go through the model at once; and
            ``timeout`` and ``num_workers``, which have no effect.

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
        images = options.pop("image", images)
        images = options.pop("images", images)
        if images is None:
            raise ConfigError(f"{self.task} is called without images; pass one, or a list")
        batch_size = check_batch_size(options.pop("batch_size", None) or 1)
        results = self._in_turn([images] if is_one_image(images) else images, batch_size, options)
        if isinstance(images, Iterator):
            return results
        return next(results) if is_one_image(images) else list(results)

    def _in_turn(self, images: Iterable[Any], batch_size: int, options: dict[str, Any]) -> Iterator[Any]:
        for batch in in_batches(images, batch_size):
            yield from self.results([pipeline_image(image) for image in batch], **options)

    def _checked(self, model: Any) -> Any:
        """The model or the part of it that the pipeline runs."""
        raise NotImplementedError  # every pipeline needs another

    def results(self, images: list[Any], **options: Any) -> list[Any]:
        """The result of each of some images."""
        raise NotImplementedError  # every pipeline wants to know something else


class ZeroShotImageClassificationPipeline(Pipeline):
    """How well labels go with an image, by a model of both towers.

    Examples
    --------
    >>> from numpy_siglip import pipeline
    >>> classify = pipeline("zero-shot-image-classification", model=model_folder)
    >>> found = classify(photo, candidate_labels=["a cat", "a dog"])
    >>> sorted(found[0]), found[0]["score"] >= found[1]["score"]
    (['label', 'score'], True)
    """

    task: ClassVar[str] = "zero-shot-image-classification"

    def _checked(self, model: Any) -> Any:
        if not isinstance(model, SiglipModel):
            raise ConfigError(
                f"{self.task} compares images with texts, and {type(model).__name__} has no tower for texts; "
                "take SiglipModel or Siglip2Model"
            )
        return model

    def results(
        self,
        images: list[Any],
        *,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str = DEFAULT_PROMPT,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> list[Scores]:
        """The labels of each image with their probabilities, the most probable first.

        Parameters
        ----------
        images : list of images
            As `pipeline_image` returns them.
        candidate_labels : sequence of str
        hypothesis_template : str
            What the model reads, with ``{}`` in the label's place.
        tokenizer_kwargs : dict, optional
            Options of `SiglipTokenizer`.

        Raises
        ------
        TextError
            If there are no labels, or one is no text.
        """
        check_keywords(self.results, others, _CALL_KEYWORDS)
        labels = _listed(candidate_labels)
        texts = fill_prompt(hypothesis_template, labels)
        comparison = self.model.comparison
        tokens = self.tokenizer(texts, **(tokenizer_kwargs or {}))
        inputs = self.image_processor(images)
        text_embeds = comparison.normalize(self.model.get_text_features(**tokens).pooler_output)
        image_embeds = comparison.normalize(self.model.get_image_features(**inputs).pooler_output)
        found = comparison.probabilities(comparison.logits(image_embeds, text_embeds))
        return [
            [{"score": row[number], "label": labels[number]} for number in _descending(row)]
            for row in found.tolist()
        ]


class ImageFeatureExtractionPipeline(Pipeline):
    """The tokens of an image, or its embedding, by a vision tower.

    Examples
    --------
    >>> from numpy_siglip import pipeline
    >>> extract = pipeline("image-feature-extraction", model=model_folder)
    >>> len(extract(photo)[0]), len(extract(photo, pool=True)[0])
    (16, 33)
    """

    task: ClassVar[str] = "image-feature-extraction"

    def _checked(self, model: Any) -> Any:
        tower = getattr(model, "vision_model", model)
        if not isinstance(tower, (SiglipVisionModel, Siglip2VisionModel)):
            raise ConfigError(f"{type(model).__name__} has no tower for images, which {self.task} takes")
        return tower

    def results(
        self,
        images: list[Any],
        *,
        pool: bool | None = None,
        return_tensors: Any = False,
        image_processor_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> list[Any]:
        """The features of each image, as a batch of one.

        Parameters
        ----------
        images : list of images
            As `pipeline_image` returns them.
        pool : bool
            The ``pooler_output``, instead of the ``last_hidden_state``.
        return_tensors : bool
            An array instead of lists.
        image_processor_kwargs : dict, optional
            Options of the image processor.

        Raises
        ------
        ConfigError
            If the tower has no pooling head.
        """
        check_keywords(self.results, others, _CALL_KEYWORDS)
        as_arrays = check_flag("return_tensors", return_tensors, default=False)
        output = self.model(**self.image_processor(images, **(image_processor_kwargs or {})))
        features = output.last_hidden_state
        if check_flag("pool", pool, default=False):
            if output.pooler_output is None:
                raise ConfigError("pool is true, and this tower has no pooling head; leave it out")
            features = output.pooler_output
        return [one[None] if as_arrays else one[None].tolist() for one in np.asarray(features)]


def _listed(labels: Any) -> list[str]:
    if labels is None or isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TextError(
            f'candidate_labels is {shown(labels)}; it must be a list of texts, such as ["a cat", "a dog"]'
        )
    listed = list(labels)
    if not listed:
        raise TextError("candidate_labels is empty; name at least one label")
    return listed


def _descending(scores: list[float]) -> list[int]:
    """Numbers of the scores, the largest first; equal ones in their order."""
    return sorted(range(len(scores)), key=lambda number: -scores[number])
