"""The whole SigLIP model: two towers, and the comparison of the embeddings they end in.

    images -> vision tower -> embeddings (M, D)        texts -> text tower -> embeddings (N, D)
    embeddings of length 1 -> comparison -> logits (M, N)

Zhai et al., 2023, https://arxiv.org/abs/2303.15343; ``SiglipModel`` in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.checks import as_array, check_flag
from ..common.keywords import check_keywords
from ..config.configuration import SiglipConfig
from ..errors import ConfigError
from ..kernels.backend import Backend
from ..outputs import BaseModelOutputWithPooling, SiglipOutput, as_asked
from ..weights.model_tensors import find_pair_tensors
from ..weights.tower_weights import Shapes, Tensors
from .call_keywords import PAIR_KEYWORDS, for_texts, require_both
from .comparison import Comparison, require_one_width
from .pretrained import PretrainedModel
from .text import SiglipTextModel
from .vision import SiglipVisionModel

if TYPE_CHECKING:
    from typing_extensions import Self


class SiglipModel(PretrainedModel):
    """Both towers of SigLIP or of fixed-resolution SigLIP 2.

    Make one with `from_pretrained`. The model is immutable and may be called from several threads.

    Parameters
    ----------
    config : SiglipConfig
    vision_model : SiglipVisionModel
    text_model : SiglipTextModel
    comparison : Comparison

    Raises
    ------
    ConfigError
        If the towers' embeddings cannot be compared: the vision tower gives none, or they differ in width.

    Examples
    --------
    >>> from numpy_siglip import SiglipModel, SiglipProcessor
    >>> model = SiglipModel.from_pretrained(model_folder)
    >>> processor = SiglipProcessor.from_pretrained(model_folder)
    >>> output = model(**processor(text=["a cat", "a dog"], images=[photo]))
    >>> probabilities = model.probabilities(output.logits_per_image)
    >>> probabilities.shape, bool((probabilities > 0).all())
    ((1, 2), True)
    """

    config_class: ClassVar[type[SiglipConfig]] = SiglipConfig
    vision_class: ClassVar[Any] = SiglipVisionModel
    text_class: ClassVar[type[SiglipTextModel]] = SiglipTextModel

    def __init__(
        self, config: SiglipConfig, vision_model: Any, text_model: SiglipTextModel, comparison: Comparison
    ) -> None:
        require_common_space(config)
        self.config = config
        self.vision_model = vision_model
        self.text_model = text_model
        self.comparison = comparison

    @classmethod
    def build(cls, checkpoint: Tensors, config: SiglipConfig, ops: Backend) -> Self:
        """Build the model from an open checkpoint; see `from_pretrained`."""
        require_common_space(config, checkpoint.source)  # before weights are read, which takes longer
        comparison = Comparison.from_checkpoint(checkpoint, ops)
        vision = cls.vision_class.from_checkpoint(checkpoint, config.vision_config, ops)
        text = cls.text_class.from_checkpoint(checkpoint, config.text_config, ops)
        return cls(config, vision, text, comparison)

    def get_image_features(
        self, pixel_values: np.ndarray, *, interpolate_pos_encoding: bool | None = False, **outputs: Any
    ) -> BaseModelOutputWithPooling:
        """Run the vision tower; as in transformers 5, the embedding is the output's ``pooler_output``.

        Parameters
        ----------
        pixel_values, interpolate_pos_encoding, **outputs
            As for calling `SiglipVisionModel`.
        """
        output: BaseModelOutputWithPooling = self.vision_model(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **outputs
        )
        return output

    def get_text_features(self, input_ids: np.ndarray, **outputs: Any) -> BaseModelOutputWithPooling:
        """Run the text tower; as in transformers 5, the embedding is the output's ``pooler_output``.

        Parameters
        ----------
        input_ids, **outputs
            As for calling `SiglipTextModel`.
        """
        return self.text_model(input_ids, **outputs)

    def __call__(
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        attention_mask: Any = None,
        *,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool | None = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> SiglipOutput:
        """Embed images and texts, and compare every image with every text.

        Parameters
        ----------
        input_ids : array_like of int, shape (texts, tokens)
        pixel_values : array_like of float, shape (images, num_channels, image_size, image_size)
        attention_mask : array_like of shape (texts, tokens), optional
            As for calling `SiglipTextModel`.
        return_loss : bool
            Compute the loss too, for which text i has to belong to image i.
        interpolate_pos_encoding : bool
            As for calling `SiglipVisionModel`.
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
        check_keywords(self.__call__, others, PAIR_KEYWORDS)
        require_both(input_ids, pixel_values)
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        vision = self.get_image_features(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **asked
        )
        text = self.get_text_features(input_ids, attention_mask=attention_mask, **asked, **for_texts(others))
        return as_asked(self._compare(vision, text, return_loss), return_dict)

    @property
    def logit_scale(self) -> np.ndarray:
        """Logarithm of the factor of the cosines, as transformers has it: float32 of shape (1,)."""
        return np.array([self.comparison.logit_scale], np.float32)

    @property
    def logit_bias(self) -> np.ndarray:
        """What is added to the scaled cosines, as transformers has it: float32 of shape (1,)."""
        return np.array([self.comparison.logit_bias], np.float32)

    def stored_names(self, checkpoint: Tensors) -> dict[str, str]:
        """From the names of transformers to those of the checkpoint that the model was built of."""
        return find_pair_tensors(checkpoint, self.config)

    def tensor_shapes(self) -> Shapes:
        """Name and shape of every tensor of the model, as transformers names them."""
        towers = {"vision_model": self.vision_model, "text_model": self.text_model}
        shapes: Shapes = {"logit_scale": (1,), "logit_bias": (1,)}
        for tower, model in towers.items():
            shapes |= {f"{tower}.{name}": shape for name, shape in model.tensor_shapes().items()}
        return shapes

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """The sigmoid of logits: how sure the model is of each pair; they do not sum to 1.

        Raises
        ------
        ConfigError
            If they are no array of numbers.

        Examples
        --------
        >>> from numpy_siglip import SiglipModel
        >>> model = SiglipModel.from_pretrained(model_folder)
        >>> model.probabilities(np.array([[0.0, -1000.0]], np.float32)).tolist()
        [[0.5, 0.0]]
        """
        numbers = as_array("logits", logits, ConfigError)
        if numbers.dtype.kind not in "iuf":
            raise ConfigError(f"logits has dtype {numbers.dtype}; they are numbers")
        return self.comparison.probabilities(numbers.astype(np.float32, copy=False))

    def _compare(
        self, vision: BaseModelOutputWithPooling, text: BaseModelOutputWithPooling, return_loss: Any
    ) -> SiglipOutput:
        with_loss = check_flag("return_loss", return_loss, default=False)
        assert vision.pooler_output is not None  # the constructor saw a pooling head
        assert text.pooler_output is not None
        image_embeds = self.comparison.normalize(vision.pooler_output)
        text_embeds = self.comparison.normalize(text.pooler_output)
        logits_per_image = self.comparison.logits(image_embeds, text_embeds)
        return SiglipOutput(
            loss=self.comparison.loss(logits_per_image.T) if with_loss else None,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.T,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=text,
            vision_model_output=vision,
        )


def require_common_space(config: SiglipConfig, source: object = None) -> None:
    """Refuse towers whose embeddings cannot be compared.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> require_common_space(SiglipConfig(text_config={"projection_size": 1152}))
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: images are embedded in 768 numbers and texts in 1152; ...
    """
    vision, text = config.vision_config, config.text_config
    if not vision.vision_use_head:
        raise ConfigError(
            "the vision tower has no pooling head (vision_use_head is false), so there is no image embedding "
            "to compare with that of a text"
        )
    require_one_width(vision.hidden_size, text.projection_size, source)
