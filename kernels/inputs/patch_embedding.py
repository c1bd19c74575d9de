"""Patch embedding: each patch, flattened, times one matrix, plus the position of the patch.

    tokens[b, t, d] = sum_f patches[b, t, f] * weight[d, f] + bias[d] + position[t, d]

with ``patches = image_to_patches(pixels)``. It equals a convolution whose stride is its kernel
size, because such windows never overlap: a filter (channels, P, P) read in memory order is the
row ``weight[d, :]``.

Operands
    pixels      (batch, channels, height, width), any float dtype
    weights     prepared by ``prepare_linear`` from (hidden_size, channels * P * P) and
                (hidden_size,)
    position    (tokens, hidden_size), one learned vector for each place in the grid
    patch_size  P
Result
    (batch, tokens, hidden_size) with tokens in reading order: left to right, then down.
Cost
    The flops of the linear map over batch * tokens rows; the pixels of whole patches, the weights
    and the positions are read once, the tokens written once. The patches in between are free.
NaN
    A NaN pixel spoils the whole token of its patch and no other.
Source
    Dosovitskiy et al., 2021, section 3.1, equation 1, https://arxiv.org/abs/2010.11929, here
    without a class token, as ``SiglipVisionEmbeddings`` in transformers' ``modeling_siglip``.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.runtime import Runtime
from ..products.linear import LinearWeights, linear, linear_cost, linear_reference
from ..tiles.packing import PackedLinear
from .image_to_patches import image_to_patches, image_to_patches_reference


def patch_embedding_reference(
    pixels: np.ndarray, weights: LinearWeights, position: np.ndarray, patch_size: int
) -> np.ndarray:
    """Embed non-overlapping patches and add their positions.

    Parameters
    ----------
    pixels : ndarray of shape (batch, channels, height, width)
    weights : LinearWeights
        From (hidden_size, channels * patch_size ** 2).
    position : ndarray of shape (tokens, hidden_size)
    patch_size : int

    Returns
    -------
    ndarray of shape (batch, tokens, hidden_size)

    Examples
    --------
    A filter of ones sums each patch; the position is added to the sum:

    >>> import numpy as np
    >>> from numpy_siglip.kernels.products.linear import prepare_linear_reference
    >>> pixels = np.arange(8.0).reshape(1, 1, 2, 4)
    >>> weights = prepare_linear_reference(np.ones((1, 4)), np.zeros(1))
    >>> patch_embedding_reference(pixels, weights, np.array([[100.0], [200.0]]), patch_size=2)
    array([[[110.],
            [218.]]])
    """
    patches = image_to_patches_reference(pixels, patch_size)
    return linear_reference(patches, weights, residual=position)


def patch_embedding_cost(
    *, batch: int, channels: int, height: int, width: int, patch_size: int, hidden_size: int
) -> Cost:
    """Cost of one call."""
    tokens = (height // patch_size) * (width // patch_size)
    features = channels * patch_size**2
    embedding = linear_cost(
        rows=batch * tokens, in_features=features, out_features=hidden_size, residual=True
    )
    return Cost(
        flops=embedding.flops,
        bytes=float32_traffic(
            batch * tokens * features,
            hidden_size * features + hidden_size,
            tokens * hidden_size,
            batch * tokens * hidden_size,
        ),
    )


# ----------------------------------------------------------------------------------------- compiled


def patch_embedding(
    runtime: Runtime, pixels: np.ndarray, weights: PackedLinear, position: np.ndarray, patch_size: int
) -> np.ndarray:
    """Compute `patch_embedding_reference` in float32, on packed weights.

    Parameters
    ----------
    runtime : Runtime
    pixels : ndarray of shape (batch, channels, height, width)
    weights : PackedLinear
    position : ndarray of shape (tokens, hidden_size)
    patch_size : int

    Returns
    -------
    ndarray of shape (batch, tokens, hidden_size)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> from numpy_siglip.kernels.tiles.packing import pack_linear
    >>> runtime = Runtime(threads=1)
    >>> weights = pack_linear(runtime, np.ones((1, 4)), np.zeros(1))
    >>> pixels, position = np.arange(8.0).reshape(1, 1, 2, 4), np.array([[100.0], [200.0]])
    >>> patch_embedding(runtime, pixels, weights, position, patch_size=2).tolist()
    [[[110.0], [218.0]]]
    """
    return linear(runtime, image_to_patches(runtime, pixels, patch_size), weights, residual=position)
