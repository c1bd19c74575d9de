"""Stage-by-stage comparison with transformers on the same checkpoint and the same input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints.description.model_files import ModelFiles
from ...common.checks import is_finite, shown
from ...common.defaults import DEFAULT_TOLERANCE
from ...config.configuration import SiglipConfig
from ...config.naflex_configuration import Siglip2Config, Siglip2VisionConfig, VisionConfig
from ...embedding.image_inputs import readable_images
from ...embedding.vision_kinds import VisionFiles, open_vision_model
from ...errors import ConfigError, ImageError
from ...kernels.backend import Backend
from ...kernels.choices import DEFAULT_BACKEND
from ...model.backends import choose_backend
from ...model.comparison import Comparison, holds_both_towers
from ...model.naflex_model import Siglip2Model
from ...model.naflex_padding import without_padding
from ...model.siglip import SiglipModel
from ...model.text import SiglipTextModel
from .transformers_peer import (
    as_tensors,
    import_transformers,
    text_peer,
    transformers_pixels,
    transformers_stages,
    vision_peer,
    whole_peer,
)

_SEED = 0
_TEXTS = 4


@dataclass(frozen=True)
class StageComparison:
    """How far one stage lies from transformers'."""

    stage: str
    shape: tuple[int, ...]
    max_difference: float
    """Largest absolute difference of two elements; infinite if there is a problem."""
    relative_difference: float
    """The same, divided by the largest magnitude in transformers' array."""
    problem: str = ""
    """Why the arrays cannot be compared: their shapes differ, or one of them is not finite; or empty."""


@dataclass(frozen=True)
class Validation:
    """Result of a comparison: every stage, in the order of the forward pass."""

    stages: tuple[StageComparison, ...]
    tolerance: float

    @property
    def first_divergence(self) -> StageComparison | None:
        """The first stage beyond the tolerance, or None."""
        return next((s for s in self.stages if not s.relative_difference <= self.tolerance), None)

    @property
    def worst(self) -> StageComparison:
        """The stage with the largest relative difference."""
        return max(self.stages, key=lambda stage: stage.relative_difference)


def compare_arrays(stage: str, ours: np.ndarray, theirs: np.ndarray) -> StageComparison:
    """Largest difference of two arrays, in absolute terms and relative to the second's magnitude.

    Examples
    --------
    >>> compare_arrays("head", np.array([1.0, 2.5]), np.array([1.0, 2.0])).relative_difference
    0.25
    >>> compare_arrays("head", np.array([np.nan]), np.array([1.0])).problem
    'not finite in this package'
    """
    if problem := _problem(ours, theirs):
        return StageComparison(stage, ours.shape, np.inf, np.inf, problem)
    difference = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))
    magnitude = float(np.abs(theirs).max(initial=0))
    relative = difference / magnitude if magnitude else (np.inf if difference else 0.0)
    return StageComparison(stage, ours.shape, difference, relative)


