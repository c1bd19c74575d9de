"""The ``numpy-siglip`` command.

Only argparse is imported at the top: each subcommand imports what it needs when it runs, so that
``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from . import __version__
from .checks import shown
from .errors import SiglipError
from .progress import on_one_line, write_line

SUCCESS, SOME_FAILED, ERROR, INTERRUPTED = 0, 1, 2, 130
_MOST_THREADS = 1024
_MEMORY_ADVICE = "embed fewer images at a time (--batch-size), or look for a wrong size in the model's files"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is success; 1 means that some image was left out or that validation found a difference; 2
    is an error, told in one line on standard error (below the usage, if that is what was wrong); 130 is
    an interruption by Ctrl-C.

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
        with warnings.catch_warnings():
            # Pillow refuses an image of twice this size by itself, and what it accepts is no news.
            warnings.filterwarnings("ignore", message=r"Image size \(.*decompression bomb")
            warnings.showwarning = _show_warning
            status: int = options.run(options)
    except SiglipError as error:
        write_line(f"numpy-siglip: error: {error}")
        return ERROR
    except BrokenPipeError:  # the reader of our output left, as head does; that is no error of ours
        _drop_output()
        return SUCCESS
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        write_line(f"numpy-siglip: error: {place}{error.strerror or error}")
        return ERROR
    except MemoryError as error:
        write_line(f"numpy-siglip: error: not enough memory: {error or 'none is left'}; {_MEMORY_ADVICE}")
        return ERROR
    except KeyboardInterrupt:
        write_line("numpy-siglip: interrupted")
        return INTERRUPTED
    return status


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell a warning on one line, without the place in the code that it comes from."""
    write_line(f"numpy-siglip: warning: {message}")


def _print(text: str) -> None:
    """Write a result to standard output: all of it, at once, in characters that it can show."""
    if sys.stdout is None:
        raise SiglipError("standard output is closed, and the result goes there")
    text = "\n".join(map(on_one_line, text.split("\n")))  # names from a file may hold control characters
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as cause:
        _drop_output()
        raise SiglipError(f"standard output: {cause.strerror or cause}") from cause


def _drop_output() -> None:
    """Keep Python from trying again, when it exits, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(on_one_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="numpy-siglip",
        description="SigLIP image embeddings on the CPU, in NumPy, equal to transformers.",
    )
    parser.add_argument("--version", action="version", version=f"numpy-siglip {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    embed = commands.add_parser("embed", help="turn image files into an array of embeddings")
    embed.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, or folders to search through (links to folders inside them are left alone)",
    )
    _add_model(embed)
    embed.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT.npy",
        help="the array; OUT.paths.txt lists its rows",
    )
    embed.add_argument(
        "--normalize",
        action="store_true",
        help="scale every embedding to length 1 (default: the model's pooler_output as it is)",
    )
    embed.add_argument("--batch-size", type=_batch_size, default=8, metavar="N", help="images at a time (8)")
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
    validate.add_argument("images", nargs="*", metavar="IMAGE", help="image files (default: noise)")
    _add_model(validate)
    validate.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="T", help="largest relative difference (1e-4)"
    )
    validate.set_defaults(run=_validate)

    visualize = commands.add_parser("visualize", help="draw what the model sees in an image")
    visualize.add_argument("image", metavar="IMAGE", help="image file")
    _add_model(visualize)
    visualize.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the pictures; made if missing"
    )
    visualize.set_defaults(run=_visualize)

    for command in (embed, validate, visualize):
        command.add_argument(
            "--backend", default="numba", metavar="NAME", help="numba (default, compiled) or numpy (to read)"
        )
        command.add_argument(
            "--threads", type=_threads, metavar="N", help="of the compiled backend (as many as it may use)"
        )

    convert = commands.add_parser("convert", help="write a checkpoint as a folder that transformers opens")
    convert.add_argument(
        "model", metavar="MODEL", help="folder or file of a checkpoint in any layout, or a hub id"
    )
    convert.add_argument(
        "folder", type=Path, metavar="DIR", help="made if missing; nothing in it is replaced"
    )
    convert.add_argument("--revision", metavar="R", help="branch, tag or commit; MODEL must be a hub id")
    convert.set_defaults(run=_convert)

    warmup = commands.add_parser("warmup", help="compile everything now, so that later calls need not wait")
    warmup.set_defaults(run=_warmup)
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
    command.add_argument("--revision", metavar="R", help="branch, tag or commit; MODEL must be a hub id")


def _batch_size(text: str) -> int:
    from .batches import check_batch_size

    try:
        return check_batch_size(int(text))
    except ValueError as cause:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a positive whole number of images") from cause


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_THREADS:
        message = f"{shown(text)} is not a number of threads from 1 to {_MOST_THREADS}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _embed(options: argparse.Namespace) -> int:
    from .embed_files import check_output, embed_files, paths_file, save_embeddings
    from .embedder import Embedder
    from .images import find_images
    from .progress import with_progress

    output: Path = options.output
    check_output(output)
    embedder = Embedder.from_pretrained(
        options.model, backend=options.backend, threads=options.threads, revision=options.revision
    )
    files = list(find_images(options.images))
    if not files:
        raise SiglipError(f"no image files in {', '.join(options.images)}")
    show_progress = not options.quiet and len(files) > 1 and sys.stderr is not None and sys.stderr.isatty()
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

        _print(json.dumps(published_report(), indent=2) if options.json else published_table())
        return SUCCESS
    from .inspection import format_report, inspect_model

    report = inspect_model(options.model, revision=options.revision)
    _print(json.dumps(report, indent=2) if options.json else format_report(report))
    return SUCCESS


def _validate(options: argparse.Namespace) -> int:
    from .validation import format_validation, validate_model

    validation = validate_model(
        options.model,
        options.images,
        tolerance=options.tolerance,
        backend=options.backend,
        threads=options.threads,
        revision=options.revision,
    )
    _print(format_validation(validation))
    return SUCCESS if validation.first_divergence is None else SOME_FAILED


def _visualize(options: argparse.Namespace) -> int:
    from .visualization import visualize

    pictures = visualize(
        options.image,
        options.model,
        options.output,
        backend=options.backend,
        threads=options.threads,
        revision=options.revision,
    )
    for picture in pictures:
        _print(str(picture))
    return SUCCESS


def _convert(options: argparse.Namespace) -> int:
    from .conversion import convert_model, format_conversion

    _print(format_conversion(convert_model(options.model, options.folder, revision=options.revision)))
    return SUCCESS


def _warmup(options: argparse.Namespace) -> int:
    from .backends import choose_backend

    choose_backend("numba", None)  # tells it in our words if Numba is missing
    from .kernels.runtime import Runtime
    from .kernels.warmup import warm_up

    warmup = warm_up(Runtime())
    place = f"kept in {warmup.kept_in}" if warmup.kept_in else "not kept: there is no place for them on disk"
    write_line(
        f"{warmup.compiled} kernels compiled and {warmup.read} read in {warmup.seconds:.1f} s; {place}"
    )
    return SUCCESS
