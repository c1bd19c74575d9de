"""``numpy-siglip embed``: image files or texts into an array."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..common.checks import shown
from ..common.progress import write_line
from ..errors import SiglipError
from .arguments import Commands, add_backend, add_dtype, add_model, add_texts, read_texts
from .image_files import add_images, run_image_files, status_of
from .named_model import load_embedder, load_text_embedder
from .output import SOME_FAILED, SUCCESS, interrupted_status


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("embed", help="turn image files, or texts, into an array of embeddings")
    add_images(command, number="*")
    add_texts(command, required=False)
    add_model(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT.npy",
        help="the array; OUT.paths.txt (or OUT.texts.txt) lists its rows; or one table, OUT.csv",
    )
    command.add_argument(
        "--pooling",
        choices=("head", "mean"),
        default="head",
        help="of an image: the model's pooling head, or the mean of its tokens (head)",
    )
    command.add_argument(
        "--normalize",
        action="store_true",
        help="scale every embedding to length 1 (default: the model's pooler_output as it is)",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    add_backend(command)
    add_dtype(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Embed what is named and write it."""
    texts = read_texts(options)
    if bool(texts) == bool(options.images):
        raise SiglipError("name image files, or texts by --text or --text-file, and not both")
    return _embed_texts(options, texts) if texts else _embed_images(options)


def _embed_images(options: argparse.Namespace) -> int:
    from ..embedding.saved_embeddings import check_output, listing_of, partial_output, save_image_embeddings

    output: Path = options.output
    check_output(output, "paths")
    embedder = load_embedder(options)
    result = run_image_files(
        options, embedder.embed_batches, embedder.embedding_size, normalize=options.normalize
    )
    if not result.paths:
        write_line("numpy-siglip: no image was embedded, nothing was written")
        return interrupted_status(result.interruption) if result.interruption else SOME_FAILED
    if result.interruption is not None:
        output = partial_output(output)  # a finished result is never replaced by a part of one
    save_image_embeddings(output, result.array(), result.paths)
    if not options.quiet:
        _tell(len(result.paths), result.width, output, listing_of(output, "paths"))
    return status_of(result)


def _embed_texts(options: argparse.Namespace, texts: list[str]) -> int:
    from ..embedding.saved_embeddings import check_output, listing_of, save_text_embeddings

    output: Path = options.output
    check_output(output, "texts")
    for number, text in enumerate(texts, 1):
        if text.splitlines() != [text]:
            raise SiglipError(
                f"text {number} is empty or has a line break: {shown(text)}; the list of texts has one on "
                "each line and could not hold it, so leave it out or join its lines"
            )
    embedder = load_text_embedder(options)
    embeddings = embedder.embed_texts(texts, batch_size=options.batch_size, normalize=options.normalize)
    save_text_embeddings(output, embeddings, texts)
    if not options.quiet:
        _tell(len(texts), embedder.embedding_size, output, listing_of(output, "texts"))
    return SUCCESS


def _tell(count: int, width: int, output: Path, listing: Path | None) -> None:
    beside = f", {listing.suffixes[-2][1:]} in {listing}" if listing else ""
    write_line(f"{count} embedding{'s' * (count > 1)} of {width} numbers in {output}{beside}")
