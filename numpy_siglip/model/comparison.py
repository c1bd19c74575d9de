"""How embeddings of images and of texts are compared.

    embeddings of length 1 -> logits = exp(logit_scale) * products + logit_bias   (M, N)
    logits -> sigmoid -> the probability of each pair, whatever other pairs there are

Zhai et al., 2023, https://arxiv.org/abs/2303.15343; ``SiglipModel`` in transformers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..checkpoints.checkpoint import LOGIT_BIAS, LOGIT_SCALE
from ..errors import CheckpointError, ConfigError
from ..kernels.backend import Backend
from ..weights.text_weights import TEXT_LAYOUT
from ..weights.tower_weights import Tensors, read_scalar

_LARGEST_SCALE = 88.0  # e^88 is nearly the largest float32; published models have about 4.7


class Comparison(NamedTuple):
    """The two numbers that were learned beside the towers, and the operations to use them with.

    Examples
    --------
    >>> from numpy_siglip.model.backends import choose_backend
    >>> comparison = Comparison(0.0, -1.0, choose_backend("numpy"))
    >>> logits = comparison.logits(np.eye(1, 2), np.eye(2))
    >>> logits.tolist(), comparison.probabilities(logits).round(2).tolist()
    ([[0.0, -1.0]], [[0.5, 0.27]])
    """

    logit_scale: float
    """As it is stored: the logarithm of the factor."""
    logit_bias: float
    ops: Backend

    @classmethod
    def from_checkpoint(cls, checkpoint: Tensors, ops: Backend) -> Comparison:
        """Read the two numbers.

        Raises
        ------
        CheckpointError
            If one is missing or impossible.
        """
        scale, bias = read_scalar(checkpoint, LOGIT_SCALE), read_scalar(checkpoint, LOGIT_BIAS)
        if not (abs(scale) <= _LARGEST_SCALE and math.isfinite(bias)):
            raise CheckpointError(
                f"{checkpoint.source}: logit_scale is {scale} and logit_bias {bias}; both must be finite, "
                "and so must e to the power of the scale in float32; fetch the file again"
            )
        return cls(scale, bias, ops)

    def normalize(self, embeddings: np.ndarray) -> np.ndarray:
        """Scale each embedding to length 1."""
        return self.ops.l2_normalize(embeddings)

    def cosines(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Cosine of every image with every text, of embeddings of length 1: (M, D), (N, D) -> (M, N)."""
        return self.ops.similarity(image_embeds, text_embeds, 1.0, 0.0)

    def logits(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Compare every image with every text, by embeddings of length 1: (M, D), (N, D) -> (M, N)."""
        return self.ops.similarity(image_embeds, text_embeds, math.exp(self.logit_scale), self.logit_bias)

    def probabilities(self, logits: np.ndarray, *, softmax: bool = False) -> np.ndarray:
        """How sure the model is of each pair: the sigmoid of logits, by which they do not sum to 1.

        With ``softmax``, how sure it is of one text against the others, if exactly one of them is right.
        """
        if softmax:
            return self.ops.softmax(logits) if logits.size else logits
        return self.ops.activation(logits, "sigmoid")

    def loss(self, logits_per_text: np.ndarray) -> np.ndarray:
        """The sigmoid loss, for which text i has to belong to image i: (N, N) -> ().

        Raises
        ------
        ConfigError
            If there are not as many texts as images.
        """
        texts, images = logits_per_text.shape
        if texts != images:
            raise ConfigError(
                f"return_loss is set for {texts} texts and {images} images; text i has to belong to image i"
            )
        losses = self.ops.sigmoid_loss(logits_per_text)
        return np.asarray(losses.mean(dtype=np.float64), np.float32)


def require_one_width(image_width: int, text_width: int, source: object = None) -> None:
    """Refuse embeddings that cannot be compared; ``source`` is what the message begins with.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> require_one_width(768, 1152)
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.ConfigError: images are embedded in 768 numbers and texts in 1152; ...
    """
    if image_width != text_width:
        place = f"{source}: " if source else ""
        raise ConfigError(
            f"{place}images are embedded in {image_width} numbers and texts in {text_width}; hidden_size of "
            "vision_config and projection_size of text_config must be equal, and are what the weights have"
        )


def holds_both_towers(checkpoint: Tensors) -> bool:
    """Whether a checkpoint with a vision tower also has a text tower, and what it takes to compare them.

    Examples
    --------
    >>> from numpy_siglip.checkpoints.description.model_files import open_model
    >>> holds_both_towers(open_model(model_folder).tensors)
    True
    """
    endings = (TEXT_LAYOUT.mark, LOGIT_SCALE)
    return all(any(name.endswith(ending) for name in checkpoint) for ending in endings)
