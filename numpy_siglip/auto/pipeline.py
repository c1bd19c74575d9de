"""`pipeline`, by which a program names what it wants to know and a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoints.description.model_files import ModelFiles
from ..checkpoints.loading_keywords import MODEL_KEYWORDS, is_flag
from ..common.checks import check_mapping, shown
from ..common.keywords import Keyword, Keywords, check_keywords
from ..common.spellings import require_cpu
from ..config.kinds import AnyVisionConfig
from ..config.naflex_configuration import Siglip2VisionConfig
from ..errors import ConfigError
from ..model.module import Module
from ..model.naflex import Siglip2VisionModel
from ..model.pretrained import read_configuration
from ..model.vision import SiglipVisionModel
from .auto_classes import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    open_with,
)
from .classification_pipeline import ImageClassificationPipeline, function_of
from .feature_pipeline import ImageFeatureExtractionPipeline
from .pipelines import Pipeline
from .zero_shot_pipeline import ZeroShotImageClassificationPipeline

TASKS: dict[str, type[Pipeline]] = {
    kind.task: kind
    for kind in (
        ZeroShotImageClassificationPipeline,
        ImageClassificationPipeline,
        ImageFeatureExtractionPipeline,
    )
}
_OWN_KEYWORDS: Keywords = {
    "feature_extractor": Keyword((None,), "pass an image_processor"),
    "framework": Keyword((None, "np"), "results are numbers of Python; leave it out"),
    "pipeline_class": Keyword((None,), "the class is that of the task"),
    "use_fast": Keyword(is_flag, "it must be true or false"),
    "video_processor": Keyword((None,), "SigLIP takes images"),
}
_FOR_MODELS = ("backend", "config", "float32_layers", "threads", "torch_dtype")


def pipeline(
    task: str | None = None,
    model: Any = None,
    *,
    tokenizer: Any = None,
    image_processor: Any = None,
    processor: Any = None,
    revision: str | None = None,
    device: Any = None,
    dtype: Any = "auto",
    model_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> Pipeline:
    """Make a pipeline for a task.

    Parameters
    ----------
    task : {"zero-shot-image-classification", "image-classification", "image-feature-extraction"}
    model : str, Path, ModelFiles or model
        What `AutoModel.from_pretrained` takes, or a model that is loaded, with ``image_processor`` and, for
        texts, ``tokenizer``.
    tokenizer, image_processor, processor : optional
        Instead of those of the model: loaded, or what is to be loaded; a processor is both.
    revision : str, optional
        Branch, tag or commit on the hub.
    device : optional
        The processor, on which everything is computed: ``"cpu"`` or -1.
    dtype : str
        As for `AutoModel.from_pretrained`.
    model_kwargs : dict, optional
        Further options of `AutoModel.from_pretrained`.
    **options
        ``backend``, ``threads``, ``float32_layers`` and ``config`` of the model; what transformers' programs
        pass to load one, such as ``device_map="auto"``; and options of the pipeline for all its calls, such
        as ``candidate_labels``.

    Returns
    -------
    Pipeline
        To be called with images.

    Raises
    ------
    ConfigError
        If there is no such task, something it needs is missing, or an option asks for what there is not.
    CheckpointError
        If the model is not found or damaged.

    Examples
    --------
    >>> from numpy_siglip import pipeline
    >>> classify = pipeline("zero-shot-image-classification", model=model_folder, device="cpu")
    >>> len(classify([photo, photo], candidate_labels=["a cat", "a dog", "a bicycle"])[1])
    3
    """
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(f"task is {shown(task)}; there are: {', '.join(TASKS)}")
    if model is None:
        raise ConfigError("no model named; pass model, a folder or a name on the hub")
    if device is not None:
        require_cpu("device", device)
    kind = TASKS[task]
    for_calls = {name: options.pop(name) for name in kind.options() if name in options}
    for_model = {name: options.pop(name) for name in _FOR_MODELS if name in options}
    check_keywords(
        pipeline, options, {**MODEL_KEYWORDS, **_OWN_KEYWORDS}, also=[*_FOR_MODELS, *kind.options()]
    )
    for_model |= {name: value for name, value in options.items() if name not in _OWN_KEYWORDS}
    more = check_mapping("model_kwargs", model_kwargs or {})
    files = None
    if not isinstance(model, Module):
        files, rest = open_with(model, revision, {"dtype": dtype, **for_model, **more})
        model = _loaded(kind, files, rest)
        if kind is ImageClassificationPipeline:
            for_calls.setdefault("function_to_apply", function_of(files.config.values))
    if processor is not None:
        both = AutoProcessor.from_pretrained(processor) if _is_name(processor) else processor
        image_processor = (
            getattr(both, "image_processor", both) if image_processor is None else image_processor
        )
        tokenizer = getattr(both, "tokenizer", None) if tokenizer is None else tokenizer
    image_processor = _part("image_processor", image_processor, AutoImageProcessor, files)
    if kind is ZeroShotImageClassificationPipeline:
        tokenizer = _part("tokenizer", tokenizer, AutoTokenizer, files)
    return kind(model, image_processor, tokenizer, **for_calls)


def _loaded(kind: type[Pipeline], files: ModelFiles, options: dict[str, Any]) -> Any:
    """The model that a pipeline runs; to extract features, no tower for texts is read."""
    if kind is ZeroShotImageClassificationPipeline:
        return AutoModelForZeroShotImageClassification.from_pretrained(files, **options)
    if kind is ImageClassificationPipeline:
        return AutoModelForImageClassification.from_pretrained(files, **options)
    naflex = isinstance(read_configuration(AnyVisionConfig, files), Siglip2VisionConfig)
    return (Siglip2VisionModel if naflex else SiglipVisionModel).from_pretrained(files, **options)


def _part(name: str, given: Any, auto: Any, files: ModelFiles | None) -> Any:
    """An image processor or a tokenizer: the one that is given, the one that is named, or the model's."""
    if _is_name(given):
        return auto.from_pretrained(given)
    if given is not None:
        if not callable(given):
            raise ConfigError(f"{name} is {shown(given)}; pass one that is loaded, or what is to be loaded")
        return given
    if files is None:
        raise ConfigError(f"a model that is loaded comes without {name}; pass {name} as well")
    return auto.from_pretrained(files)


def _is_name(value: Any) -> bool:
    return isinstance(value, (str, Path, ModelFiles))
