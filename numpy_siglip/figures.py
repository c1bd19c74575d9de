"""The figures of `numpy_siglip.visualization`, each drawn from arrays and nothing else.

Everything about a photograph is drawn at the photograph's own aspect, though the model sees it
squashed to a square.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .configuration import SiglipVisionConfig
from .embedder import normalize_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES = 10.0
_POSITION_MAPS_PER_SIDE = 8
_HEADS_PER_ROW = 6


def draw_patch_grid(image: np.ndarray, config: SiglipVisionConfig) -> Figure:
    """Lines where the image is cut into patches; what no patch covers is dimmed.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    config : SiglipVisionConfig
    """
    side = config.patches_per_side
    figure, (axes,) = _figure(image, columns=1)
    _show(axes, image)
    right, bottom = _covered(image, config)
    for index in range(side + 1):
        axes.plot([right * index / side] * 2, [0, bottom], color="white", linewidth=0.7)
        axes.plot([0, right], [bottom * index / side] * 2, color="white", linewidth=0.7)
    if config.image_size % config.patch_size:
        height, width = image.shape[:2]
        for x, y, w, h in ((right, 0, width - right, height), (0, bottom, right, height - bottom)):
            axes.fill([x, x + w, x + w, x], [y, y, y + h, y + h], color="black", alpha=0.6, linewidth=0)
    axes.set_title(
        f"{side} x {side} = {config.num_patches} patches of {config.patch_size} pixels "
        f"in an image of {config.image_size} x {config.image_size}"
    )
    return figure


def draw_patch_filters(filters: np.ndarray) -> Figure:
    """Every filter of the patch embedding as a small colour image, strongest first.

    A filter's own largest weight becomes full colour, a weight of zero mid-grey.

    Parameters
    ----------
    filters : ndarray of shape (hidden_size, channels, patch_size, patch_size)
    """
    if filters.shape[1] != 3:
        filters = np.repeat(filters[:, :1], 3, axis=1)  # show the first channel in grey
    strength = np.sqrt(np.square(filters).sum(axis=(1, 2, 3)))
    ordered = filters[np.argsort(-strength, kind="stable")]
    largest = np.abs(ordered).max(axis=(1, 2, 3), keepdims=True)
    colours = 0.5 + 0.5 * ordered / np.where(largest == 0, 1, largest)
    tiles = _tile(colours.transpose(0, 2, 3, 1))
    figure, (axes,) = _figure(tiles, columns=1)
    _show(axes, tiles)
    axes.set_title(
        f"{len(filters)} patch-embedding filters, strongest first, each scaled to its own largest weight"
    )
    return figure


def draw_position_similarity(positions: np.ndarray) -> Figure:
    """Cosine similarity of each position to all others, one small map for each place in the grid.

    Parameters
    ----------
    positions : ndarray of shape (side ** 2, hidden_size)
    """
    side = math.isqrt(len(positions))
    units = normalize_rows(positions)
    similarity = (units @ units.T).reshape(side, side, side, side)
    chosen = np.unique(np.linspace(0, side - 1, min(side, _POSITION_MAPS_PER_SIDE)).round().astype(int))
    figure = _new_figure(_WIDTH_INCHES, _WIDTH_INCHES * 0.92)
    grid = figure.subplots(len(chosen), len(chosen), squeeze=False)
    off_diagonal = similarity.reshape(side**2, side**2)[~np.eye(side**2, dtype=bool)]
    limit = float(np.abs(off_diagonal).max(initial=1e-6))
    for row, y in enumerate(chosen):
        for column, x in enumerate(chosen):
            axes = grid[row, column]
            drawn = axes.imshow(similarity[y, x], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.plot(x, y, marker="s", markersize=2.5, color="black")
            axes.set_xticks([])
            axes.set_yticks([])
    figure.suptitle(
        f"cosine similarity of the position marked in each map to all {side} x {side} positions "
        f"(rows and columns {', '.join(str(c + 1) for c in chosen)})"
    )
    figure.colorbar(drawn, ax=grid, shrink=0.6, extend="both")
    return figure


def draw_token_colours(image: np.ndarray, config: SiglipVisionConfig, tokens: np.ndarray) -> Figure:
    """Output tokens in colours: patches of like content get like colours.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    config : SiglipVisionConfig
    tokens : ndarray of shape (tokens, hidden_size)
    """
    components, shares = principal_components(tokens)
    side = config.patches_per_side
    colours = components.reshape(side, side, 3)
    figure, (left, middle, right) = _figure(image, columns=3)
    _show(left, image)
    left.set_title("image")
    _show(middle, image)
    _overlay(middle, image, config, colours, alpha=0.6)
    middle.set_title("over the image")
    _overlay(right, image, config, colours, alpha=1.0)
    right.set_title("output tokens")
    figure.suptitle(
        "red, green, blue: principal components 1 to 3 of the output tokens, "
        f"{', '.join(f'{share:.0%}' for share in shares)} of their variance",
        fontsize=10,
    )
    return figure


def principal_components(tokens: np.ndarray, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Project tokens on their first principal components, each stretched to 0 ... 1.

    The stretch runs from the 1st to the 99th percentile, so that single tokens cannot squeeze the rest.
    A component's sign is chosen to make its largest weight positive, so that the result is the same
    everywhere.

    Parameters
    ----------
    tokens : ndarray of shape (tokens, width)
    count : int

    Returns
    -------
    components : ndarray of shape (tokens, count)
    shares : ndarray of shape (count,)
        Of the total variance.

    Examples
    --------
    >>> components, shares = principal_components(np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]), count=1)
    >>> components.ravel().round(2).tolist(), shares.round(2).tolist()
    ([0.0, 0.5, 1.0], [1.0])
    """
    centred = tokens.astype(np.float64) - tokens.mean(axis=0, dtype=np.float64)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    found = min(count, len(scales))
    directions = directions[:found]
    signs = np.sign(directions[np.arange(found), np.abs(directions).argmax(axis=1)])
    projected = np.zeros((len(tokens), count))  # a single token has no directions at all
    projected[:, :found] = centred @ (directions * signs[:, None]).T
    low, high = np.percentile(projected, [1, 99], axis=0)
    stretched = np.clip((projected - low) / np.where(high > low, high - low, 1), 0, 1)
    shares = np.zeros(count)
    variance = np.square(scales)
    shares[:found] = variance[:found] / max(variance.sum(), np.finfo(float).tiny)
    return stretched, shares


