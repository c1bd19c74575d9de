"""How tests call the command line, and what they look at afterwards."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from helpers.embedding_process import PATIENCE
from numpy_siglip.commands.command_line import main


def run(*arguments: Any) -> int:
    """The exit status of ``numpy-siglip`` with these arguments."""
    return main([str(argument) for argument in arguments])


def error_line(capsys: Any) -> str:
    """The single line on standard error."""
    captured: list[str] = capsys.readouterr().err.splitlines()
    assert len(captured) == 1, captured
    return captured[0]


def process(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """``numpy-siglip`` with these arguments in a process of its own."""
    command = [sys.executable, "-m", "numpy_siglip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
