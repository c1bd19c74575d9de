"""Which of some labels go with an image, told by a model of both towers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from ..common.checks import check_mapping, shown
from ..common.keywords import check_keywords
from ..errors import ConfigError, TextError
from ..model.siglip import SiglipModel
from ..preprocessing.prompts import DEFAULT_PROMPT, fill_prompt
from .pipelines import CALL_KEYWORDS, Answer, Pipeline, by_score


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

    def checked(self, model: Any) -> Any:
        """A model of both towers.

        Raises
        ------
        ConfigError
            If it is none.
        """
        if not isinstance(model, SiglipModel):
            raise ConfigError(
                f"{self.task} compares images with texts, and {type(model).__name__} has no tower for texts; "
                "take SiglipModel or Siglip2Model"
            )
        return model

    def answer(
        self,
        *,
        candidate_labels: Sequence[str] | None = None,
        hypothesis_template: str = DEFAULT_PROMPT,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> Answer:
        """The labels of each image with their probabilities, the most probable first.

        Parameters
        ----------
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
        check_keywords(self.answer, others, CALL_KEYWORDS)
        labels = _listed(candidate_labels)
        comparison = self.model.comparison
        texts = fill_prompt(hypothesis_template, labels)
        tokens = self.tokenizer(texts, **check_mapping("tokenizer_kwargs", tokenizer_kwargs or {}))
        text_embeds = comparison.normalize(self.model.get_text_features(**tokens).pooler_output)

        def scores(images: list[Any]) -> list[Any]:
            features = self.model.get_image_features(**self.image_processor(images))
            logits = comparison.logits(comparison.normalize(features.pooler_output), text_embeds)
            return [by_score(labels, row) for row in comparison.probabilities(logits).tolist()]

        return scores


def _listed(labels: Any) -> list[str]:
    if labels is None or isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TextError(
            f'candidate_labels is {shown(labels)}; it must be a list of texts, such as ["a cat", "a dog"]'
        )
    listed = list(labels)
    if not listed:
        raise TextError("candidate_labels is empty; name at least one label")
    return listed
