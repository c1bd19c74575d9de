"""``numpy-siglip visualize``: pictures of what the model sees."""

from __future__ import annotations

import argparse

from .arguments import Commands, add_backend, add_model, folder_name
from .named_model import open_named_model, tell_inferred
from .output import SUCCESS, print_result


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("visualize", help="draw what the model sees in an image")
    command.add_argument("image", metavar="IMAGE", help="image file")
    add_model(command)
    command.add_argument(
        "--output",
        type=folder_name,
        required=True,
        metavar="DIR",
        help="folder for the pictures; made if missing",
    )
    add_backend(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the pictures and print their names."""
    from ..tools.visualize.visualization import visualize

    files = open_named_model(options)
    pictures = visualize(
        options.image,
        files,
        options.output,
        backend=options.backend,
        threads=options.threads,
    )
    tell_inferred(files)
    for picture in pictures:
        print_result(str(picture))
    return SUCCESS
