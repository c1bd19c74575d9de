"""The SigLIP vision tower, written once over a table of operations.

    pixels (B, C, H, W) -> patch embedding + position -> L x encoder layer -> layer norm -> tokens
    tokens (B, T, D) -> attention pooling by a learned probe -> residual MLP -> embedding (B, D)

Zhai et al., 2023, https://arxiv.org/abs/2303.15343; ``SiglipVisionModel`` in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.checks import as_array, check_flag
from ..common.keywords import check_keywords
from ..config.configuration import SiglipVisionConfig
from ..errors import ImageError
from ..kernels.backend import Backend
from ..outputs import BaseModelOutputWithPooling, as_asked
from ..weights.tower_weights import Shapes, Tensors
from ..weights.vision_weights import (
    VisionWeights,
    find_vision_tensors,
    load_vision_weights,
    vision_tensor_shapes,
)
from .call_keywords import VISION_KEYWORDS
from .tower import Tower
from .trace import LayerRecorder, Listener, Stage, collect_stages
from .vision_tower import vision_tower

if TYPE_CHECKING:
    from typing_extensions import Self


class SiglipVisionModel(Tower):
    """Vision tower of SigLIP and of fixed-resolution SigLIP 2.

    Make one with `from_pretrained`. The model is immutable and may be called from several threads.

    Parameters
    ----------
    config : SiglipVisionConfig
    weights : VisionWeights
        Prepared for ``ops``.
    ops : Backend
        The table of operations.

    Examples
    --------
    >>> from numpy_siglip import SiglipImageProcessor, SiglipVisionModel
    >>> model = SiglipVisionModel.from_pretrained(model_folder)
    >>> processor = SiglipImageProcessor.from_pretrained(model_folder)
    >>> output = model(**processor(images=[photo, photo]), output_hidden_states=True)
    >>> output.pooler_output.shape == (2, model.config.hidden_size)
    True
    >>> len(output.hidden_states) == model.config.num_hidden_layers + 1
    True
    """

    config_class: ClassVar[type[SiglipVisionConfig]] = SiglipVisionConfig

    config: SiglipVisionConfig
    _weights: VisionWeights

    @classmethod
    def build(cls, checkpoint: Tensors, config: SiglipVisionConfig, ops: Backend) -> Self:
        """Build the tower from an open checkpoint; see `from_pretrained`."""
        return cls(config, load_vision_weights(checkpoint, config, ops), ops)

    def __call__(
        self,
        pixel_values: np.ndarray,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        interpolate_pos_encoding: bool | None = False,
        return_dict: bool | None = None,
        **others: Any,
    ) -> BaseModelOutputWithPooling:
        """Embed a batch of preprocessed images.

        Parameters
        ----------
        pixel_values : array_like of float, shape (batch, num_channels, image_size, image_size)
            As `SiglipImageProcessor` returns them; computed on in float32.
        output_hidden_states : bool
            Return the embeddings and the output of every layer too.
        output_attentions : bool
            Return the attention weights of every layer too.
        interpolate_pos_encoding : bool
            Accept any height and width of at least one patch, resampling the positions.
        return_dict : bool, optional
            With False, the fields that are present as a tuple.
        **others
            What transformers' programs pass and has one right value here, such as ``labels=None``.

        Returns
        -------
        BaseModelOutputWithPooling

        Raises
        ------
        ImageError
            If the pixels do not fit the model; the message gives both shapes.
        ConfigError
            If an option asks for what there is not.
        """
        check_keywords(self.__call__, others, VISION_KEYWORDS)
        recorder = LayerRecorder(
            self.config.num_hidden_layers, states=output_hidden_states, maps=output_attentions
        )
        last_hidden_state, pooler_output = self._forward(
            pixel_values, recorder.stage, interpolate_pos_encoding=interpolate_pos_encoding
        )
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
        listener: Listener | None = None,
        *,
        output_attentions: bool = True,
        interpolate_pos_encoding: bool = False,
    ) -> dict[str, np.ndarray]:
        """Run the model and hand out every named stage, in the order they are computed.

        Parameters
        ----------
        pixel_values : array_like
            As for calling the model.
        listener : callable, optional
            Called with the name and the array of each stage as soon as it exists. Without one,
            all stages are kept and returned, which takes memory: about 2 GB for one image of
            So400m at 384 pixels, half of it attention weights.
        output_attentions : bool
            Whether attention weights are among the stages.
        interpolate_pos_encoding : bool
            As for calling the model.

        Returns
        -------
        dict of str to ndarray
            All stages by name, or nothing if there is a listener.

        Examples
        --------
        >>> from numpy_siglip import SiglipImageProcessor, SiglipVisionModel
        >>> model = SiglipVisionModel.from_pretrained(model_folder)
        >>> pixel_values = SiglipImageProcessor.from_pretrained(model_folder)(photo)["pixel_values"]
        >>> stages = model.trace(pixel_values)
        >>> list(stages)[:3]
        ['embeddings', 'encoder/layers/00/layer_norm1', 'encoder/layers/00/attention/query']
        >>> list(stages)[-1]
        'head'
        """
        return collect_stages(
            lambda stage: self._forward(
                pixel_values, stage, interpolate_pos_encoding=interpolate_pos_encoding
            ),
            listener,
            output_attentions,
        )

    def _forward(
        self, pixel_values: Any, stage: Stage, *, interpolate_pos_encoding: bool | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        config, weights, ops = self.config, self._weights, self.ops
        resampled = check_flag("interpolate_pos_encoding", interpolate_pos_encoding, default=False)
        pixels = self._check_pixels(pixel_values, resampled)

        position = self._position_embedding(*pixels.shape[2:])
        embeddings = ops.patch_embedding(pixels, weights.patch_embedding, position, config.patch_size)
        return vision_tower(embeddings, weights, config, ops, stage)

    def _position_embedding(self, height: int, width: int) -> np.ndarray:
        """The learned positions, resampled if the image's grid is not the one they were learned on."""
        side = self.config.patches_per_side
        rows, columns = height // self.config.patch_size, width // self.config.patch_size
        position = self._weights.position_embedding
        if (rows, columns) == (side, side):
            return position
        return self.ops.position_embedding(position, rows, columns)

    def _check_pixels(self, pixel_values: Any, interpolate_pos_encoding: bool) -> np.ndarray:
        """The pixels as float32, once their shape is known to fit."""
        config = self.config
        pixels = as_array("pixel_values", pixel_values, ImageError)
        wanted = f"(batch, {config.num_channels}, {config.image_size}, {config.image_size})"
        if pixels.dtype.kind != "f":
            raise ImageError(
                f"pixel_values has dtype {pixels.dtype}; the model takes floats, "
                "which SiglipImageProcessor makes from images"
            )
        if pixels.ndim != 4 or pixels.shape[1] != config.num_channels:
            raise ImageError(f"pixel_values has shape {pixels.shape}; the model takes {wanted}")
        rows, columns = (size // config.patch_size for size in pixels.shape[2:])
        side = config.patches_per_side
        if not rows or not columns:
            raise ImageError(
                f"pixel_values has shape {pixels.shape}, smaller than one patch of {config.patch_size} pixels"
            )
        if (rows, columns) != (side, side) and not interpolate_pos_encoding:
            raise ImageError(
                f"pixel_values has shape {pixels.shape}; the model takes {wanted}: resize the image, "
                "or pass interpolate_pos_encoding=True"
            )
        return pixels.astype(np.float32, copy=False)
