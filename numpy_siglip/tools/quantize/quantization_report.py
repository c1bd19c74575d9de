"""How far a quantised model is from the one it was made of, in numbers that need no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...common.batches import in_batches
from .balancing import Balance

_IMAGES_AT_ONCE = 4
_NEIGHBOURS = 10


class Accuracy(NamedTuple):
    """A quantised tower beside the original, on the same images."""

    cosine: np.ndarray
    """Of the two embeddings of each image; of their mean tokens if the tower has no pooling head"""
    layer_errors: np.ndarray
    """For each layer, the norm of what its hidden states are off by, over theirs; the worst image counts"""
    top1: float | None
    """Of how many images the nearest other one stays the same; None for fewer than three"""
    top10: float | None
    """How many of the ten nearest stay among them, or of half the images if there are fewer than twenty"""


class Quantization(NamedTuple):
    """What was written, and how good it is."""

    files: tuple[Path, ...]
    balances: tuple[Balance, ...]
    float32_layers: tuple[str, ...]
    num_images: int
    """That accuracy was measured on; 0 if images were drawn for it"""
    accuracy: Accuracy
    bytes_before: int
    """Of the tensors of the model"""
    bytes_after: int


def measure_accuracy(original: Any, quantised: Any, processor: Any, images: list[Any]) -> Accuracy:
    """Run both towers on images."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    errors = []
    for batch in in_batches(images, _IMAGES_AT_ONCE):
        inputs = processor(images=batch)
        outputs = [model(**inputs, output_hidden_states=True) for model in (original, quantised)]
        states = [output.hidden_states[1:] for output in outputs]
        errors.append([_relative_error(right, wrong) for right, wrong in zip(*states, strict=True)])
        right, wrong = (_embedding(output) for output in outputs)
        pairs.append((right, wrong))
    x, y = (_normalized(np.concatenate(part)) for part in zip(*pairs, strict=True))
    count = min(_NEIGHBOURS, len(images) // 2)
    return Accuracy(
        cosine=np.sum(x * y, axis=-1),
        layer_errors=np.max(errors, axis=0),
        top1=neighbour_overlap(x, y, 1) if len(images) > 2 else None,
        top10=neighbour_overlap(x, y, count) if count > 1 else None,
    )


def neighbour_overlap(x: np.ndarray, y: np.ndarray, count: int) -> float:
    """Which share of the nearest neighbours of each row is the same in two sets of rows of length 1.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> neighbour_overlap(x, x, 1)
    1.0
    """
    nearest = []
    for rows in (x, y):
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -np.inf)
        nearest.append(np.argsort(-similarity, axis=-1, kind="stable")[:, :count])
    same = [len(np.intersect1d(*pair)) for pair in zip(*nearest, strict=True)]
    return float(np.mean(same) / count)


def format_quantization(result: Quantization) -> str:
    """Lay a quantisation out for reading in a terminal."""
    accuracy = result.accuracy
    worst = int(accuracy.layer_errors.argmax())
    images = f"{result.num_images} images" if result.num_images else f"{len(accuracy.cosine)} drawn images"
    balanced = sum(balance.factors is not None for balance in result.balances)
    mega = 1e6
    lines = [
        *(f"{file}" for file in result.files),
        f"tensors            {result.bytes_before / mega:.1f} MB -> {result.bytes_after / mega:.1f} MB",
        f"balanced           {balanced} of {len(result.balances)} inputs of maps",
        f"images against float32, on {images}:",
        f"  cosine           {accuracy.cosine.mean():.6f} mean, {accuracy.cosine.min():.6f} lowest",
        f"  layer error      {accuracy.layer_errors[worst]:.4f} at most, of encoder.layers.{worst}",
    ]
    if accuracy.top1 is not None:
        lines.append(f"  nearest the same {accuracy.top1:.1%}")
    if accuracy.top10 is not None:
        lines.append(f"  of ten nearest   {accuracy.top10:.1%}")
    return "\n".join(lines)


def _embedding(output: Any) -> np.ndarray:
    pooled: np.ndarray | None = output.pooler_output
    return output.last_hidden_state.mean(axis=1) if pooled is None else pooled.copy()


def _normalized(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def _relative_error(right: np.ndarray, wrong: np.ndarray) -> float:
    axes = tuple(range(1, right.ndim))
    norm = np.sqrt(np.square(right).sum(axis=axes))
    return float((np.sqrt(np.square(wrong - right).sum(axis=axes)) / norm).max())
