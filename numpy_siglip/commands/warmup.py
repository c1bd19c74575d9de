"""``numpy-siglip warmup``: compile everything before it is needed."""

from __future__ import annotations

import argparse

from ..common.progress import write_line
from .arguments import Commands
from .output import SUCCESS


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("warmup", help="compile everything now, so that later calls need not wait")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, and tell what was done."""
    from ..model.backends import choose_backend

    choose_backend("numba", None)  # tells it in our words if Numba is missing
    from ..kernels.catalogue.warmup import warm_up
    from ..kernels.machine.runtime import Runtime

    warmup = warm_up(Runtime())
    place = f"kept in {warmup.kept_in}" if warmup.kept_in else "not kept: there is no place for them on disk"
    write_line(
        f"{warmup.compiled} kernels compiled and {warmup.read} read in {warmup.seconds:.1f} s; {place}"
    )
    return SUCCESS