def _problem(ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.shape != theirs.shape:
        return f"of shape {ours.shape} in this package and {theirs.shape} in transformers"
    sides = {"this package": ours, "transformers": theirs}
    broken = [side for side, array in sides.items() if not np.isfinite(array).all()]
    return f"not finite in {' and in '.join(broken)}" if broken else ""


def validate_model(
    model: str | Path | ModelFiles,
    images: list[Any] | None = None,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    backend: str = DEFAULT_BACKEND,
    threads: int | None = None,
    revision: str | None = None,
    on_error: Callable[[Any, ImageError], object] | None = None,
) -> Validation:
    """Run this package and transformers on the same input and compare every named stage.

    Where the checkpoint holds both towers, seeded tokens are put through the text tower, and the logits are
    compared too.

    Parameters
    ----------
    model : str or Path
        A folder, a file or a hub id, as for `Embedder.from_pretrained`. transformers' model is built from
        the same configuration and filled with the same tensors, and then computes by itself, so that any
        checkpoint this package opens can be compared.
    images : list of images, optional
        Anything `SiglipImageProcessor` takes; the preprocessing is then compared too. Without them,
        seeded noise is put through both models.
    tolerance : float
        Largest relative difference that counts as equal.
    backend : str
        Backend of this package to compare.
    threads : int, optional
        Of the compiled backend.
    revision : str, optional
        Branch, tag or commit on the hub.
    on_error : callable, optional
        Called with each image that cannot be read and the error; without it, the error is raised.

    Raises
    ------
    SiglipError
        If transformers or torch is not installed, or an image cannot be read.
    ConfigError
        If ``tolerance`` is no number from 0 on, there is no such backend, or the configuration is missing,
        unreadable or impossible.
    CheckpointError
        If weights are missing, damaged, or do not fit the configuration.

    Examples
    --------
    >>> from numpy_siglip.tools.validate.validation import validate_model
    >>> validation = validate_model(model_folder)
    >>> validation.first_divergence is None, validation.stages[-1].stage
    (True, 'logits_per_image')
    """
    if not is_finite(tolerance) or tolerance < 0:
        raise ConfigError(f"tolerance is {shown(tolerance)}; it must be a number that is not negative")
    transformers = import_transformers()
    ops = choose_backend(backend, threads)
    files = open_vision_model(model, revision)
    if any(files.tensors[name].dtype == "I8" for name in files.tensors):
        raise ConfigError(
            f"{files.files}: is quantised, and so equal to no model of transformers; validate the model "
            "that it was made of (what quantising cost, numpy-siglip quantize said)"
        )
    ours: Any = files.load_model(ops)
    comparisons: list[StageComparison] = []
    if images:
        processor = files.read_processor()[1]
        images = readable_images(processor, images, on_error)
        inputs: dict[str, np.ndarray] = processor(images)
        pixels = transformers_pixels(transformers, files, images)
        comparisons.append(compare_arrays("pixel_values", inputs["pixel_values"], pixels))
    else:
        inputs = _noise(files.config)
    peer = vision_peer(transformers, files)
    theirs = transformers_stages(peer, **inputs)

    def compare(stage: str, array: np.ndarray) -> None:
        if stage in theirs:  # pooling weights, which torch averages over heads, are not
            other = theirs.pop(stage).reshape(array.shape)
            if files.is_naflex:
                other = without_padding(stage, other, inputs["spatial_shapes"].tolist())
            comparisons.append(compare_arrays(stage, array, other))

    with np.errstate(all="ignore"):  # a stage that is not finite is told as such
        ours.trace(**inputs, listener=compare)
        if holds_both_towers(files.tensors):
            comparisons += _compare_texts(transformers, files, ops, ours, peer, inputs)
    return Validation(tuple(comparisons), tolerance)


def _compare_texts(
    transformers: Any, files: VisionFiles, ops: Backend, vision: Any, peer: Any, inputs: dict[str, np.ndarray]
) -> list[StageComparison]:
    """Every stage of the text tower on seeded tokens, and the logits of these texts and the images."""
    import torch

    config = (Siglip2Config if files.is_naflex else SiglipConfig).from_pretrained(files.files)
    shape = (_TEXTS, config.text_config.max_position_embeddings)
    ids = np.random.default_rng(_SEED).integers(config.text_config.vocab_size, size=shape)
    ids[0, shape[1] // 2 :] = 1  # the second half is padding
    text = SiglipTextModel.from_checkpoint(files.tensors, config.text_config, ops)
    text_model = text_peer(transformers, files, config.text_config)
    theirs = transformers_stages(text_model, input_ids=ids)
    found = [
        compare_arrays(f"text/{stage}", array, theirs[stage]) for stage, array in text.trace(ids).items()
    ]
    comparison = Comparison.from_checkpoint(files.tensors, ops)
    model: Any = (Siglip2Model if files.is_naflex else SiglipModel)(config, vision, text, comparison)
    whole = whole_peer(transformers, files, peer, text_model, comparison)
    with torch.no_grad():
        logits = whole(**as_tensors({"input_ids": ids, **inputs})).logits_per_image.numpy()
    return [*found, compare_arrays("logits_per_image", model(ids, **inputs).logits_per_image, logits)]


def _noise(config: VisionConfig) -> dict[str, np.ndarray]:
    """One image of noise; a NaFlex tower gets one whose grid is not that of its learned positions."""

    def draw(*shape: int) -> np.ndarray:
        return np.random.default_rng(_SEED).uniform(-1, 1, shape).astype(np.float32)

    if not isinstance(config, Siglip2VisionConfig):
        return {"pixel_values": draw(1, config.num_channels, config.image_size, config.image_size)}
    rows, columns = config.patches_per_side, config.patches_per_side + 1
    return {
        "pixel_values": draw(1, rows * columns, config.patch_features),
        "pixel_attention_mask": np.ones((1, rows * columns), np.int32),
        "spatial_shapes": np.array([[rows, columns]]),
    }


def format_validation(validation: Validation) -> str:
    """Lay a comparison out for reading in a terminal."""
    width = max(len(stage.stage) for stage in validation.stages)
    lines = [f"{'stage':<{width}}  {'largest difference':>18}  {'relative':>9}"]
    for stage in validation.stages:
        mark = "" if stage.relative_difference <= validation.tolerance else "  beyond tolerance"
        mark = f"  {stage.problem}" if stage.problem else mark
        lines.append(
            f"{stage.stage:<{width}}  {stage.max_difference:>18.3g}  {stage.relative_difference:>9.2g}{mark}"
        )
    first, worst = validation.first_divergence, validation.worst
    if first is None:
        lines.append(
            f"equal: every stage is within {validation.tolerance:g} of transformers; "
            f"the furthest is {worst.stage} at {worst.relative_difference:.2g}"
        )
    elif first.problem:
        lines.append(f"not comparable: the first such stage is {first.stage}, {first.problem}")
    else:
        lines.append(f"not equal: the first stage beyond {validation.tolerance:g} is {first.stage}")
    return "\n".join(lines)
