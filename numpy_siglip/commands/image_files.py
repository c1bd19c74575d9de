"""Image files on the command line: which they are, and their embeddings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.progress import with_progress, write_line
from ..errors import SiglipError
from .arguments import batch_size, positive_number
from .output import SOME_FAILED, SUCCESS, interrupted_status

if TYPE_CHECKING:
    import numpy as np

    from ..embedding.embed_files import Batches, EmbeddedFiles


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
    command.add_argument(
        "--decode",
        choices=("exact", "fast"),
        default="exact",
        help="fast: JPEG at a fraction of its size, no less than twice what the model takes (exact)",
    )
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help='leave out in folders: "*_thumb.jpg", or with a slash a path below the folder (may be repeated)',
    )
    command.add_argument(
        "--max-pixels",
        type=positive_number,
        metavar="N",
        help="largest image that is read, in pixels (178956970)",
    )


def run_image_files(
    options: argparse.Namespace,
    batches: Batches,
    width: int,
    on_batch: Callable[[list[Path], np.ndarray], object] | None = None,
    **others: Any,
) -> EmbeddedFiles:
    """Run the files that `add_images` asked for through a model, and tell of those that cannot be read.

    Raises
    ------
    SiglipError
        If there are no files.
    """
    from ..embedding.embed_files import embed_files
    from ..embedding.image_batches import told_turned

    files = find_files(options)
    show_progress = not options.quiet and len(files) > 1 and sys.stderr is not None and sys.stderr.isatty()
    result = embed_files(
        partial(
            batches,
            batch_size=options.batch_size,
            apply_exif_orientation=options.apply_exif_orientation,
            decode=options.decode,
            **others,
        ),
        width,
        with_progress(files, show_progress, total=len(files)),
        report=lambda line: write_line(f"numpy-siglip: skipped: {line}"),
        on_batch=on_batch,
    )
    result.num_files = len(files)
    if result.num_turned and not options.quiet:
        write_line(f"numpy-siglip: {told_turned(result.num_turned, '--apply-exif-orientation')}")
    return result


class Skipped:
    """Tells of images that are left out, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, image: object, error: Exception) -> None:
        """Tell of one."""
        write_line(f"numpy-siglip: skipped: {error}")
        self.count += 1


def find_files(options: argparse.Namespace) -> list[Path]:
    """The files that `add_images` asked for; what is passed over is told, and how large they may be is set.

    Raises
    ------
    SiglipError
        If there are no files.
    """
    from ..preprocessing.image_search import find_images, told_passed_over

    allow_pixels(options.max_pixels)
    passed_over: list[Path] = []
    files = list(find_images(options.images, exclude=options.exclude, passed_over=passed_over.append))
    if passed_over:
        write_line(f"numpy-siglip: {told_passed_over(passed_over)}")
    if not files:
        raise SiglipError(f"no image files in {', '.join(options.images)}")
    return files


def allow_pixels(most: int | None) -> None:
    """Let Pillow read images of up to so many pixels, in this process."""
    if most is not None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = -(-most // 2)  # it warns of images above this, and refuses twice as much


def status_of(result: EmbeddedFiles) -> int:
    """The exit status that says whether all files were embedded; an interruption is told too."""
    if result.interruption is not None:
        if result.paths:
            write_line(f"numpy-siglip: interrupted after {len(result.paths)} of {result.num_files} images")
        return interrupted_status(result.interruption)
    return SOME_FAILED if result.num_failed else SUCCESS
