"""What a checkpoint holds and what running it costs, without reading its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checkpoints.checkpoint import LOGIT_BIAS, LOGIT_SCALE
from ..checkpoints.description.model_files import ModelFiles
from ..config.configuration import SiglipConfig
from ..config.kinds import AnyTextConfig, AnyVisionConfig
from ..config.naflex_configuration import Siglip2Config, Siglip2VisionConfig, VisionConfig
from ..embedding.vision_kinds import open_vision_model
from ..errors import ConfigError
from ..kernels.cost import FLOAT32_BYTES
from ..model.comparison import holds_both_towers
from ..preprocessing.tokenizer_files import ATTENTION_MASK, has_tokenizer, model_input_names
from ..weights.text_weights import count_text_parameters, find_text_tensors
from ..weights.tower_weights import Tensors, find_beside_towers
from ..weights.vision_weights import count_vision_parameters, find_vision_tensors
from .vision_cost import total_cost, vision_costs

Report = dict[str, Any]


_CLASSIFIER = "classifier.weight"
_BESIDE_TOWERS = (LOGIT_SCALE, LOGIT_BIAS, _CLASSIFIER, "classifier.bias")


def inspect_model(model: str | Path | ModelFiles, *, revision: str | None = None) -> Report:
    """Describe the vision tower of a checkpoint, as plain values that JSON can hold.

    Parameters
    ----------
    model : str, Path or ModelFiles
        A folder, a file, a hub id, or a model that is open already.
    revision : str, optional
        Branch, tag or commit on the hub.

    Returns
    -------
    dict
        ``model_class``, as transformers calls it, and the ``labels`` of a classifier; ``layout`` of the
        tensors; what is ``inferred`` of configuration and preprocessing, since no
        file says it; ``problems`` with the preprocessing, because of which images could not be embedded;
        ``config``; ``tokens``; ``parameters``; ``weight_bytes`` in float32; ``activation_bytes``, the largest
        set of arrays one image needs at a time in float32; ``flops`` and ``bytes`` of one image, in all and
        by operation; ``tensors``, each with its name here and in the checkpoint, dtype, shape, file and
        offset. A NaFlex image counts with as many tokens as positions were learned. ``text`` has the text
        tower's ``config``, ``parameters``, ``weight_bytes`` and ``tensors``, and whether its tokenizer has
        ``padding_masked`` (None if there is no tokenizer), or is None. ``other_tensors``
        are those beside the towers: of the comparison, or of a classifier.

    Raises
    ------
    ConfigError, CheckpointError
        As `SiglipVisionModel.from_pretrained`.

    Examples
    --------
    >>> from numpy_siglip.tools.inspection import inspect_model
    >>> report = inspect_model(model_folder)
    >>> report["tokens"], report["tensors"][0]["name"], report["tensors"][0]["dtype"]
    (16, 'embeddings.patch_embedding.weight', 'F32')
    """
    files, config = open_vision_model(model, revision)
    checkpoint = files.tensors
    names = find_vision_tensors(checkpoint, config)
    problems: list[str] = []
    preprocessing: list[str] = []
    contradictions = list(files.config.contradictions)
    try:
        preprocessing += files.preprocessing.inferred
        contradictions += files.preprocessing.contradictions
    except ConfigError as error:  # which is no reason to tell nothing of the rest
        problems.append(str(error))
    model_class, labels = _kind_of(files)
    costs = vision_costs(config)
    total = total_cost(costs)
    return {
        "source": str(files),
        "model_class": model_class,
        "labels": labels,
        "layout": files.layout,
        "inferred": [*files.config.inferred, *files.inferred_of_tensors, *preprocessing],
        "contradictions": contradictions,
        "problems": problems,
        "config": config.to_dict(),
        "tokens": config.num_patches,
        "parameters": count_vision_parameters(config),
        "weight_bytes": FLOAT32_BYTES * count_vision_parameters(config),
        "activation_bytes": _activation_bytes(config),
        "flops": total.flops,
        "bytes": total.bytes,
        "operations": {name: {"flops": cost.flops, "bytes": cost.bytes} for name, cost in costs.items()},
        "tensors": _places(checkpoint, names),
        "text": _inspect_text(files) if holds_both_towers(checkpoint) else None,
        "other_tensors": _places(checkpoint, dict(_beside_towers(checkpoint))),
    }


def _beside_towers(checkpoint: Tensors) -> Iterator[tuple[str, str]]:
    for name in _BESIDE_TOWERS:
        stored = find_beside_towers(checkpoint, name)
        if stored:
            yield name, stored


def _kind_of(files: ModelFiles) -> tuple[str, list[str]]:
    """The class of transformers that the tensors belong to, and the labels of a classifier."""
    naflex = isinstance(AnyVisionConfig.from_pretrained(files), Siglip2VisionConfig)
    family = "Siglip2" if naflex else "Siglip"
    if find_beside_towers(files.tensors, _CLASSIFIER):
        config = (Siglip2Config if naflex else SiglipConfig).from_pretrained(files)
        return f"{family}ForImageClassification", [str(label) for label in config.id2label.values()]
    return f"{family}Model" if holds_both_towers(files.tensors) else f"{family}VisionModel", []


def _inspect_text(files: ModelFiles) -> Report:
    config: Any = AnyTextConfig.from_pretrained(files)
    return {
        "config": config.to_dict(),
        "padding_masked": _masks_padding(files),
        "parameters": count_text_parameters(config),
        "weight_bytes": FLOAT32_BYTES * count_text_parameters(config),
        "tensors": _places(files.tensors, find_text_tensors(files.tensors, config)),
    }


def _masks_padding(files: ModelFiles) -> bool | None:
    """Whether the tokenizer masks padding; None where there is none, or its settings are damaged."""
    try:
        return ATTENTION_MASK in model_input_names(files) if has_tokenizer(files) else None
    except ConfigError:  # which is told where texts are embedded
        return None


def _places(checkpoint: Tensors, names: dict[str, str]) -> list[Report]:
    """Where each tensor lies."""
    return [
        {
            "name": name,
            "stored_as": checkpoint[stored].name,
            "dtype": checkpoint[stored].dtype,
            "shape": list(checkpoint[stored].shape),
            "file": str(checkpoint[stored].file),
            "offset": checkpoint[stored].offset,
        }
        for name, stored in names.items()
    ]


def _activation_bytes(config: VisionConfig) -> int:
    """Largest set of arrays that one image needs at the same time."""
    tokens, d = config.num_patches, config.hidden_size
    in_attention = tokens * 5 * d + config.num_attention_heads * tokens**2  # stream, q, k, v, heads; scores
    in_mlp = tokens * (2 * d + config.intermediate_size)  # stream, normed; widened
    return FLOAT32_BYTES * max(in_attention, in_mlp)


def format_report(report: Report) -> str:
    """Lay a report out for reading in a terminal."""
    lines = [f"{report['source']}", f"{report['model_class']} in the layout of {report['layout']}"]
    if report["labels"]:
        lines.append(f"classifies images into {len(report['labels'])}: {', '.join(report['labels'])}")
    lines += ["", "configuration"]
    lines += [f"  {name:<22}{value}" for name, value in report["config"].items()]
    if report["inferred"]:
        lines += ["", "inferred, since no file says it", *(f"  {line}" for line in report["inferred"])]
    if report["contradictions"]:
        lines += [
            "",
            "followed, though other than published",
            *(f"  {line}" for line in report["contradictions"]),
        ]
    if report["problems"]:
        lines += ["", "problems", *(f"  {line}" for line in report["problems"])]
    lines += [
        "",
        f"tokens per image      {report['tokens']:,}",
        f"parameters            {report['parameters']:,}, of the vision tower",
        f"weights in float32    {report['weight_bytes'] / 1e6:,.1f} MB",
        *_quantized_line(report["tensors"]),
        f"activations per image {report['activation_bytes'] / 1e6:,.1f} MB",
        f"work per image        {report['flops'] / 1e9:,.2f} GFLOP, "
        f"{report['bytes'] / 1e6:,.0f} MB of compulsory traffic",
        "",
        f"{'operation':<22}{'GFLOP':>10}{'share':>8}{'MB':>10}",
    ]
    for name, cost in report["operations"].items():
        share = cost["flops"] / report["flops"]
        lines.append(f"{name:<22}{cost['flops'] / 1e9:>10.3f}{share:>8.1%}{cost['bytes'] / 1e6:>10.1f}")
    lines += ["", "tensors of the vision tower", *_tensor_lines(report["tensors"])]
    text = report["text"]
    if text:
        lines += ["", "configuration of the text tower"]
        lines += [f"  {name:<24}{value}" for name, value in text["config"].items()]
        if text["padding_masked"] is not None:
            masked = "masked" if text["padding_masked"] else "looked at, as in training"
            lines += ["", f"padding of texts      {masked}"]
        lines += ["", f"parameters            {text['parameters']:,}"]
        lines += [f"weights in float32    {text['weight_bytes'] / 1e6:,.1f} MB"]
        if text["config"]["projection_size"] != report["config"]["hidden_size"]:
            lines += ["its embeddings and those of images differ in length, and cannot be compared"]
        lines += ["", "tensors of the text tower", *_tensor_lines(text["tensors"])]
    if report["other_tensors"]:
        lines += ["", "tensors beside", *_tensor_lines(report["other_tensors"])]
    return "\n".join(lines)


def _quantized_line(tensors: list[Report]) -> list[str]:
    maps = sum(tensor["dtype"] == "I8" for tensor in tensors)
    return [f"quantised             {maps} weights, in int8"] if maps else []


def _tensor_lines(tensors: list[Report]) -> list[str]:
    lines = []
    for tensor in tensors:
        shape = " x ".join(map(str, tensor["shape"]))
        place = f"{Path(tensor['file']).name} at {tensor['offset']:,}"
        line = f"  {tensor['name']:<44}{tensor['dtype']:<5}{shape:<20}{place}"
        lines.append(line if tensor["stored_as"] == tensor["name"] else f"{line}, as {tensor['stored_as']}")
    return lines
