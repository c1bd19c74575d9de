"""The tokens or the embedding of an image, as lists of numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from ..common.checks import check_flag, check_mapping
from ..common.keywords import check_keywords
from ..errors import ConfigError
from ..model.naflex import Siglip2VisionModel
from ..model.vision import SiglipVisionModel
from .pipelines import CALL_KEYWORDS, Answer, Pipeline


class ImageFeatureExtractionPipeline(Pipeline):
    """The tokens of an image, or its embedding, by a vision tower.

    Examples
    --------
    >>> from numpy_siglip import pipeline
    >>> extract = pipeline("image-feature-extraction", model=model_folder)
    >>> len(extract(photo)[0]), len(extract(photo, pool=True)[0])
    (16, 33)
    >>> extract.options()[:3]
    ['pool', 'return_tensors', 'image_processor_kwargs']
    """

    task: ClassVar[str] = "image-feature-extraction"

    def checked(self, model: Any) -> Any:
        """The vision tower of a model.

        Raises
        ------
        ConfigError
            If it has none.
        """
        tower = getattr(model, "vision_model", model)
        if not isinstance(tower, (SiglipVisionModel, Siglip2VisionModel)):
            raise ConfigError(f"{type(model).__name__} has no tower for images, which {self.task} takes")
        return tower

    def answer(
        self,
        *,
        pool: bool | None = None,
        return_tensors: Any = False,
        image_processor_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> Answer:
        """The features of each image, as a batch of one.

        Parameters
        ----------
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
        check_keywords(self.answer, others, CALL_KEYWORDS)
        as_arrays = check_flag("return_tensors", return_tensors, default=False)
        pooled = check_flag("pool", pool, default=False)
        settings = check_mapping("image_processor_kwargs", image_processor_kwargs or {})
        if pooled and not self.model.config.vision_use_head:
            raise ConfigError("pool is true, and this tower has no pooling head; leave it out")

        def features(images: list[Any]) -> list[Any]:
            output = self.model(**self.image_processor(images, **settings))
            of_all = output.pooler_output if pooled else output.last_hidden_state
            return [one[None] if as_arrays else one[None].tolist() for one in of_all]

        return features
