"""Where things are put in a figure: pictures at their own aspect, patches over the image they cover."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .configuration import SiglipVisionConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

WIDTH_INCHES = 10.0


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def row_of_axes(image: np.ndarray, columns: int) -> tuple[Figure, list[Axes]]:
    """Make a row of axes as tall as the image is at their width."""
    figure = new_figure(WIDTH_INCHES, WIDTH_INCHES / columns * page_aspect(image) + 0.5)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def page_aspect(image: np.ndarray) -> float:
    """Height by width as it is drawn: no thinner than can be seen, and no longer than a page."""
    return min(max(image.shape[0] / image.shape[1], 0.25), 2.0)


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw an image in its own pixel coordinates."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), aspect="auto")
    axes.set_box_aspect(page_aspect(image))
    axes.axis("off")


def show_patches(
    axes: Axes, image: np.ndarray, config: SiglipVisionConfig, values: np.ndarray, **options: Any
) -> AxesImage:
    """Draw one value or colour for each patch over the part of the image that patches cover."""
    height, width = image.shape[:2]
    right, bottom = covered_size(image, config)
    extent = (0, right, bottom, 0)
    drawn = axes.imshow(values, extent=extent, interpolation="nearest", aspect="auto", **options)
    axes.set_box_aspect(page_aspect(image))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return drawn


def covered_size(image: np.ndarray, config: SiglipVisionConfig) -> tuple[float, float]:
    """Width and height, in the image's pixels, of what the patches cover."""
    share = config.patches_per_side * config.patch_size / config.image_size
    return image.shape[1] * share, image.shape[0] * share


def tiled(images: np.ndarray, gap: int = 1) -> np.ndarray:
    """Lay small images out in rows, white between them: (n, h, w, 3) -> (height, width, 3)."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count * 4 / 3))
    rows = math.ceil(count / columns)
    padded = np.ones((rows * columns, height + gap, width + gap, channels))
    padded[:count, :height, :width] = images
    grid = padded.reshape(rows, columns, height + gap, width + gap, channels)
    whole = grid.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), columns * (width + gap), channels)
    return whole[:-gap, :-gap]
