"""Cut an image into the columns of a matrix (im2col with stride equal to the patch size).

    out[b, y * columns + x, (c * P + i) * P + j] = pixels[b, c, y * P + i, x * P + j]

with ``rows = height // P`` and ``columns = width // P``. A remainder at the right or the bottom
edge is dropped, as a convolution without padding drops it: a 384-pixel image has 27 patches of
14 pixels a side and loses 6 pixels. No padding is needed.

Operands
    pixels      (batch, channels, height, width), any float dtype, any memory order
    patch_size  P, pixels along each side of a patch
Result
    (batch, tokens, channels * P * P), the dtype of ``pixels``, C order. A token's features run
    over channel, then row, then column, which is the memory order of one filter of a
    convolution (channels, P, P), so that the patch embedding is one matrix product.
Cost
    No arithmetic; each kept pixel is read and written once.
NaN
    Copied.
Source
    The strided convolution of ``SiglipVisionEmbeddings`` in transformers' ``modeling_siglip``;
    im2col is described in Chellapilla, Puri and Simard, 2006,
    https://inria.hal.science/inria-00112631.
"""

from __future__ import annotations

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks


def image_to_patches_reference(pixels: np.ndarray, patch_size: int) -> np.ndarray:
    """Rearrange an image batch into one row of features per patch.

    Parameters
    ----------
    pixels : ndarray of shape (batch, channels, height, width)
    patch_size : int
        Side of the square patches in pixels.

    Returns
    -------
    ndarray of shape (batch, rows * columns, channels * patch_size ** 2)

    Examples
    --------
    A one-channel image of 2 x 4 pixels holds two patches of 2 x 2:

    >>> import numpy as np
    >>> image_to_patches_reference(np.arange(8.0).reshape(1, 1, 2, 4), patch_size=2)
    array([[[0., 1., 4., 5.],
            [2., 3., 6., 7.]]])
    """
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch_size, width // patch_size
    kept = pixels[:, :, : rows * patch_size, : columns * patch_size]
    # (B, C, H, W) -> (B, C, rows, P, columns, P): split both axes into patch and place within it
    split = kept.reshape(batch, channels, rows, patch_size, columns, patch_size)
    # -> (B, rows, columns, C, P, P): patches first, then everything inside one patch
    patches = split.transpose(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, rows * columns, channels * patch_size**2)


def image_to_patches_cost(*, batch: int, channels: int, height: int, width: int, patch_size: int) -> Cost:
    """Cost of one call: traffic alone."""
    tokens = (height // patch_size) * (width // patch_size)
    elements = batch * tokens * channels * patch_size**2
    return Cost(flops=0, bytes=float32_traffic(elements, elements))


# ----------------------------------------------------------------------------------------- compiled


def image_to_patches(runtime: Runtime, pixels: np.ndarray, patch_size: int) -> np.ndarray:
    """Compute `image_to_patches_reference` in float32.

    Parameters
    ----------
    runtime : Runtime
    pixels : ndarray of shape (batch, channels, height, width)
    patch_size : int

    Returns
    -------
    ndarray of shape (batch, rows * columns, channels * patch_size ** 2)

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> image_to_patches(Runtime(threads=1), np.arange(8.0).reshape(1, 1, 2, 4), patch_size=2).tolist()
    [[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]
    """
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch_size, width // patch_size
    out = runtime.empty(batch, rows * columns, channels * patch_size**2)
    runtime.run(
        copy_patches, flat(pixels), out.reshape(-1), batch * rows, channels, height, width, patch_size
    )
    return out


@kernel
def copy_patches(
    pixels: np.ndarray,
    out: np.ndarray,
    patch_rows: int,
    channels: int,
    height: int,
    width: int,
    patch_size: int,
    counters: np.ndarray,
    thread: int,
) -> None:
    """Copy one row of patches a task, in the order of the pixels."""
    rows, columns = height // patch_size, width // patch_size
    features = channels * patch_size * patch_size
    while True:
        task = next_task(counters, 0, patch_rows, thread)
        if task < 0:
            break
        image, row = task // rows, task % rows
        for channel in range(channels):
            for i in range(patch_size):
                line = ((image * channels + channel) * height + row * patch_size + i) * width
                offset = task * columns * features + (channel * patch_size + i) * patch_size
                for column in range(columns):
                    for j in range(patch_size):
                        out[offset + column * features + j] = pixels[line + column * patch_size + j]
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, patch_rows)
