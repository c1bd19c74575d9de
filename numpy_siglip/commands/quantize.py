"""``numpy-siglip quantize``: a model with its maps in integers of 8 bits, and what that costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import SiglipError
from .arguments import Commands, add_backend, add_where, folder_name
from .image_files import Skipped
from .named_model import open_named_model, tell_inferred
from .output import SOME_FAILED, SUCCESS, print_result


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser(
        "quantize", help="write a model with 8-bit weights, and measure its accuracy"
    )
    command.add_argument("model", metavar="MODEL", help="folder or file of a checkpoint, or a hub id")
    group = command.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--output",
        type=folder_name,
        metavar="DIR",
        help="folder to write, made if missing; nothing in it is replaced",
    )
    group.add_argument(
        "--sensitivity", action="store_true", help="write nothing; tell which maps cost most accuracy"
    )
    command.add_argument(
        "--images", type=Path, metavar="FOLDER", help="images to balance by and to measure on (drawn noise)"
    )
    command.add_argument(
        "--float32-layers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="leave these as they are, such as encoder.layers.0 or encoder.layers.11.mlp.fc2",
    )
    command.add_argument("--no-balance", action="store_true", help="quantise the weights as they are")
    add_where(command)
    add_backend(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Quantise and print what came of it."""
    skipped = Skipped()
    chosen = {
        "on_error": skipped,
        "images": options.images,
        "backend": options.backend,
        "threads": options.threads,
    }
    files = open_named_model(options)
    if options.sensitivity:
        if options.float32_layers or options.no_balance:
            raise SiglipError("--sensitivity writes nothing; leave --float32-layers and --no-balance out")
        from ..tools.quantize.sensitivity import format_sensitivity, scan_sensitivity

        result = scan_sensitivity(files, **chosen)
        tell_inferred(files)
        print_result(format_sensitivity(result))
        return SOME_FAILED if skipped.count else SUCCESS
    from ..tools.quantize.quantization import quantize_model
    from ..tools.quantize.quantization_report import format_quantization

    quantization = quantize_model(
        files,
        options.output,
        balance=not options.no_balance,
        float32_layers=options.float32_layers,
        **chosen,
    )
    tell_inferred(files)
    print_result(format_quantization(quantization))
    return SOME_FAILED if skipped.count else SUCCESS
