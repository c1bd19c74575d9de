"""The NaFlex vision tower of SigLIP 2, for images of any aspect ratio.

    patches (B, N, P * P * C) -> linear map + positions resampled to the image's grid -> `vision_tower`

Images of a batch have different numbers of patches, and rows of padding make them equal. No arithmetic
is done on those: each image is cut to its own patches, and goes through the tower together with the images
that have as many. A padding row can then have no influence, and no operation needs a mask.

Tschannen et al., 2025, section 2.4, https://arxiv.org/abs/2502.14786; ``Siglip2VisionModel`` in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.keywords import check_keywords
from ..config.naflex_configuration import Siglip2VisionConfig
from ..kernels.backend import Backend
from ..outputs import BaseModelOutputWithPooling, as_asked
from ..weights.tower_weights import Shapes, Tensors
from ..weights.vision_weights import (
    VisionWeights,
    find_vision_tensors,
    load_vision_weights,
    vision_tensor_shapes,
)
from .call_keywords import NAFLEX_KEYWORDS
from .naflex_padding import PaddedStages, PatchBatch
from .tower import Tower
from .trace import LayerRecorder, Listener, Stage, collect_stages
from .vision_tower import vision_tower

if TYPE_CHECKING:
    from typing_extensions import Self


class Siglip2VisionModel(Tower):
    """Vision tower of the NaFlex variant of SigLIP 2.

    Make one with `from_pretrained`. The model is immutable and may be called from several threads.
    Checkpoints of SigLIP 2 with a resolution in their name are for `SiglipVisionModel`.

    Parameters
    ----------
    config : Siglip2VisionConfig
    weights : VisionWeights
        Prepared for ``ops``.
    ops : Backend
        The table of operations.

    Examples
    --------
    >>> from numpy_siglip import Siglip2ImageProcessor, Siglip2VisionModel
    >>> model = Siglip2VisionModel.from_pretrained(naflex_folder)
    >>> processor = Siglip2ImageProcessor.from_pretrained(naflex_folder)
    >>> inputs = processor(images=[photo, photo.parent / "astronaut.jpg"])
    >>> inputs.spatial_shapes.tolist()
    [[4, 5], [4, 4]]
    >>> model(**inputs).pooler_output.shape == (2, model.config.hidden_size)
    True
    """

    config_class: ClassVar[type[Siglip2VisionConfig]] = Siglip2VisionConfig

    config: Siglip2VisionConfig
    _weights: VisionWeights

    @classmethod
    def build(cls, checkpoint: Tensors, config: Siglip2VisionConfig, ops: Backend) -> Self:
        """Build the tower from an open checkpoint; see `from_pretrained`."""
        return cls(config, load_vision_weights(checkpoint, config, ops), ops)

    def __call__(
        self,
        pixel_values: np.ndarray,
        pixel_attention_mask: np.ndarray | None,
        spatial_shapes: np.ndarray,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> BaseModelOutputWithPooling:
        """Embed a batch of preprocessed images.

        Parameters
        ----------
        pixel_values : array_like of float, shape (batch, patches, patch_size * patch_size * num_channels)
            As `Siglip2ImageProcessor` returns them; computed on in float32.
        pixel_attention_mask : array_like of shape (batch, patches), or None
            Ones for an image's own patches, which come first, and zeros for padding. It says nothing that
            ``spatial_shapes`` does not, and None stands for what that says.
        spatial_shapes : array_like of int, shape (batch, 2)
            Rows and columns of each image's grid of patches.
        output_hidden_states : bool
            Return the embeddings and the output of every layer too.
        output_attentions : bool
            Return the attention weights of every layer too.
        return_dict : bool, optional
            With False, the fields that are present as a tuple.
        **others
            What transformers' programs pass and has one right value here, such as ``labels=None``.

        Returns
        -------
        BaseModelOutputWithPooling
            Rows of padding are zeros in ``last_hidden_state`` and ``hidden_states``, and so are rows and
            columns in ``attentions``. In transformers they hold numbers that mean nothing.

        Raises
        ------
        ImageError
            If the patches, the mask and the grids do not fit each other or the model.
        ConfigError
            If an option asks for what there is not.

        Notes
        -----
        How much padding there is changes no bit of the other results, nor does what it holds.
        """
        check_keywords(self.__call__, others, NAFLEX_KEYWORDS)
        recorder = LayerRecorder(
            self.config.num_hidden_layers, states=output_hidden_states, maps=output_attentions
        )
        batch = PatchBatch.of(pixel_values, pixel_attention_mask, spatial_shapes, self.config)
        last_hidden_state, pooler_output = self._forward(batch, recorder.stage)
        output = BaseModelOutputWithPooling(
            last_hidden_state, pooler_output, recorder.hidden_states, recorder.attentions
        )
        return as_asked(output, return_dict)

    def stored_names(self, checkpoint: Tensors) -> dict[str, str]:
        """From the names of transformers to those of the checkpoint that the tower was built of."""
        return find_vision_tensors(checkpoint, self.config)

    def tensor_shapes(self) -> Shapes:
        """Name and shape of every tensor of the tower, as transformers names them."""
        return vision_tensor_shapes(self.config)

    def trace(
        self,
        pixel_values: np.ndarray,
        pixel_attention_mask: np.ndarray | None,
        spatial_shapes: np.ndarray,
        listener: Listener | None = None,
        *,
        output_attentions: bool = True,
    ) -> dict[str, np.ndarray]:
        """Run the model and hand out every named stage, those of `SiglipVisionModel.trace`.

        Parameters
        ----------
        pixel_values, pixel_attention_mask, spatial_shapes : array_like
            As for calling the model.
        listener : callable, optional
            Called with the name and the array of each stage. In a batch of different token counts a stage is
            complete when the last of them has passed, and the others wait in memory until then.
        output_attentions : bool
            Whether attention weights are among the stages.

        Returns
        -------
        dict of str to ndarray
            All stages by name, or nothing if there is a listener.

        Examples
        --------
        >>> from numpy_siglip import Siglip2ImageProcessor, Siglip2VisionModel
        >>> model = Siglip2VisionModel.from_pretrained(naflex_folder)
        >>> inputs = Siglip2ImageProcessor.from_pretrained(naflex_folder)(photo)
        >>> model.trace(**inputs)["embeddings"].shape
        (1, 20, 33)
        """
        batch = PatchBatch.of(pixel_values, pixel_attention_mask, spatial_shapes, self.config)
        return collect_stages(lambda stage: self._forward(batch, stage), listener, output_attentions)

    def _forward(self, batch: PatchBatch, stage: Stage) -> tuple[np.ndarray, np.ndarray | None]:
        config, weights, ops = self.config, self._weights, self.ops
        stages = PaddedStages(stage, batch)
        tokens = np.zeros((*batch.patches.shape[:2], config.hidden_size), np.float32)
        pooled = np.zeros((len(tokens), config.hidden_size), np.float32)
        for count, images in batch.by_token_count().items():
            positions = np.empty((len(images), count, config.hidden_size), np.float32)
            for place, image in enumerate(images):
                positions[place] = self._position_embedding(*batch.grids[image])
            embeddings = ops.linear(
                batch.patches[images, :count], weights.patch_embedding, residual=positions
            )
            tokens[images, :count], embedding = vision_tower(
                embeddings, weights, config, ops, stages.of(images)
            )
            if embedding is not None:
                pooled[images] = embedding
        return tokens, pooled if weights.head is not None else None

    def _position_embedding(self, rows: int, columns: int) -> Any:
        """The learned positions, resampled to a grid: (rows * columns, hidden_size)."""
        side = self.config.patches_per_side
        position = self._weights.position_embedding
        if (rows, columns) == (side, side):
            return position
        return self.ops.position_embedding(position, rows, columns, "antialiased_bilinear")
