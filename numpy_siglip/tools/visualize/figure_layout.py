"""Where things are put in a figure: pictures at their own aspect, patches over the image they cover."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

WIDTH_INCHES = 10.0


class PatchGrid(NamedTuple):
    """The patches of one image, as its tower sees it: squashed to the height and width that it takes."""

    rows: int
    columns: int
    patch_size: int
    height: int
    """In pixels, as is ``width``. What whole patches leave over is not looked at."""
    width: int

    @property
    def covers_all(self) -> bool:
        """Whether no pixel is left over."""
        covered = self.rows * self.patch_size, self.columns * self.patch_size
        return covered == (self.height, self.width)


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
    axes: Axes, image: np.ndarray, grid: PatchGrid, values: np.ndarray, **options: Any
) -> AxesImage:
    """Draw one value or colour for each patch over the part of the image that patches cover."""
    height, width = image.shape[:2]
    right, bottom = covered_size(image, grid)
    extent = (0, right, bottom, 0)
    drawn = axes.imshow(values, extent=extent, interpolation="nearest", aspect="auto", **options)
    axes.set_box_aspect(page_aspect(image))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return drawn


def covered_size(image: np.ndarray, grid: PatchGrid) -> tuple[float, float]:
    """Width and height, in the image's pixels, of what the patches cover.

    Examples
    --------
    >>> grid = PatchGrid(rows=1, columns=1, patch_size=15, height=20, width=20)
    >>> covered_size(np.zeros((400, 800, 3)), grid)
    (600.0, 300.0)
    """
    height, width = image.shape[:2]
    return (
        width * (grid.columns * grid.patch_size / grid.width),
        height * (grid.rows * grid.patch_size / grid.height),
    )


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