def draw_pooling_attention(image: np.ndarray, config: SiglipVisionConfig, attention: np.ndarray) -> Figure:
    """Where the pooling head's probe looks: the mean over heads, then each head.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    config : SiglipVisionConfig
    attention : ndarray of shape (heads, tokens)
    """
    side = config.patches_per_side
    heads = attention.reshape(-1, side, side)
    rows = 1 + math.ceil(len(heads) / _HEADS_PER_ROW)
    aspect = _page_aspect(image)
    tall = _WIDTH_INCHES / 2 * aspect + (rows - 1) * (_WIDTH_INCHES / _HEADS_PER_ROW * aspect + 0.25) + 0.6
    figure = _new_figure(_WIDTH_INCHES, tall)
    # The two pictures above take three columns each, a head takes one.
    ratios = [_WIDTH_INCHES / 2 * aspect, *[_WIDTH_INCHES / _HEADS_PER_ROW * aspect] * (rows - 1)]
    grid = figure.add_gridspec(rows, _HEADS_PER_ROW, height_ratios=ratios)
    half = _HEADS_PER_ROW // 2
    left, right = figure.add_subplot(grid[0, :half]), figure.add_subplot(grid[0, half:])
    _show(left, image)
    left.set_title("image")
    _show(right, image)
    mean = heads.mean(axis=0)
    # What is not looked at stays visible: the colour is as opaque as the attention is strong.
    _overlay(right, image, config, mean, alpha=0.15 + 0.7 * mean / mean.max(), cmap="inferno")
    right.set_title(f"pooling attention, mean of {len(heads)} heads")
    for index, head in enumerate(heads):
        axes = figure.add_subplot(grid[1 + index // _HEADS_PER_ROW, index % _HEADS_PER_ROW])
        _overlay(axes, image, config, head, alpha=1.0, cmap="inferno")
        axes.set_title(f"head {index + 1}: up to {head.max():.0%}", fontsize=8)
    return figure


def _new_figure(width: float, height: float) -> Figure:
    """Make a figure of no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _figure(image: np.ndarray, columns: int) -> tuple[Figure, list[Axes]]:
    """Make a row of axes as tall as the image is at their width."""
    figure = _new_figure(_WIDTH_INCHES, _WIDTH_INCHES / columns * _page_aspect(image) + 0.5)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _page_aspect(image: np.ndarray) -> float:
    """Height by width, but no panorama and no ribbon: the figure stays within a page."""
    return min(max(image.shape[0] / image.shape[1], 0.25), 2.0)


def _show(axes: Axes, image: np.ndarray) -> None:
    """Draw an image in its own pixel coordinates."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0))
    axes.axis("off")


def _overlay(
    axes: Axes, image: np.ndarray, config: SiglipVisionConfig, values: np.ndarray, **options: Any
) -> None:
    """Draw one value or colour for each patch over the part of the image that patches cover."""
    height, width = image.shape[:2]
    right, bottom = _covered(image, config)
    axes.imshow(values, extent=(0, right, bottom, 0), interpolation="nearest", **options)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")


def _covered(image: np.ndarray, config: SiglipVisionConfig) -> tuple[float, float]:
    """Width and height, in the image's pixels, of what the patches cover."""
    share = config.patches_per_side * config.patch_size / config.image_size
    return image.shape[1] * share, image.shape[0] * share


def _tile(images: np.ndarray, gap: int = 1) -> np.ndarray:
    """Lay small images out in rows, white between them: (n, h, w, 3) -> (height, width, 3)."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count * 4 / 3))
    rows = math.ceil(count / columns)
    padded = np.ones((rows * columns, height + gap, width + gap, channels))
    padded[:count, :height, :width] = images
    grid = padded.reshape(rows, columns, height + gap, width + gap, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), columns * (width + gap), channels)
