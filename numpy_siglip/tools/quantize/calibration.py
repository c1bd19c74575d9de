"""What the maps of an encoder are given to work on, watched on some images.

The images may be any; without some, smooth noise is drawn, which is no photograph but goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from ...common.batches import in_batches
from ...model.trace import layer_path

INPUTS = ("layer_norm1", "attention/heads", "layer_norm2", "mlp/activation")
"""The stages that the four maps of a layer read."""

NUM_DRAWN_IMAGES = 16
_ROWS_KEPT = 256
_IMAGES_AT_ONCE = 4
_OCTAVES = (2, 4, 8, 16, 32)


class Calibration:
    """A listener of `trace` that remembers inputs of maps: a few rows, and how large each channel gets.

    Parameters
    ----------
    num_layers : int
    num_images : int
        How many images it is going to watch; the rows that are kept are spread over all.

    Examples
    --------
    >>> calibration = Calibration(num_layers=1, num_images=1)
    >>> calibration("encoder/layers/00/layer_norm1", np.array([[[1.0, -2.0], [0.5, 1.0]]]))
    >>> calibration.rows(0, "layer_norm1").shape, calibration.largest(0, "layer_norm1").tolist()
    ((2, 2), [1.0, 2.0])
    """

    def __init__(self, num_layers: int, num_images: int) -> None:
        names = [f"{layer_path(index)}/{stage}" for index in range(num_layers) for stage in INPUTS]
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self._largest: dict[str, Any] = dict.fromkeys(names, 0)
        self._of_each = -(-_ROWS_KEPT // num_images)

    def __call__(self, name: str, array: np.ndarray) -> None:
        """Remember a stage (batch, tokens, width) if it is the input of a map."""
        if name not in self._rows:
            return
        self._largest[name] = np.maximum(self._largest[name], np.abs(array).max(axis=(0, 1)))
        tokens = array.shape[1]
        chosen = np.linspace(0, tokens - 1, min(tokens, self._of_each)).astype(int)
        self._rows[name].append(array[:, chosen].reshape(-1, array.shape[-1]))

    def rows(self, layer: int, stage: str) -> np.ndarray:
        """Some rows of an input: (rows, width)."""
        return np.concatenate(self._rows[f"{layer_path(layer)}/{stage}"])

    def largest(self, layer: int, stage: str) -> np.ndarray:
        """The largest magnitude of each channel of an input: (width,)."""
        return np.asarray(self._largest[f"{layer_path(layer)}/{stage}"])


def calibrate(model: Any, processor: Any, images: list[Any]) -> Calibration:
    """Watch a model at work on images, each as the processor takes it."""
    calibration = Calibration(model.config.num_hidden_layers, len(images))
    for batch in in_batches(images, _IMAGES_AT_ONCE):
        model.trace(**processor(images=batch), listener=calibration, output_attentions=False)
    return calibration


def drawn_images(count: int = NUM_DRAWN_IMAGES, seed: int = 0) -> list[Image.Image]:
    """Seeded images of smooth coloured noise, coarse and fine.

    Examples
    --------
    >>> [image.size for image in drawn_images(2)]
    [(256, 256), (256, 256)]
    """
    return list(_draw(count, np.random.default_rng(seed)))


def _draw(count: int, generator: np.random.Generator) -> Iterator[Image.Image]:
    size = (256, 256)
    for _ in range(count):
        total = np.zeros((*size, 3))
        for side, weight in _weights(generator):
            coarse = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
            total += weight * np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        yield Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def _weights(generator: np.random.Generator) -> Iterable[tuple[int, float]]:
    shares = generator.dirichlet(np.full(len(_OCTAVES), 0.5))
    return zip(_OCTAVES, shares.tolist(), strict=True)
