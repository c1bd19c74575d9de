"""The whole NaFlex model of SigLIP 2: its vision tower, a text tower, and how their embeddings compare.

Its text tower and its comparison are those of SigLIP; see `siglip` and `text`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..common.keywords import check_keywords
from ..config.configuration import SiglipConfig, SiglipTextConfig
from ..config.naflex_configuration import Siglip2Config, Siglip2TextConfig
from ..outputs import BaseModelOutputWithPooling, SiglipOutput, as_asked
from .call_keywords import NAFLEX_PAIR_KEYWORDS, for_texts, require_both
from .naflex import Siglip2VisionModel
from .siglip import SiglipModel
from .text import SiglipTextModel


class Siglip2TextModel(SiglipTextModel):
    """Text tower of the NaFlex variant of SigLIP 2: a `SiglipTextModel` that reads such checkpoints.

    Examples
    --------
    >>> from numpy_siglip import Siglip2TextModel
    >>> model = Siglip2TextModel.from_pretrained(naflex_folder)
    >>> model([[5, 6, 1]]).pooler_output.shape
    (1, 33)
    """

    config_class: ClassVar[type[SiglipTextConfig]] = Siglip2TextConfig


class Siglip2Model(SiglipModel):
    """Both towers of the NaFlex variant of SigLIP 2.

    Make one with `from_pretrained`. Parameters and methods are those of `SiglipModel`, but for what an image
    is given as.

    Examples
    --------
    >>> from numpy_siglip import Siglip2Model, Siglip2Processor
    >>> model = Siglip2Model.from_pretrained(naflex_folder)
    >>> processor = Siglip2Processor.from_pretrained(naflex_folder)
    >>> output = model(**processor(text=["a cat", "a dog"], images=[photo]))
    >>> output.logits_per_image.shape
    (1, 2)
    """

    config_class: ClassVar[type[SiglipConfig]] = Siglip2Config
    vision_class: ClassVar[Any] = Siglip2VisionModel
    text_class: ClassVar[type[SiglipTextModel]] = Siglip2TextModel

    def get_image_features(  # type: ignore[override]  # as in transformers, where they differ likewise
        self,
        pixel_values: np.ndarray,
        pixel_attention_mask: np.ndarray | None,
        spatial_shapes: np.ndarray,
        **outputs: Any,
    ) -> BaseModelOutputWithPooling:
        """Run the vision tower; as in transformers 5, the embedding is the output's ``pooler_output``.

        Parameters
        ----------
        pixel_values, pixel_attention_mask, spatial_shapes, **outputs
            As for calling `Siglip2VisionModel`.
        """
        output: BaseModelOutputWithPooling = self.vision_model(
            pixel_values, pixel_attention_mask, spatial_shapes, **outputs
        )
        return output

    def __call__(  # type: ignore[override]  # as in transformers, where they differ likewise
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        pixel_attention_mask: Any = None,
        spatial_shapes: Any = None,
        attention_mask: Any = None,
        *,
        return_loss: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> SiglipOutput:
        """Embed images and texts, and compare every image with every text.

        Parameters
        ----------
        input_ids : array_like of int, shape (texts, tokens)
        pixel_values, pixel_attention_mask, spatial_shapes : array_like
            As for calling `Siglip2VisionModel`.
        attention_mask : array_like of shape (texts, tokens), optional
            As for calling `SiglipTextModel`.
        return_loss : bool
            Compute the loss too, for which text i has to belong to image i.
        output_hidden_states, output_attentions : bool
            Of both towers.
        return_dict : bool, optional
            With False, the fields that are present as a tuple, those of the towers too.
        **others
            What transformers' programs pass and has one right value here, such as ``position_ids=None``.

        Returns
        -------
        SiglipOutput

        Raises
        ------
        TextError, ImageError
            If the input does not fit the model.
        ConfigError
            If the loss is asked for and there are not as many texts as images, or an option asks for what
            there is not.
        """
        check_keywords(self.__call__, others, NAFLEX_PAIR_KEYWORDS)
        require_both(input_ids, pixel_values)
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        vision = self.get_image_features(pixel_values, pixel_attention_mask, spatial_shapes, **asked)
        text = self.get_text_features(input_ids, attention_mask=attention_mask, **asked, **for_texts(others))
        return as_asked(self._compare(vision, text, return_loss), return_dict)
