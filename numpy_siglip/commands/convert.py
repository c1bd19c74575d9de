"""``numpy-siglip convert``: a checkpoint of any layout for transformers."""

from __future__ import annotations

import argparse

from .arguments import Commands, add_where, folder_name
from .named_model import open_named_model
from .output import SUCCESS, print_result


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("convert", help="write a checkpoint as a folder that transformers opens")
    command.add_argument(
        "model", metavar="MODEL", help="folder or file of a checkpoint in any layout, or a hub id"
    )
    command.add_argument(
        "folder", type=folder_name, metavar="DIR", help="made if missing; nothing in it is replaced"
    )
    add_where(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the folder and print what is in it."""
    from ..tools.conversion import convert_model, format_conversion

    conversion = convert_model(open_named_model(options), options.folder)
    print_result(format_conversion(conversion))
    return SUCCESS
