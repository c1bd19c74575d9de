"""Pictures of what a vision tower has learned and of what it sees in one photograph.

Five pictures, each drawn by a function of `numpy_siglip.figures`:

* `draw_patch_grid`: where the image is cut;
* `draw_patch_filters`: the patch embedding's filters, as the colour tiles they respond to;
* `draw_position_similarity`: how alike the learned positions are;
* `draw_token_colours`: the output tokens, their first three principal components as red, green, blue;
* `draw_pooling_attention`: what the pooling head's probe looks at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic_write import atomic_write
from .checkpoint import open_checkpoint
from .configuration import SiglipVisionConfig
from .errors import SiglipError
from .figures import (
    draw_patch_filters,
    draw_patch_grid,
    draw_pooling_attention,
    draw_position_similarity,
    draw_token_colours,
)
from .hub import locate_model
from .image_processing import SiglipImageProcessor
from .images import load_image
from .kernels.backend import DEFAULT_BACKEND, get_backend
from .vision import SiglipVisionModel
from .weights import find_vision_tensors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110


def visualize(
    image: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    backend: str = DEFAULT_BACKEND,
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
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    list of Path
        The files, in the order above. A tower without a pooling head has no last picture.

    Raises
    ------
    SiglipError
        If matplotlib is not installed, or the image or the checkpoint cannot be read.
    """
    _require_matplotlib()
    location = locate_model(model, revision)
    photo = load_image(image)
    processor = SiglipImageProcessor.from_pretrained(location)
    config = SiglipVisionConfig.from_pretrained(location)
    checkpoint = open_checkpoint(location)
    tower = SiglipVisionModel.from_checkpoint(checkpoint, config, get_backend(backend))
    stages: dict[str, np.ndarray] = {}

    def keep(name: str, array: np.ndarray) -> None:
        if name in ("post_layernorm", "head/attention/weights"):
            stages[name] = array[0]

    tower.trace(processor(photo)["pixel_values"], keep)
    names = find_vision_tensors(checkpoint, config)
    shown = displayed_image(photo, processor)
    positions = checkpoint.tensor(names["embeddings.position_embedding.weight"])
    pictures = {
        "patch_grid": draw_patch_grid(shown, config),
        "patch_filters": draw_patch_filters(checkpoint.tensor(names["embeddings.patch_embedding.weight"])),
        "position_similarity": draw_position_similarity(positions),
        "token_colours": draw_token_colours(shown, config, stages["post_layernorm"]),
    }
    if "head/attention/weights" in stages:
        attention = stages["head/attention/weights"][:, 0]  # (H, 1, T) -> (H, T)
        pictures["pooling_attention"] = draw_pooling_attention(shown, config, attention)
    return [_save(figure, Path(output) / f"{name}.png") for name, figure in pictures.items()]


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


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=_DPI)
    return path
