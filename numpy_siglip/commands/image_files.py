"""Image files on the command line: which they are, and their embeddings."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.progress import with_progress, write_line
from ..errors import SiglipError
from .arguments import batch_size
from .output import INTERRUPTED, SOME_FAILED, SUCCESS

if TYPE_CHECKING:
    from ..embedding.embed_files import EmbeddedFiles
    from ..embedding.embedder import Embedder


def add_images(command: argparse.ArgumentParser, *, number: str = "+") -> None:
    """The files themselves, and how they are read."""
    command.add_argument(
        "images",
        nargs=number,
        metavar="IMAGE",
        help="image files, or folders to search through (links to folders inside them are left alone)",
    )
    command.add_argument(
        "--batch-size",
        type=batch_size,
        default=DEFAULT_BATCH_SIZE,
        metavar="N",
        help=f"images at a time ({DEFAULT_BATCH_SIZE})",
    )
    command.add_argument(
        "--apply-exif-orientation",
        action="store_true",
        help="turn photographs upright as their EXIF tag asks",
    )


def embed_image_files(
    options: argparse.Namespace, embedder: Embedder, *, normalize: bool, quiet: bool
) -> EmbeddedFiles:
    """Embed the files that `add_images` asked for, and tell of those that cannot be read.

    Raises
    ------
    SiglipError
        If there are no files.
    """
    from ..embedding.embed_files import embed_files
    from ..preprocessing.image_search import find_images

    files = list(find_images(options.images))
    if not files:
        raise SiglipError(f"no image files in {', '.join(options.images)}")
    show_progress = not quiet and len(files) > 1 and sys.stderr is not None and sys.stderr.isatty()
    result = embed_files(
        embedder,
        with_progress(files, show_progress, total=len(files)),
        report=lambda line: write_line(f"numpy-siglip: skipped: {line}"),
        batch_size=options.batch_size,
        normalize=normalize,
        apply_exif_orientation=options.apply_exif_orientation,
    )
    result.num_files = len(files)
    return result


def status_of(result: EmbeddedFiles) -> int:
    """The exit status that says whether all files were embedded; an interruption is told too."""
    if result.interrupted:
        if result.paths:
            write_line(f"numpy-siglip: interrupted after {len(result.paths)} of {result.num_files} images")
        return INTERRUPTED
    return SOME_FAILED if result.num_failed else SUCCESS
