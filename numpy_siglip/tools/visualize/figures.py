"""The figures of `numpy_siglip.tools.visualize.visualization`, each drawn from arrays and nothing else.

Everything about a photograph is drawn at the photograph's own aspect, though a model of fixed resolution
sees it squashed to a square.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.rows.l2_normalize import l2_normalize_reference
from .figure_layout import (
    WIDTH_INCHES,
    PatchGrid,
    covered_size,
    new_figure,
    page_aspect,
    row_of_axes,
    show_image,
    show_patches,
    tiled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POSITION_MAPS_PER_SIDE = 8
_HEADS_PER_ROW = 6


def draw_patch_grid(image: np.ndarray, grid: PatchGrid) -> Figure:
    """Lines where the image is cut into patches; what no patch covers is dimmed.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    grid : PatchGrid
    """
    figure, (axes,) = row_of_axes(image, columns=1)
    show_image(axes, image)
    right, bottom = covered_size(image, grid)
    for index in range(grid.columns + 1):
        axes.plot([right * index / grid.columns] * 2, [0, bottom], color="white", linewidth=0.7)
    for index in range(grid.rows + 1):
        axes.plot([0, right], [bottom * index / grid.rows] * 2, color="white", linewidth=0.7)
    if not grid.covers_all:
        height, width = image.shape[:2]
        for x, y, w, h in ((right, 0, width - right, height), (0, bottom, right, height - bottom)):
            axes.fill([x, x + w, x + w, x], [y, y, y + h, y + h], color="black", alpha=0.6, linewidth=0)
    axes.set_title(
        f"{grid.columns} x {grid.rows} = {grid.rows * grid.columns} patches of {grid.patch_size} pixels "
        f"in an image of {grid.width} x {grid.height}"
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
    tiles = tiled(colours.transpose(0, 2, 3, 1))
    figure, (axes,) = row_of_axes(tiles, columns=1)
    show_image(axes, tiles)
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
    units = l2_normalize_reference(positions)
    similarity = (units @ units.T).reshape(side, side, side, side)
    chosen = np.unique(np.linspace(0, side - 1, min(side, _POSITION_MAPS_PER_SIDE)).round().astype(int))
    figure = new_figure(WIDTH_INCHES, WIDTH_INCHES * 0.92)
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
        f"cosine similarity of the position marked in each map to all {side} x {side} positions\n"
        f"rows and columns {', '.join(str(c + 1) for c in chosen)}",
        fontsize=10,
    )
    figure.colorbar(drawn, ax=grid, shrink=0.6, extend="both")
    return figure


def draw_token_colours(image: np.ndarray, grid: PatchGrid, tokens: np.ndarray) -> Figure:
    """Output tokens in colours: patches of like content get like colours.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    grid : PatchGrid
    tokens : ndarray of shape (tokens, hidden_size)
    """
    components, shares = principal_components(tokens)
    colours = components.reshape(grid.rows, grid.columns, 3)
    figure, (left, middle, right) = row_of_axes(image, columns=3)
    show_image(left, image)
    left.set_title("image")
    show_image(middle, image)
    show_patches(middle, image, grid, colours, alpha=0.6)
    middle.set_title("over the image")
    show_patches(right, image, grid, colours, alpha=1.0)
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


def draw_pooling_attention(image: np.ndarray, grid: PatchGrid, attention: np.ndarray) -> Figure:
    """Where the pooling head's probe looks: the mean over heads, then each head.

    A few patches often get most of the attention and would leave the others black: colours follow its
    square root, and the brightest begins where the 99th percentile lies.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3)
    grid : PatchGrid
    attention : ndarray of shape (heads, tokens)
    """
    heads = attention.reshape(-1, grid.rows, grid.columns)
    mean = heads.mean(axis=0)
    rows = 1 + math.ceil(len(heads) / _HEADS_PER_ROW)
    aspect = page_aspect(image)
    # The two pictures above take three columns each and a colour bar, a head takes one column.
    ratios = [
        WIDTH_INCHES / 2 * aspect + 0.8,
        *[WIDTH_INCHES / _HEADS_PER_ROW * aspect + 0.25] * (rows - 1),
    ]
    figure = new_figure(WIDTH_INCHES, sum(ratios) + 0.4)
    places = figure.add_gridspec(rows, _HEADS_PER_ROW, height_ratios=ratios)
    half = _HEADS_PER_ROW // 2
    left, right = figure.add_subplot(places[0, :half]), figure.add_subplot(places[0, half:])
    show_image(left, image)
    left.set_title("image")
    show_image(right, image)
    # What is not looked at stays visible: the colour is as opaque as the attention is strong.
    brightest = _brightest(mean)
    opacity = 0.15 + 0.75 * np.sqrt(np.minimum(mean / brightest, 1))
    drawn = show_patches(right, image, grid, mean, alpha=opacity, **_colours(brightest))
    right.set_title(f"pooling attention, mean of {len(heads)} heads")
    bar = figure.colorbar(
        drawn, ax=[left, right], location="bottom", shrink=0.5, aspect=40, extend="max", extendfrac=0.04
    )
    bar.set_ticks([brightest * share for share in (0, 0.04, 0.16, 0.36, 0.64, 1)])
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    bar.set_label(
        f"share of the attention that a patch gets, by its square root; the most is {mean.max():.1%}",
        fontsize=9,
    )
    for index, head in enumerate(heads):
        axes = figure.add_subplot(places[1 + index // _HEADS_PER_ROW, index % _HEADS_PER_ROW])
        show_patches(axes, image, grid, head, alpha=1.0, **_colours(_brightest(head)))
        axes.set_title(f"head {index + 1}: up to {head.max():.1%}", fontsize=8)
    return figure


def _brightest(attention: np.ndarray) -> float:
    """Where the brightest colour begins: at the 99th percentile."""
    # Of a head that looks at one patch alone that is 0, and no scale.
    return float(np.percentile(attention, 99)) or float(attention.max())


def _colours(brightest: float) -> dict[str, Any]:
    """Options of a picture whose colours follow the square root of its values."""
    from matplotlib.colors import PowerNorm

    return {"cmap": "inferno", "norm": PowerNorm(0.5, vmin=0, vmax=brightest)}
