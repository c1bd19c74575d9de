"""``numpy-siglip validate``: a comparison with transformers."""

from __future__ import annotations

import argparse

from ..common.defaults import DEFAULT_TOLERANCE
from .arguments import Commands, add_backend, add_model
from .image_files import Skipped
from .named_model import open_named_model, tell_inferred
from .output import SOME_FAILED, SUCCESS, print_result


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("validate", help="compare with transformers, stage by stage")
    command.add_argument("images", nargs="*", metavar="IMAGE", help="image files (default: noise)")
    add_model(command)
    command.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE,
        metavar="T",
        help=f"largest relative difference ({DEFAULT_TOLERANCE:g})",
    )
    add_backend(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the differences."""
    from ..tools.validate.validation import format_validation, validate_model

    files, skipped = open_named_model(options), Skipped()
    validation = validate_model(
        files,
        options.images,
        tolerance=options.tolerance,
        backend=options.backend,
        threads=options.threads,
        on_error=skipped,
    )
    tell_inferred(files)
    print_result(format_validation(validation))
    return SUCCESS if validation.first_divergence is None and not skipped.count else SOME_FAILED
