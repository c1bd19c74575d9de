"""A classifier on top of the NaFlex vision tower: the mean of an image's own tokens, and one linear map."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..config.configuration import SiglipConfig
from ..config.naflex_configuration import Siglip2Config
from ..outputs import ImageClassifierOutput, as_asked
from .classification import SiglipForImageClassification, mean_of_tokens
from .naflex import Siglip2VisionModel


class Siglip2ForImageClassification(SiglipForImageClassification):
    """A NaFlex vision tower that was trained further to tell classes of images.

    Make one with `from_pretrained`. Parameters are those of `SiglipForImageClassification`, but for what an
    image is given as. Padding is no part of the mean, whether a mask is given or not; in transformers it is
    one where no mask is given.

    Examples
    --------
    >>> from numpy_siglip import Siglip2ForImageClassification
    >>> Siglip2ForImageClassification.config_class.__name__
    'Siglip2Config'
    """

    config_class: ClassVar[type[SiglipConfig]] = Siglip2Config
    vision_class: ClassVar[Any] = Siglip2VisionModel

    def __call__(  # type: ignore[override]  # as in transformers, where they differ likewise
        self,
        pixel_values: np.ndarray,
        pixel_attention_mask: np.ndarray | None,
        spatial_shapes: np.ndarray,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> ImageClassifierOutput:
        """Classify a batch of preprocessed images.

        Parameters
        ----------
        pixel_values, pixel_attention_mask, spatial_shapes : array_like
            As for calling `Siglip2VisionModel`.
        output_hidden_states, output_attentions, return_dict, **others
            Likewise.

        Returns
        -------
        ImageClassifierOutput
            ``logits`` of shape (batch, num_labels), in the order of ``config.id2label``.

        Raises
        ------
        ImageError
            If the patches, the mask and the grids do not fit each other or the model.
        """
        output = self.vision_model(
            pixel_values,
            pixel_attention_mask,
            spatial_shapes,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            **others,
        )
        logits = self._logits(mean_of_tokens(self.ops, output.last_hidden_state, spatial_shapes))
        classified = ImageClassifierOutput(logits, output.hidden_states, output.attentions)
        return as_asked(classified, return_dict)
