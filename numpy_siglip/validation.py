"""Stage-by-stage comparison with transformers on the same checkpoint and the same pixels.

transformers and torch are imported only when a comparison is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError, SiglipError
from .hub import locate_model
from .image_processing import SiglipImageProcessor
from .kernels.backend import DEFAULT_BACKEND
from .trace import layer_path
from .vision import SiglipVisionModel

DEFAULT_TOLERANCE = 1e-4
_SEED = 0


@dataclass(frozen=True)
class StageComparison:
    """How far one stage lies from transformers'."""

    stage: str
    shape: tuple[int, ...]
    max_difference: float
    """Largest absolute difference of two elements; infinite if the shapes or the NaNs differ."""
    relative_difference: float
    """The same, divided by the largest magnitude in transformers' array."""


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
    >>> compare_arrays("head", np.array([np.nan]), np.array([1.0])).max_difference
    inf
    """
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return StageComparison(stage, ours.shape, np.inf, np.inf)
    difference = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))
    magnitude = float(np.abs(theirs).max(initial=0))
    relative = difference / magnitude if magnitude else (np.inf if difference else 0.0)
    return StageComparison(stage, ours.shape, difference, relative)


def validate_model(
    model: str | Path,
    images: list[Any] | None = None,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    backend: str = DEFAULT_BACKEND,
    revision: str | None = None,
) -> Validation:
    """Run this package and transformers on the same input and compare every named stage.

    Parameters
    ----------
    model : str or Path
        A folder or a hub id that transformers' ``SiglipVisionModel`` opens.
    images : list of images, optional
        Anything `SiglipImageProcessor` takes; the preprocessing is then compared too. Without them,
        seeded noise is put through both models.
    tolerance : float
        Largest relative difference that counts as equal.
    backend : str
        Backend of this package to compare.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    SiglipError
        If transformers or torch is not installed.
    CheckpointError
        If transformers cannot fill its model from the checkpoint.
    """
    transformers = _import_transformers()
    location = locate_model(model, revision)
    ours = SiglipVisionModel.from_pretrained(location, backend=backend)
    folder = location if location.is_dir() else location.parent
    comparisons: list[StageComparison] = []
    if images:
        pixel_values = SiglipImageProcessor.from_pretrained(location)(images)["pixel_values"]
        comparisons.append(
            compare_arrays("pixel_values", pixel_values, _transformers_pixels(transformers, folder, images))
        )
    else:
        size = ours.config.image_size
        shape = (1, ours.config.num_channels, size, size)
        pixel_values = np.random.default_rng(_SEED).uniform(-1, 1, shape).astype(np.float32)
    theirs = transformers_stages(_transformers_model(transformers, folder), pixel_values)

    def compare(stage: str, array: np.ndarray) -> None:
        if stage in theirs:  # pooling weights, which torch averages over heads, are not
            other = theirs.pop(stage)
            comparisons.append(compare_arrays(stage, array, other.reshape(array.shape)))

    ours.trace(pixel_values, compare)
    return Validation(tuple(comparisons), tolerance)


def transformers_stages(model: Any, pixel_values: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    """Run transformers' vision model and collect the stages that `SiglipVisionModel.trace` names.

    Parameters
    ----------
    model : transformers.SiglipVisionModel
        With eager attention, so that it hands out attention weights.
    pixel_values : ndarray of shape (batch, channels, height, width)
    **options
        For the model's call, such as ``interpolate_pos_encoding``.
    """
    import torch

    stages: dict[str, np.ndarray] = {}
    handles: list[Any] = []

    def keep(name: str, value: Any) -> None:
        stages[name] = (value[0] if isinstance(value, tuple) else value).detach().numpy()

    def after(module: Any, name: str) -> None:
        handles.append(module.register_forward_hook(lambda _m, _i, output: keep(name, output)))

    def before(module: Any, name: str) -> None:
        handles.append(module.register_forward_pre_hook(lambda _m, inputs: keep(name, inputs)))

    tower = getattr(model, "vision_model", model)  # releases before 5.8 have one level more
    after(tower.embeddings, "embeddings")
    for index, layer in enumerate(tower.encoder.layers):
        path = layer_path(index)
        after(layer.layer_norm1, f"{path}/layer_norm1")
        after(layer.self_attn.q_proj, f"{path}/attention/query")
        after(layer.self_attn.k_proj, f"{path}/attention/key")
        after(layer.self_attn.v_proj, f"{path}/attention/value")
        before(layer.self_attn.out_proj, f"{path}/attention/heads")
        before(layer.layer_norm2, f"{path}/attention")
        after(layer.layer_norm2, f"{path}/layer_norm2")
        before(layer.mlp.fc2, f"{path}/mlp/activation")
        after(layer, path)
    after(tower.post_layernorm, "post_layernorm")
    if model.config.vision_use_head:
        before(tower.head.layernorm, "head/attention")
        after(tower.head.layernorm, "head/layernorm")
        after(tower.head, "head")
    try:
        with torch.no_grad():
            output = model(pixel_values=torch.from_numpy(pixel_values), output_attentions=True, **options)
    finally:
        for handle in handles:
            handle.remove()
    for index, attention in enumerate(output.attentions):
        stages[f"{layer_path(index)}/attention/weights"] = attention.numpy()
    return stages


def format_validation(validation: Validation) -> str:
    """Lay a comparison out for reading in a terminal."""
    width = max(len(stage.stage) for stage in validation.stages)
    lines = [f"{'stage':<{width}}  {'largest difference':>18}  {'relative':>9}"]
    for stage in validation.stages:
        mark = "" if stage.relative_difference <= validation.tolerance else "  beyond tolerance"
        lines.append(
            f"{stage.stage:<{width}}  {stage.max_difference:>18.3g}  {stage.relative_difference:>9.2g}{mark}"
        )
    first, worst = validation.first_divergence, validation.worst
    if first is None:
        lines.append(
            f"equal: every stage is within {validation.tolerance:g} of transformers; "
            f"the furthest is {worst.stage} at {worst.relative_difference:.2g}"
        )
    else:
        lines.append(f"not equal: the first stage beyond {validation.tolerance:g} is {first.stage}")
    return "\n".join(lines)


def _import_transformers() -> Any:
    try:
        import torch  # noqa: F401  (transformers imports without it, and then has no models)
        import transformers
    except ImportError as cause:
        raise SiglipError(
            f"{cause.name} is not installed, and validation compares with it: "
            'pip install "numpy-siglip[validate]" (on Linux install the CPU build of torch first)'
        ) from cause
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _transformers_model(transformers: Any, folder: Path) -> Any:
    model, info = transformers.SiglipVisionModel.from_pretrained(
        folder, attn_implementation="eager", dtype="float32", output_loading_info=True
    )
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise CheckpointError(
            f"{folder}: transformers' SiglipVisionModel does not find {missing} in this checkpoint"
        )
    return model.eval()


def _transformers_pixels(transformers: Any, folder: Path, images: list[Any]) -> np.ndarray:
    from .images import is_path, load_image

    processor_class: Callable[..., Any] = transformers.SiglipImageProcessorPil
    processor = processor_class.from_pretrained(folder, do_convert_rgb=True)  # type: ignore[attr-defined]
    opened = [load_image(image) if is_path(image) else image for image in images]
    return np.stack(processor(opened)["pixel_values"])
