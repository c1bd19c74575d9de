"""What is done with the results of a tower: refuse them if they are not finite."""

from __future__ import annotations

import numpy as np

from ..errors import CheckpointError, ImageError


def require_finite(results: np.ndarray, pixel_values: np.ndarray | None, source: str) -> None:
    """Refuse results that hold NaN or infinity, and say whether the pixels or the weights brought them.

    A text has no pixels.

    Raises
    ------
    ImageError
        If the pixels are not finite themselves.
    CheckpointError
        If they are, so that it is the weights' doing; the message begins with ``source``.

    Examples
    --------
    >>> require_finite(np.array([np.nan]), np.array([1.0]), "model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.CheckpointError: model: the results are not finite, ...
    """
    if np.isfinite(results).all():
        return
    if pixel_values is not None and not np.isfinite(pixel_values).all():
        raise ImageError(
            "pixel_values holds NaN or infinite numbers; look for them in the image, or for an extreme "
            "rescale_factor, image_mean or image_std in the preprocessing"
        )
    raise CheckpointError(
        f"{source}: the results are not finite, so the checkpoint holds NaN, infinite or overflowing "
        "weights; fetch it again, and look at what it is with `numpy-siglip inspect`"
    )
