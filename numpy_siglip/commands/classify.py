"""``numpy-siglip classify`` and ``similarity``: which texts go with an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.progress import write_line
from ..errors import SiglipError
from ..preprocessing.prompts import DEFAULT_PROMPT, fill_prompt
from .arguments import (
    Commands,
    add_backend,
    add_dtype,
    add_model,
    add_texts,
    positive_number,
    read_lines,
    read_texts,
)
from .image_files import add_images, embed_image_files, status_of
from .named_model import load_embedder
from .output import print_result

if TYPE_CHECKING:
    import numpy as np

    from ..embedding.embed_files import EmbeddedFiles
    from ..embedding.embedder import Embedder


def add_to(commands: Commands) -> None:
    """Describe both commands."""
    classify = commands.add_parser("classify", help="how likely each label is for each image")
    add_images(classify)
    labels = classify.add_mutually_exclusive_group(required=True)
    labels.add_argument(
        "--labels",
        metavar="LABELS",
        help='labels with commas between: "a cat, a dog"; those that hold commas go into a file',
    )
    labels.add_argument("--labels-file", type=Path, metavar="FILE", help="labels, one on each line of a file")
    classify.add_argument(
        "--prompt",
        default=DEFAULT_PROMPT,
        metavar="TEXT",
        help=f'what the model reads for a label, with {{}} in its place ("{DEFAULT_PROMPT}")',
    )
    classify.add_argument(
        "--top", type=positive_number, default=5, metavar="N", help="likeliest labels to show (5)"
    )
    classify.set_defaults(run=run_classify)

    similarity = commands.add_parser("similarity", help="how near each text is to each image")
    add_images(similarity)
    add_texts(similarity, required=True)
    similarity.add_argument("--top", type=positive_number, metavar="N", help="nearest texts to show (all)")
    similarity.set_defaults(run=run_similarity)

    for command in (classify, similarity):
        add_model(command)
        command.add_argument("--json", action="store_true", help="as JSON")
        command.add_argument("--quiet", action="store_true", help="no progress bar")
        add_backend(command)
        add_dtype(command)


def run_classify(options: argparse.Namespace) -> int:
    """Print the probability of each label."""
    labels = read_lines(options.labels_file) if options.labels_file else _split(options.labels)
    prompts = fill_prompt(options.prompt, labels)
    embedder, result, text_embeds = _embed(options, prompts)
    comparison = embedder.comparison
    probabilities = comparison.probabilities(comparison.logits(result.array(), text_embeds))
    _print(options, result, "label", labels, {"probability": probabilities})
    return status_of(result)


def run_similarity(options: argparse.Namespace) -> int:
    """Print the cosine, and the probability, of each text."""
    texts = read_texts(options)
    embedder, result, text_embeds = _embed(options, texts)
    comparison, image_embeds = embedder.comparison, result.array()
    cosines = comparison.cosines(image_embeds, text_embeds)
    probabilities = comparison.probabilities(comparison.logits(image_embeds, text_embeds))
    _print(options, result, "text", texts, {"cosine": cosines, "probability": probabilities})
    return status_of(result)


def _embed(options: argparse.Namespace, texts: list[str]) -> tuple[Embedder, EmbeddedFiles, np.ndarray]:
    """Embeddings of length 1; texts first, since what is wrong with them is told sooner."""
    embedder = load_embedder(options)
    text_embeds = embedder.embed_texts(texts, batch_size=options.batch_size)
    result = embed_image_files(options, embedder, normalize=True, quiet=options.quiet)
    if not result.paths:
        write_line("numpy-siglip: no image was embedded")
    return embedder, result, text_embeds


def _split(labels: str) -> list[str]:
    found = [label.strip() for label in labels.split(",") if label.strip()]
    if not found:
        raise SiglipError('--labels names no label; write them with commas between: "a cat, a dog"')
    return found


def _print(
    options: argparse.Namespace,
    result: EmbeddedFiles,
    kind: str,
    texts: list[str],
    scores: dict[str, np.ndarray],
) -> None:
    """Texts of each image from the best on, by the first of the scores."""
    report: list[dict[str, Any]] = []
    first = next(iter(scores.values()))
    for row, path in enumerate(result.paths):
        best = _best(first[row], options.top)
        ranked = [
            {kind: texts[i], **{name: float(values[row, i]) for name, values in scores.items()}} for i in best
        ]
        report.append({"image": str(path), f"{kind}s": ranked})
    if options.json:
        print_result(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for entry in report:
        print_result(entry["image"])
        for line in entry[f"{kind}s"]:
            numbers = "  ".join(f"{line[name]:>10.4g}" for name in scores)
            print_result(f"{numbers}  {line[kind]}")


def _best(scores: np.ndarray, count: int | None) -> list[int]:
    """Numbers of the highest scores, from the highest on; of equals the first."""
    return sorted(range(len(scores)), key=lambda number: -float(scores[number]))[:count]
