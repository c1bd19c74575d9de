"""Which maps cost most when they are quantised: each alone, with all others in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...checkpoints.description.model_files import ModelFiles
from ...embedding.image_inputs import readable_images
from ...embedding.vision_kinds import open_vision_model
from ...errors import CheckpointError, ImageError
from ...kernels.choices import DEFAULT_BACKEND
from ...model.backends import choose_backend
from .calibration import drawn_images

_NUM_IMAGES = 4
_MAPS = {
    "query_key_value": "self_attn.q_proj",
    "out_proj": "self_attn.out_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


class Sensitivity(NamedTuple):
    """What one quantised map does to a model."""

    layer: str
    """Such as ``encoder.layers.3``, which `from_pretrained` takes for ``float32_layers``"""
    maps: str
    """Such as ``mlp.fc2``; ``self_attn.q_proj`` stands for k_proj and v_proj too, for they are one map"""
    error: float
    """Of the last hidden state, relative to its norm"""


def scan_sensitivity(
    model: str | Path | ModelFiles,
    *,
    images: str | Path | None = None,
    backend: str = DEFAULT_BACKEND,
    threads: int | None = None,
    revision: str | None = None,
    on_error: Callable[[Any, ImageError], object] | None = None,
) -> list[Sensitivity]:
    """Quantise the maps of the vision tower one at a time, the costliest first.

    Parameters
    ----------
    model, backend, threads, revision
        As for `SiglipVisionModel.from_pretrained`.
    images : str or Path, optional
        A folder of images, of which a few are looked at; without it, images are drawn.
    on_error : callable, optional
        As for `quantize_model`.

    Raises
    ------
    ConfigError, CheckpointError, ImageError
        If the model or an image cannot be read, the model is quantised already, or results are not finite.

    Examples
    --------
    >>> scan = scan_sensitivity(model_folder)
    >>> len(scan), scan[0].error >= scan[-1].error
    (8, True)
    """
    ops = choose_backend(backend, threads)
    files = open_vision_model(model, revision)
    processor = files.read_processor()[1]
    pictures = drawn_images(_NUM_IMAGES)
    if images is not None:
        pictures = readable_images(processor, images, on_error, _NUM_IMAGES)
    if any(files.tensors[name].dtype == "I8" for name in files.tensors):
        raise CheckpointError(f"{files.files}: is quantised already; name the original")
    exact: Any = files.load_model(ops)
    rounded = list(files.load_model(ops._replace(dtype="int8"))._weights.layers)
    layers, config = list(exact._weights.layers), exact.config
    states: list[np.ndarray] = []

    def keep(name: str, array: np.ndarray) -> None:
        if name == "embeddings":
            states.append(array)

    for picture in pictures:
        exact.trace(**processor(images=[picture]), listener=keep, output_attentions=False)
    constants = (config.num_attention_heads, config.hidden_act, config.layer_norm_eps)
    results: dict[tuple[int, str], float] = {}
    for hidden in states:
        final = ops.encoder(hidden, ops.prepare_encoder(layers), *constants).copy()
        if not np.isfinite(final).all():
            raise CheckpointError(f"{files.files}: the results are not finite; fetch the weights again")
        here = hidden
        for index, layer in enumerate(layers):
            for field in _MAPS:
                mixed = layer._replace(**{field: getattr(rounded[index], field)})
                stack = ops.prepare_encoder([mixed, *layers[index + 1 :]])
                difference = np.linalg.norm(ops.encoder(here, stack, *constants) - final)
                error = float(difference / np.linalg.norm(final))
                results[index, field] = max(results.get((index, field), 0.0), error)
            here = ops.encoder_layer(here, layer, *constants).copy()
    scan = [Sensitivity(f"encoder.layers.{i}", _MAPS[field], error) for (i, field), error in results.items()]
    return sorted(scan, key=lambda entry: -entry.error)


def format_sensitivity(scan: list[Sensitivity]) -> str:
    """Lay a scan out for reading in a terminal."""
    lines = ["error of the last hidden state when one map is quantised:"]
    lines += [f"  {each.error:.5f}  {each.layer}.{each.maps}" for each in scan]
    return "\n".join([*lines, "q_proj stands for k_proj and v_proj too"])
