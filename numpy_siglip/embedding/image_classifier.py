"""Images in, probabilities of a classifier's own labels out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints.description.model_files import ModelFiles
from ..common.defaults import DEFAULT_BATCH_SIZE
from ..config.configuration import SiglipConfig
from ..config.naflex_configuration import Siglip2Config
from ..kernels.backend import Backend
from ..model.classification import SiglipForImageClassification
from ..model.naflex_classification import Siglip2ForImageClassification
from ..model.pretrained import read_configuration
from ..outputs import BatchFeature
from ..weights.tower_weights import find_beside_towers
from .finiteness import require_finite
from .image_batches import run_batches
from .vision_kinds import ImageProcessor, open_vision_model

if TYPE_CHECKING:
    from typing_extensions import Self


class ImageClassifier:
    """A vision tower that was trained further on labels of its own, with its preprocessing.

    Parameters
    ----------
    model : SiglipForImageClassification or Siglip2ForImageClassification
    processor : SiglipImageProcessor or Siglip2ImageProcessor
        Of the same kind.
    source : str
        What messages call it.
    multi_label : bool
        Whether several labels may be right for an image.

    Examples
    --------
    >>> from numpy_siglip.checkpoints.description.model_files import open_model
    >>> from numpy_siglip.model.backends import choose_backend
    >>> classifier = ImageClassifier.from_files(open_model(classifier_folder), choose_backend("numpy"))
    >>> [(paths == [photo], rows.shape) for paths, rows in classifier.classify_batches([photo])]
    [(True, (1, 3))]
    """

    def __init__(self, model: Any, processor: ImageProcessor, source: str, *, multi_label: bool) -> None:
        self.model = model
        self.processor = processor
        self.multi_label = multi_label
        self._source = source

    @classmethod
    def from_files(cls, files: ModelFiles, ops: Backend) -> Self:
        """Build it from an open model.

        Raises
        ------
        ConfigError, CheckpointError
            As `SiglipForImageClassification.from_pretrained`.
        """
        vision = open_vision_model(files)
        processor = vision.read_processor()[1]
        kind: Any = SiglipForImageClassification
        config_kind: Any = SiglipConfig
        if vision.is_naflex:
            kind, config_kind = Siglip2ForImageClassification, Siglip2Config
        model = kind.from_files(files, read_configuration(config_kind, files), ops)
        # As transformers trains it: https://huggingface.co/docs/transformers/main_classes/configuration
        multi_label = files.config.values.get("problem_type") == "multi_label_classification"
        return cls(model, processor, str(files), multi_label=multi_label or model.config.num_labels == 1)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of a row."""
        return list(self.model.config.id2label.values())

    def classify_batches(
        self,
        images: Iterable[Any],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        apply_exif_orientation: bool = False,
        decode: str = "exact",
        on_error: Any = None,
        on_turned: Any = None,
    ) -> Iterator[tuple[list[Any], np.ndarray]]:
        """Probabilities of the labels for a stream of images; parameters are those of `embed_batches`.

        Yields
        ------
        images : list
        probabilities : ndarray of float32, shape (images, labels)
            The softmax of the logits, or their sigmoid where several labels may be right.

        Raises
        ------
        ImageError, ConfigError, CheckpointError
        """
        leave_out = None if on_error is None else lambda _, image, error: on_error(image, error)
        for batch in run_batches(
            images,
            self.processor,
            self.model.config.vision_config,
            self._probabilities,
            batch_size=batch_size,
            threads=self.model.ops.threads,
            apply_exif_orientation=apply_exif_orientation,
            decode=decode,
            on_error=leave_out,
            on_turned=on_turned,
        ):
            yield batch.images, batch.rows

    def _probabilities(self, inputs: BatchFeature) -> np.ndarray:
        with np.errstate(all="ignore"):  # what overflows is told below, in one error
            logits = self.model(**inputs).logits
        require_finite(logits, inputs["pixel_values"], self._source)
        ops = self.model.ops
        return ops.activation(logits, "sigmoid") if self.multi_label else ops.softmax(logits)


def is_classifier(files: ModelFiles) -> bool:
    """Whether an open model has labels of its own, and no texts to compare images with.

    Examples
    --------
    >>> from numpy_siglip.checkpoints.description.model_files import open_model
    >>> is_classifier(open_model(classifier_folder)), is_classifier(open_model(model_folder))
    (True, False)
    """
    return find_beside_towers(files.tensors, "classifier.weight") is not None
