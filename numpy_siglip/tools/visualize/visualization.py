"""Pictures of what a vision tower has learned and of what it sees in one photograph.

Five pictures, each drawn by a function of `numpy_siglip.tools.visualize.figures`:

* `draw_patch_grid`: where the image is cut;
* `draw_patch_filters`: the patch embedding's filters, as the colour tiles they respond to;
* `draw_position_similarity`: how alike the learned positions are;
* `draw_token_colours`: the output tokens, their first three principal components as red, green, blue;
* `draw_pooling_attention`: what the pooling head's probe looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...checkpoints.description.model_files import ModelFiles
from ...common.atomic_write import atomic_write_folder
from ...common.extras import how_to_install
from ...config.naflex_configuration import Siglip2VisionConfig, VisionConfig
from ...embedding.finiteness import require_finite
from ...embedding.vision_kinds import ImageProcessor, open_vision_model
from ...errors import SiglipError
from ...kernels.choices import DEFAULT_BACKEND
from ...model.backends import choose_backend
from ...outputs import BatchFeature
from ...preprocessing.image_processing import SiglipImageProcessor
from ...preprocessing.images import load_image
from ...weights.vision_weights import find_vision_tensors
from .figure_layout import PatchGrid
from .figures import (
    draw_patch_filters,
    draw_patch_grid,
    draw_pooling_attention,
    draw_position_similarity,
    draw_token_colours,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_MARGIN_INCHES = 0.08


def visualize(
    image: str | Path,
    model: str | Path | ModelFiles,
    output: str | Path,
    *,
    backend: str = DEFAULT_BACKEND,
    threads: int | None = None,
    revision: str | None = None,
) -> list[Path]:
    """Draw every picture of one photograph and write them as PNG files.

    Parameters
    ----------
    image : str or Path
        A photograph.
    model : str, Path or ModelFiles
        A folder, a file, a hub id, or a model that is open already.
    output : str or Path
        Folder for the pictures; made if it is missing.
    backend : str
    threads : int, optional
        Of the compiled backend.
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    list of Path
        The files, in the order above. A tower without a pooling head has no last picture.

    Raises
    ------
    SiglipError
        If matplotlib is not installed.
    ImageError
        If the image cannot be read.
    ConfigError
        If the configuration or the preprocessing is missing, unreadable or impossible, or there is no such
        backend.
    CheckpointError
        If weights are missing, damaged or not finite, or do not fit the configuration.
    OSError
        If the pictures cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_siglip.tools.visualize.visualization import visualize
    >>> [picture.stem for picture in visualize(photo, model_folder, tempfile.mkdtemp())][:2]
    ['patch_grid', 'patch_filters']
    """
    _require_matplotlib()
    ops = choose_backend(backend, threads)
    vision = open_vision_model(model, revision)
    checkpoint, config = vision.tensors, vision.config
    processor = vision.read_processor()[1]
    photo = load_image(image)
    tower: Any = vision.load_model(ops)
    stages: dict[str, np.ndarray] = {}

    def keep(name: str, array: np.ndarray) -> None:
        if name in ("post_layernorm", "head/attention/weights"):
            stages[name] = array[0]

    inputs = processor(photo)
    grid = patch_grid(inputs, config)
    with np.errstate(all="ignore"):  # what overflows is told below, in one error
        tower.trace(**inputs, listener=keep)
    names = find_vision_tensors(checkpoint, config)
    positions = checkpoint.tensor(names["embeddings.position_embedding.weight"])
    filters = checkpoint.tensor(names["embeddings.patch_embedding.weight"])
    for results in (*stages.values(), positions, filters):
        require_finite(results, inputs.pixel_values, str(vision.files))
    shown = displayed_image(photo, processor)
    tokens = stages["post_layernorm"][: grid.rows * grid.columns]  # without padding
    figures = {
        "patch_grid": draw_patch_grid(shown, grid),
        "patch_filters": draw_patch_filters(filters_as_images(filters, config)),
        "position_similarity": draw_position_similarity(positions),
        "token_colours": draw_token_colours(shown, grid, tokens),
    }
    if "head/attention/weights" in stages:
        attention = stages["head/attention/weights"][:, 0, : len(tokens)]  # (H, 1, T) -> (H, T)
        figures["pooling_attention"] = draw_pooling_attention(shown, grid, attention)
    return atomic_write_folder(
        Path(output), {f"{name}.png": _png(figure) for name, figure in figures.items()}
    )


def patch_grid(inputs: BatchFeature, config: VisionConfig) -> PatchGrid:
    """The patches of a preprocessed image.

    Examples
    --------
    >>> inputs = BatchFeature(spatial_shapes=np.array([[13, 19]]))
    >>> patch_grid(inputs, Siglip2VisionConfig()).width
    304
    """
    size = config.patch_size
    if not isinstance(config, Siglip2VisionConfig):
        height, width = inputs.pixel_values.shape[2:]
        return PatchGrid(height // size, width // size, size, height, width)
    rows, columns = (int(count) for count in inputs.spatial_shapes[0])
    return PatchGrid(rows, columns, size, rows * size, columns * size)


def filters_as_images(filters: np.ndarray, config: VisionConfig) -> np.ndarray:
    """The patch embedding's weight as one image for each filter: (hidden_size, channels, P, P)."""
    if not isinstance(config, Siglip2VisionConfig):
        return filters
    square = (config.patch_size, config.patch_size, config.num_channels)  # colours of a pixel together
    return np.moveaxis(filters.reshape(-1, *square), -1, 1)


def displayed_image(photo: Any, processor: ImageProcessor) -> np.ndarray:
    """The photograph in RGB as the model's preprocessing converts it: (height, width, 3) uint8."""
    as_read = SiglipImageProcessor(
        do_convert_rgb=processor.do_convert_rgb, do_resize=False, do_rescale=False, do_normalize=False
    )
    return np.moveaxis(as_read(photo)["pixel_values"][0], 0, -1).astype(np.uint8)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as cause:
        raise SiglipError(
            f"pictures need matplotlib, which is not installed: {how_to_install('matplotlib')}"
        ) from cause


def _png(figure: Figure) -> Callable[[BinaryIO], object]:
    # What a figure's fixed aspects leave empty at its edges is cut off.
    return lambda stream: figure.savefig(
        stream, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=_MARGIN_INCHES
    )
