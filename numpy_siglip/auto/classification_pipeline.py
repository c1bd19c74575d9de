"""Which of its own labels a classifier gives an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..common.checks import check_integer, shown
from ..common.keywords import check_keywords
from ..errors import ConfigError
from ..model.classification import SiglipForImageClassification
from .pipelines import CALL_KEYWORDS, Answer, Pipeline, by_score

_MOST_LABELS = 2**20


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "none": np.asarray,
}


class ImageClassificationPipeline(Pipeline):
    """The labels of a classifier for an image.

    Examples
    --------
    >>> from numpy_siglip import pipeline
    >>> classify = pipeline("image-classification", model=classifier_folder)
    >>> len(classify(photo)), sorted(classify(photo, top_k=1)[0])
    (3, ['label', 'score'])
    """

    task: ClassVar[str] = "image-classification"

    def checked(self, model: Any) -> Any:
        """A classifier.

        Raises
        ------
        ConfigError
            If it is none.
        """
        if not isinstance(model, SiglipForImageClassification):
            raise ConfigError(
                f"{self.task} takes a classifier, and {type(model).__name__} is none; for labels of your own "
                "take zero-shot-image-classification"
            )
        return model

    def answer(self, *, top_k: int | None = 5, function_to_apply: str | None = None, **others: Any) -> Answer:
        """The labels of each image with their scores, the highest first.

        Parameters
        ----------
        top_k : int or None
            How many labels; None for all.
        function_to_apply : {"softmax", "sigmoid", "none"}, optional
            Makes scores of logits. By default what the classifier was trained for, which is the softmax of
            several labels and the sigmoid of one.

        Raises
        ------
        ConfigError
            If there is no such function.
        """
        check_keywords(self.answer, others, CALL_KEYWORDS)
        most = None if top_k is None else check_integer("top_k", top_k, largest=_MOST_LABELS)
        labels = [self.model.config.id2label[number] for number in range(len(self.model.config.id2label))]
        name = (
            ("softmax" if len(labels) > 1 else "sigmoid") if function_to_apply is None else function_to_apply
        )
        if not isinstance(name, str) or name.lower() not in _FUNCTIONS:
            raise ConfigError(
                f"function_to_apply is {shown(function_to_apply)}; there are: {', '.join(_FUNCTIONS)}"
            )

        def scores(images: list[Any]) -> list[Any]:
            logits = self.model(**self.image_processor(images)).logits
            return [by_score(labels, row)[:most] for row in _FUNCTIONS[name.lower()](logits).tolist()]

        return scores


def function_of(values: Mapping[str, Any]) -> str | None:
    """What makes scores of logits by a ``config.json``; None for what is usual.

    Examples
    --------
    >>> function_of({"problem_type": "multi_label_classification"}), function_of({})
    ('sigmoid', None)
    """
    return {"multi_label_classification": "sigmoid", "regression": "none"}.get(
        str(values.get("problem_type"))
    )
