"""A classifier on top of the vision tower: the mean of all tokens, and one linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..config.configuration import SiglipConfig
from ..errors import CheckpointError
from ..kernels.backend import Backend
from ..outputs import ImageClassifierOutput, as_asked
from ..weights.model_tensors import prefixed
from ..weights.tower_reader import TowerReader
from ..weights.tower_weights import Shapes, Tensors, find_beside_towers, linear_shapes
from .pretrained import PretrainedModel
from .vision import SiglipVisionModel

if TYPE_CHECKING:
    from typing_extensions import Self

_WEIGHT, _BIAS = "classifier.weight", "classifier.bias"


class SiglipForImageClassification(PretrainedModel):
    """A SigLIP vision tower that was trained further to tell classes of images.

    Make one with `from_pretrained`. It averages the tower's tokens and does not use its pooling head.

    Parameters
    ----------
    config : SiglipConfig
    vision_model : SiglipVisionModel
    classifier : object or None
        A linear map (hidden_size) -> (num_labels) as ``ops`` prepared it; None gives the mean itself.
    ops : Backend
        The table of operations.

    Examples
    --------
    >>> from numpy_siglip import SiglipForImageClassification, SiglipImageProcessor
    >>> model = SiglipForImageClassification.from_pretrained(classifier_folder)
    >>> logits = model(**SiglipImageProcessor.from_pretrained(model_folder)([photo])).logits
    >>> logits.shape, sorted(model.config.id2label.values())
    ((1, 3), ['bicycle', 'cat', 'dog'])
    """

    config_class: ClassVar[type[SiglipConfig]] = SiglipConfig
    vision_class: ClassVar[Any] = SiglipVisionModel

    def __init__(self, config: SiglipConfig, vision_model: Any, classifier: Any, ops: Backend) -> None:
        self.config = config
        self.vision_model = vision_model
        self._classifier = classifier
        self.ops = ops

    @classmethod
    def build(cls, checkpoint: Tensors, config: SiglipConfig, ops: Backend) -> Self:
        """Build the classifier from an open checkpoint; see `from_pretrained`."""
        classifier = _read_classifier(cls.__name__, checkpoint, config, ops)
        vision = cls.vision_class.from_checkpoint(checkpoint, config.vision_config, ops)
        return cls(config, vision, classifier, ops)

    def __call__(
        self,
        pixel_values: np.ndarray,
        *,
        interpolate_pos_encoding: bool | None = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> ImageClassifierOutput:
        """Classify a batch of preprocessed images.

        Parameters
        ----------
        pixel_values, interpolate_pos_encoding, output_hidden_states, output_attentions, return_dict, **others
            As for calling `SiglipVisionModel`.

        Returns
        -------
        ImageClassifierOutput
            ``logits`` of shape (batch, num_labels), in the order of ``config.id2label``.

        Raises
        ------
        ImageError
            If the pixels do not fit the model.
        """
        output = self.vision_model(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            interpolate_pos_encoding=interpolate_pos_encoding,
            **others,
        )
        mean = self.ops.mean_pooling(output.last_hidden_state)  # (B, T, D) -> (B, D)
        classified = ImageClassifierOutput(self._logits(mean), output.hidden_states, output.attentions)
        return as_asked(classified, return_dict)

    def _logits(self, mean: np.ndarray) -> np.ndarray:
        """Of each class: (batch, hidden_size) -> (batch, num_labels)."""
        return mean if self._classifier is None else self.ops.linear(mean, self._classifier)

    def stored_names(self, checkpoint: Tensors) -> dict[str, str]:
        """From the names of transformers to those of the checkpoint that the model was built of."""
        vision = self.vision_model.stored_names(checkpoint)
        classifier = {name: find_beside_towers(checkpoint, name) for name in (_WEIGHT, _BIAS)}
        found = {name: stored for name, stored in classifier.items() if stored is not None}
        return {**prefixed("vision_model", vision), **found}

    def tensor_shapes(self) -> Shapes:
        """Name and shape of every tensor of the model, as transformers names them."""
        shapes = {f"vision_model.{name}": shape for name, shape in self.vision_model.tensor_shapes().items()}
        if self._classifier is not None:
            width = self.config.vision_config.hidden_size
            shapes |= linear_shapes("classifier", len(self.config.id2label or ()), width)
        return shapes


def mean_of_tokens(ops: Backend, tokens: np.ndarray, spatial_shapes: Any = None) -> np.ndarray:
    """The mean of the tokens of each image; of NaFlex, of those that are its own.

    Parameters
    ----------
    ops : Backend
    tokens : ndarray of shape (batch, tokens, hidden_size)
    spatial_shapes : array_like of int, shape (batch, 2), optional
        Rows and columns of each image's patches.

    Returns
    -------
    ndarray of float32, shape (batch, hidden_size)

    Examples
    --------
    >>> from numpy_siglip.model.backends import choose_backend
    >>> tokens = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> mean_of_tokens(choose_backend("numpy"), tokens, [[1, 3]]).tolist()
    [[1.0]]
    """
    if spatial_shapes is None:
        return ops.mean_pooling(tokens)
    counts = np.prod(np.asarray(spatial_shapes, np.int64), axis=1)
    means = [ops.mean_pooling(one[None, :count]) for one, count in zip(tokens, counts, strict=True)]
    return np.concatenate([np.zeros((0, tokens.shape[-1]), np.float32), *means])


def _read_classifier(model_class: str, checkpoint: Tensors, config: SiglipConfig, ops: Backend) -> Any:
    if not config.id2label:
        return None
    shapes = {
        _WEIGHT: (len(config.id2label), config.vision_config.hidden_size),
        _BIAS: (len(config.id2label),),
    }
    whole_model = model_class.replace("ForImageClassification", "Model")
    names = {name: find_beside_towers(checkpoint, name) for name in shapes}
    for name, shape in shapes.items():
        stored = names[name]
        if stored is None:
            raise CheckpointError(
                f"{checkpoint.source}: tensor {name} is missing, so this is no {model_class}; to tell "
                f"classes by their names use {whole_model} or Embedder.classify"
            )
        if checkpoint[stored].shape != shape:
            raise CheckpointError(
                f"{checkpoint.source}: tensor {stored} has shape {checkpoint[stored].shape}, but the "
                f"id2label of config.json asks for {shape}; they describe different models"
            )
    found = {name: stored for name, stored in names.items() if stored is not None}
    return TowerReader(checkpoint, found, ops).linear("classifier")
