"""Images of noise in every mode of Pillow."""

from __future__ import annotations

import numpy as np
from PIL import Image

_RANDOM = np.random.default_rng(0)


def noise_image(mode: str, size=(37, 29)) -> Image.Image:
    """An image of noise in any mode of Pillow."""
    width, height = size
    if mode == "I;16":
        return Image.fromarray(_RANDOM.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == "I":
        return Image.fromarray(_RANDOM.integers(-500, 70000, (height, width), dtype=np.int32))
    if mode == "F":
        return Image.fromarray(_RANDOM.uniform(-50, 300, (height, width)).astype(np.float32))
    colours = Image.fromarray(_RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))
    alpha = Image.fromarray(_RANDOM.integers(0, 256, (height, width), dtype=np.uint8))
    if mode in ("RGBA", "LA", "PA"):
        image = colours.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[mode])
        image = image if mode != "PA" else image.convert("PA")
        image.putalpha(alpha)
        return image
    return colours.convert(mode)
