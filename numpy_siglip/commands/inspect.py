"""``numpy-siglip inspect``: what a checkpoint holds."""

from __future__ import annotations

import argparse
import json

from .arguments import Commands, add_model
from .named_model import open_named_model
from .output import SUCCESS, print_result


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("inspect", help="configuration, cost and tensors of a checkpoint")
    which = command.add_mutually_exclusive_group()
    add_model(command, which)
    which.add_argument("--published", action="store_true", help="the table of published checkpoints instead")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    if options.published:
        from ..tools.published import published_report, published_table

        print_result(json.dumps(published_report(), indent=2) if options.json else published_table())
        return SUCCESS
    from ..tools.inspection import format_report, inspect_model

    report = inspect_model(open_named_model(options))
    print_result(json.dumps(report, indent=2) if options.json else format_report(report))
    return SUCCESS
