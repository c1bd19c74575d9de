"""Stage-by-stage comparison with transformers on the same checkpoint and the same pixels.

transformers and torch are imported only when a comparison is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .backends import choose_backend
from .checks import is_finite, shown
from .errors import ConfigError, SiglipError
from .image_steps import PREPROCESSOR_FILE, PROCESSOR_FILE
from .kernels.backend import DEFAULT_BACKEND
from .layouts.description import read_preprocessing
from .naflex_configuration import Siglip2VisionConfig, VisionConfig
from .naflex_padding import without_padding
from .trace import layer_path
from .vision_kinds import VisionFiles, open_vision_model
from .vision_weights import find_vision_tensors

DEFAULT_TOLERANCE = 1e-4
_SEED = 0


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
    model: str | Path,
    images: list[Any] | None = None,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    backend: str = DEFAULT_BACKEND,
    threads: int | None = None,
    revision: str | None = None,
) -> Validation:
    """Run this package and transformers on the same input and compare every named stage.

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
    >>> from numpy_siglip.validation import validate_model
    >>> validation = validate_model(model_folder)
    >>> validation.first_divergence is None, validation.stages[-1].stage
    (True, 'head')
    """
    if not is_finite(tolerance) or tolerance < 0:
        raise ConfigError(f"tolerance is {shown(tolerance)}; it must be a number that is not negative")
    transformers = _import_transformers()
    ops = choose_backend(backend, threads)
    files = open_vision_model(model, revision)
    ours: Any = files.load_model(ops)
    comparisons: list[StageComparison] = []
    if images:
        inputs: dict[str, np.ndarray] = files.read_processor()[1](images)
        pixels = _transformers_pixels(transformers, files, images)
        comparisons.append(compare_arrays("pixel_values", inputs["pixel_values"], pixels))
    else:
        inputs = _noise(files.config)
    theirs = transformers_stages(_transformers_model(transformers, files), **inputs)

    def compare(stage: str, array: np.ndarray) -> None:
        if stage in theirs:  # pooling weights, which torch averages over heads, are not
            other = theirs.pop(stage).reshape(array.shape)
            if files.is_naflex:
                other = without_padding(stage, other, inputs["spatial_shapes"].tolist())
            comparisons.append(compare_arrays(stage, array, other))

    with np.errstate(all="ignore"):  # a stage that is not finite is told as such
        ours.trace(**inputs, listener=compare)
    return Validation(tuple(comparisons), tolerance)


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


def transformers_stages(model: Any, pixel_values: np.ndarray, **others: Any) -> dict[str, np.ndarray]:
    """Run transformers' vision model and collect the stages that `SiglipVisionModel.trace` names.

    Parameters
    ----------
    model : transformers.SiglipVisionModel or Siglip2VisionModel
        With eager attention, so that it hands out attention weights.
    pixel_values : ndarray
    **others
        What else the model's call takes: other arrays of the image processor, options.
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
            inputs = {"pixel_values": pixel_values, **others}
            tensors = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in inputs.items()}
            output = model(**tensors, output_attentions=True)
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


def _transformers_model(transformers: Any, files: VisionFiles) -> Any:
    """Their model of this configuration, each of its parameters filled from the checkpoint."""
    import torch

    family = "Siglip2" if files.is_naflex else "Siglip"
    model_class = getattr(transformers, f"{family}VisionModel")
    config_class = getattr(transformers, f"{family}VisionConfig")
    model = model_class._from_config(config_class(**files.config.to_dict()), attn_implementation="eager")
    prefix = "vision_model." if hasattr(model, "vision_model") else ""  # in releases before 5.8
    model.load_state_dict(
        {
            # A copy, since torch does not take the read-only views of the file.
            prefix + name: torch.from_numpy(np.array(files.checkpoint.tensor(stored)))
            for name, stored in find_vision_tensors(files.checkpoint, files.config).items()
        },
        strict=True,
        assign=True,
    )
    return model.eval()


def _transformers_pixels(transformers: Any, files: VisionFiles, images: list[Any]) -> np.ndarray:
    from .images import is_path, load_image

    family = "Siglip2" if files.is_naflex else "Siglip"
    processor_class: Callable[..., Any] = getattr(transformers, f"{family}ImageProcessorPil")
    folder = files.location if files.location.is_dir() else files.location.parent
    if any((folder / name).exists() for name in (PREPROCESSOR_FILE, PROCESSOR_FILE)):
        processor = processor_class.from_pretrained(folder, do_convert_rgb=True)  # type: ignore[attr-defined]
    else:  # other layouts have none, and what was inferred is given to both
        inferred = read_preprocessing(files.location)
        assert inferred is not None  # our own processor was made of it
        processor = processor_class.from_dict(inferred[1])  # type: ignore[attr-defined]
    opened = [load_image(image) if is_path(image) else image for image in images]
    return np.stack(processor(opened)["pixel_values"])
