"""The ``numpy-siglip`` command.

Only argparse is imported at the top: each subcommand imports what it needs when it runs, so that
``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import SiglipError
from .progress import write_line

SUCCESS, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is success; 1 means that some image was left out or that validation found a difference; 2
    is an error, told in one line on standard error; 130 is an interruption by Ctrl-C.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Examples
    --------
    >>> main(["inspect", "--published"])  # doctest: +ELLIPSIS
    | checkpoint | family | image | patch | tokens | width | layers | parameters | GFLOP per image |
    ...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except SiglipError as error:
        write_line(f"numpy-siglip: error: {error}")
        return ERROR
    except BrokenPipeError:  # the reader of our output left, as head does; that is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        write_line(f"numpy-siglip: error: {place}{error.strerror or error}")
        return ERROR
    except KeyboardInterrupt:
        write_line("numpy-siglip: interrupted")
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="numpy-siglip",
        description="SigLIP image embeddings on the CPU, in NumPy, equal to transformers.",
    )
    parser.add_argument("--version", action="version", version=f"numpy-siglip {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    embed = commands.add_parser("embed", help="turn image files into an array of embeddings")
    embed.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them"
    )
    _add_model(embed)
    embed.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT.npy",
        help="the array; OUT.paths.txt lists its rows",
    )
    embed.add_argument("--normalize", action="store_true", help="scale every embedding to length 1")
    embed.add_argument("--batch-size", type=_positive, default=8, metavar="N", help="images at a time (8)")
    embed.add_argument(
        "--apply-exif-orientation",
        action="store_true",
        help="turn photographs upright as their EXIF tag asks",
    )
    embed.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    embed.set_defaults(run=_embed)

    inspect = commands.add_parser("inspect", help="configuration, cost and tensors of a checkpoint")
    which = inspect.add_mutually_exclusive_group(required=True)
    _add_model(inspect, which)
    which.add_argument("--published", action="store_true", help="the table of published checkpoints instead")
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.set_defaults(run=_inspect)

    validate = commands.add_parser("validate", help="compare with transformers, stage by stage")
    validate.add_argument(
        "images", nargs="*", type=Path, metavar="IMAGE", help="image files (default: noise)"
    )
    _add_model(validate)
    validate.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="T", help="largest relative difference (1e-4)"
    )
    validate.set_defaults(run=_validate)

    visualize = commands.add_parser("visualize", help="draw what the model sees in an image")
    visualize.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    _add_model(visualize)
    visualize.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the pictures; made if missing"
    )
    visualize.set_defaults(run=_visualize)
    return parser


def _add_model(
    command: argparse.ArgumentParser, group: argparse._MutuallyExclusiveGroup | None = None
) -> None:
    (group or command).add_argument(
        "--model",
        required=group is None,
        metavar="MODEL",
        help="folder or .safetensors file of a checkpoint, or a hub id: google/siglip-base-patch16-224",
    )
    command.add_argument("--revision", metavar="R", help="branch, tag or commit, if MODEL is a hub id")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _embed(options: argparse.Namespace) -> int:
    from .embed_files import embed_files, paths_file, save_embeddings
    from .embedder import Embedder
    from .images import find_images
    from .progress import with_progress

    output: Path = options.output
    if output.suffix != ".npy":
        raise SiglipError(f"{output}: the output must be called something.npy")
    if not output.parent.is_dir():
        raise SiglipError(f"{output.parent}: no such folder for the output; make it first")
    embedder = Embedder.from_pretrained(options.model, revision=options.revision)
    files = list(find_images(options.images))
    if not files:
        raise SiglipError(f"no image files in {', '.join(map(str, options.images))}")
    show_progress = not options.quiet and len(files) > 1 and sys.stderr.isatty()
    result = embed_files(
        embedder,
        with_progress(files, show_progress, total=len(files)),
        report=lambda line: write_line(f"numpy-siglip: skipped: {line}"),
        batch_size=options.batch_size,
        normalize=options.normalize,
        apply_exif_orientation=options.apply_exif_orientation,
    )
    if not result.paths:
        write_line("numpy-siglip: no image was embedded, nothing was written")
        return INTERRUPTED if result.interrupted else SOME_FAILED
    save_embeddings(output, result)
    if not options.quiet:
        count, listing = len(result.paths), paths_file(output)
        write_line(
            f"{count} embedding{'s' * (count > 1)} of {result.width} numbers in {output}, paths in {listing}"
        )
    if result.interrupted:
        write_line(f"numpy-siglip: interrupted after {len(result.paths)} of {len(files)} images")
        return INTERRUPTED
    return SOME_FAILED if result.num_failed else SUCCESS


def _inspect(options: argparse.Namespace) -> int:
    if options.published:
        from .published import published_report, published_table

        print(json.dumps(published_report(), indent=2) if options.json else published_table())
        return SUCCESS
    from .inspection import format_report, inspect_model

    report = inspect_model(options.model, revision=options.revision)
    print(json.dumps(report, indent=2) if options.json else format_report(report))
    return SUCCESS


def _validate(options: argparse.Namespace) -> int:
    from .validation import format_validation, validate_model

    validation = validate_model(
        options.model, options.images, tolerance=options.tolerance, revision=options.revision
    )
    print(format_validation(validation))
    return SUCCESS if validation.first_divergence is None else SOME_FAILED


def _visualize(options: argparse.Namespace) -> int:
    from .visualization import visualize

    for picture in visualize(options.image, options.model, options.output, revision=options.revision):
        print(picture)
    return SUCCESS
