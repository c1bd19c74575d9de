"""Pictures of what a vision tower has learned and of what it sees in one photograph.

Five pictures, each drawn by a function of `numpy_siglip.figures`:

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

from .atomic_write import atomic_write
from .embeddings import require_finite
from .errors import SiglipError
from .figures import (
    draw_patch_filters,
    draw_patch_grid,
    draw_pooling_attention,
    draw_position_similarity,
    draw_token_colours,
)
from .image_processing import SiglipImageProcessor
from .images import load_image
from .kernels.backend import DEFAULT_BACKEND
from .model_files import open_model
from .vision import SiglipVisionModel, choose_backend
from .vision_weights import find_vision_tensors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_MARGIN_INCHES = 0.08


def visualize(
    image: str | Path,
    model: str | Path,
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
    model : str or Path
        A folder, a file or a hub id.
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
    >>> from numpy_siglip.visualization import visualize
    >>> [picture.stem for picture in visualize(photo, model_folder, tempfile.mkdtemp())][:2]
    ['patch_grid', 'patch_filters']
    """
    _require_matplotlib()
    ops = choose_backend(backend, threads)
    location, checkpoint, config = open_model(model, revision)
    processor = SiglipImageProcessor.from_pretrained(location)
    photo = load_image(image)
    tower = SiglipVisionModel.from_checkpoint(checkpoint, config, ops)
    stages: dict[str, np.ndarray] = {}

    def keep(name: str, array: np.ndarray) -> None:
        if name in ("post_layernorm", "head/attention/weights"):
            stages[name] = array[0]

    pixel_values = processor(photo)["pixel_values"]
    with np.errstate(all="ignore"):  # what overflows is told below, in one error
        tower.trace(pixel_values, keep)
    names = find_vision_tensors(checkpoint, config)
    positions = checkpoint.tensor(names["embeddings.position_embedding.weight"])
    filters = checkpoint.tensor(names["embeddings.patch_embedding.weight"])
    for results in (*stages.values(), positions, filters):
        require_finite(results, pixel_values, str(location))
    shown = displayed_image(photo, processor)
    figures = {
        "patch_grid": draw_patch_grid(shown, config),
        "patch_filters": draw_patch_filters(filters),
        "position_similarity": draw_position_similarity(positions),
        "token_colours": draw_token_colours(shown, config, stages["post_layernorm"]),
    }
    if "head/attention/weights" in stages:
        attention = stages["head/attention/weights"][:, 0]  # (H, 1, T) -> (H, T)
        figures["pooling_attention"] = draw_pooling_attention(shown, config, attention)
    return _save({Path(output) / f"{name}.png": figure for name, figure in figures.items()})


def displayed_image(photo: Any, processor: SiglipImageProcessor) -> np.ndarray:
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
            'pictures need matplotlib, which is not installed: pip install "numpy-siglip[plots]"'
        ) from cause


def _save(figures: dict[Path, Figure]) -> list[Path]:
    def writer(figure: Figure) -> Callable[[BinaryIO], object]:
        # What a figure's fixed aspects leave empty at its edges is cut off.
        return lambda stream: figure.savefig(
            stream, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=_MARGIN_INCHES
        )

    for path in figures:
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write({path: writer(figure) for path, figure in figures.items()})
    return list(figures)
