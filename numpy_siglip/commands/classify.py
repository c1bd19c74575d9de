"""``numpy-siglip classify`` and ``similarity``: which texts go with an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.progress import write_line
from ..errors import SiglipError
from ..preprocessing.prompts import DEFAULT_PROMPT, list_labels, list_prompts
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
from .image_files import add_images, run_image_files, status_of
from .named_model import load_embedder, open_named_model, tell_inferred
from .rankings import Rankings, add_form

if TYPE_CHECKING:
    import numpy as np

    from ..checkpoints.description.model_files import ModelFiles
    from ..embedding.embed_files import EmbeddedFiles
    from ..embedding.embedder import Embedder


def add_to(commands: Commands) -> None:
    """Describe both commands."""
    classify = commands.add_parser("classify", help="how likely each label is for each image")
    add_images(classify)
    labels = classify.add_mutually_exclusive_group()
    labels.add_argument(
        "--labels",
        metavar="LABELS",
        help='labels with commas between: "a cat, a dog"; those that hold commas go into a file; a '
        "fine-tuned classifier has its own",
    )
    labels.add_argument("--labels-file", type=Path, metavar="FILE", help="labels, one on each line of a file")
    classify.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help=f'what the model reads for a label, with {{}} in its place ("{DEFAULT_PROMPT}"); of several, or '
        "of clip-7 and clip-80, which are CLIP's own, the mean is taken",
    )
    classify.add_argument(
        "--softmax",
        action="store_true",
        help="if exactly one label is right: how likely each is it",
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
        add_form(command)
        command.add_argument("--quiet", action="store_true", help="no progress bar")
        add_backend(command)
        add_dtype(command)


def run_classify(options: argparse.Namespace) -> int:
    """Print the probability of each label, as soon as each batch of images is done."""
    from ..embedding.image_classifier import is_classifier

    labels = _labels(options)
    prompts = list_prompts(options.prompt or DEFAULT_PROMPT)
    files = open_named_model(options)
    if is_classifier(files):
        return _run_classifier(options, files, labels)
    if not labels:
        raise SiglipError(f'{files}: knows no labels of its own; name some: --labels "a cat, a dog"')
    embedder = _load_for_texts(options, files)
    text_embeds = embedder.embed_labels(labels, prompt=prompts, batch_size=options.batch_size)
    comparison = embedder.comparison
    with Rankings(options, "label", labels, ["probability"]) as rankings:

        def show(paths: list[Path], rows: np.ndarray) -> None:
            logits = comparison.logits(rows, text_embeds)
            rankings.show(paths, [comparison.probabilities(logits, softmax=options.softmax)])

        result = run_image_files(options, embedder.embed_batches, embedder.embedding_size, show)
    return _ended(result)


def run_similarity(options: argparse.Namespace) -> int:
    """Print the cosine, and the probability, of each text, as soon as each batch of images is done."""
    texts = read_texts(options)
    embedder = _load_for_texts(options, open_named_model(options))
    text_embeds = embedder.embed_texts(texts, batch_size=options.batch_size)
    comparison = embedder.comparison
    with Rankings(options, "text", texts, ["cosine", "probability"]) as rankings:

        def show(paths: list[Path], rows: np.ndarray) -> None:
            logits = comparison.logits(rows, text_embeds)
            rankings.show(paths, [comparison.cosines(rows, text_embeds), comparison.probabilities(logits)])

        result = run_image_files(options, embedder.embed_batches, embedder.embedding_size, show)
    return _ended(result)


def _load_for_texts(options: argparse.Namespace, files: ModelFiles) -> Embedder:
    """Load an `Embedder`, once it is known that it will be able to read texts."""
    from ..model.comparison import holds_both_towers
    from ..preprocessing.tokenizer_files import require_tokenizer

    if holds_both_towers(files.tensors):  # otherwise that is what there is to be told
        require_tokenizer(files)
    return load_embedder(options, files)


def _run_classifier(options: argparse.Namespace, files: ModelFiles, labels: list[str]) -> int:
    """Print the probability of each label that the model was trained on."""
    from ..embedding.image_classifier import ImageClassifier
    from ..model.backends import choose_backend

    if labels or options.prompt or options.softmax:
        raise SiglipError(
            f"{files}: a classifier of labels of its own, which reads no texts; leave --labels, "
            "--labels-file, --prompt and --softmax out"
        )
    classifier = ImageClassifier.from_files(
        files, choose_backend(options.backend, options.threads, options.dtype)
    )
    tell_inferred(files, options.quiet)
    with Rankings(options, "label", classifier.labels, ["probability"]) as rankings:
        result = run_image_files(
            options,
            classifier.classify_batches,
            len(classifier.labels),
            lambda paths, rows: rankings.show(paths, [rows]),
        )
    return _ended(result)


def _labels(options: argparse.Namespace) -> list[str]:
    if options.labels_file:
        return read_lines(options.labels_file)
    return list_labels(options.labels) if options.labels is not None else []


def _ended(result: EmbeddedFiles) -> int:
    if not result.paths:
        write_line("numpy-siglip: no image was embedded")
    return status_of(result)
