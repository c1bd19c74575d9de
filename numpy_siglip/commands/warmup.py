"""``numpy-siglip warmup``: compile everything before it is needed."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..common.progress import with_progress, write_line
from ..errors import SiglipError
from .arguments import Commands
from .output import SUCCESS


def add_to(commands: Commands) -> None:
    """Describe the command."""
    command = commands.add_parser("warmup", help="compile everything now, so that later calls need not wait")
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write the compiled code to DIR, for other machines; NUMPY_SIGLIP_KERNELS=DIR finds it there",
    )
    command.add_argument(
        "--level",
        metavar="LEVEL",
        help="with --output: the instructions to use, such as x86-64-v3 (default: those of this processor)",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, and tell what was done."""
    from ..model.backends import choose_backend

    if options.level is not None and options.output is None:
        raise SiglipError("--level is for code that is written for other machines; name a folder by --output")
    choose_backend("numba", None)  # tells it in our words if Numba is missing
    from ..kernels.catalogue.warmup import make_pack, warm_up
    from ..kernels.machine.compile_notice import NOTICE
    from ..kernels.machine.instruction_level import InstructionLevelError, instruction_level
    from ..kernels.machine.runtime import Runtime

    if importlib.util.find_spec("tqdm") is not None:  # whose bar would be written over
        NOTICE.is_wanted = False

    def watch(operations: Sequence[Any]) -> Iterable[Any]:
        show = not options.quiet and sys.stderr is not None and sys.stderr.isatty()
        return with_progress(operations, show, total=len(operations), unit="operation")

    if options.output is None:
        warmup = warm_up(Runtime(), watch)
        place = (
            f"kept in {warmup.kept_in}" if warmup.kept_in else "not kept: there is no place for them on disk"
        )
    else:
        try:
            warmup = make_pack(options.output, options.level, watch)
        except InstructionLevelError as cause:
            raise SiglipError(f"--level: {cause}") from cause
        except OSError as cause:
            raise SiglipError(f"{options.output}: {cause.strerror}") from cause
        place = f"for {options.level or instruction_level().name}, in {options.output}"
    if not options.quiet:
        write_line(
            f"{warmup.compiled} kernels compiled and {warmup.read} read in {warmup.seconds:.1f} s; {place}"
        )
    return SUCCESS
