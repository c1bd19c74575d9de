"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checkpoints.bundled import BUNDLED_MODEL, NOTE
from ..common.checks import shown
from ..common.progress import write_line
from ..errors import SiglipError
from ..kernels.choices import DEFAULT_BACKEND, DEFAULT_DTYPE
from ..kernels.machine.tuning import MOST_THREADS

Commands = Any
"""The collection to which a command adds its parser."""


def add_model(
    command: argparse.ArgumentParser, group: argparse._MutuallyExclusiveGroup | None = None
) -> None:
    """``--model``, ``--revision`` and ``--subfolder``; the first may be one of several in a group."""
    (group or command).add_argument(
        "--model",
        metavar="MODEL",
        help="folder or .safetensors file of a checkpoint, or a hub id: google/siglip-base-patch16-224 "
        f"(default: {BUNDLED_MODEL}, the model that comes with this package and knows drawings of emoji)",
    )
    add_where(command)


def add_where(command: argparse.ArgumentParser) -> None:
    """``--revision`` and ``--subfolder``: where in what MODEL names the model lies."""
    command.add_argument("--revision", metavar="R", help="branch, tag or commit; MODEL must be a hub id")
    command.add_argument(
        "--subfolder",
        metavar="DIR",
        help="folder inside MODEL, such as image_encoder of a diffusion pipeline",
    )


def settle_model(options: argparse.Namespace) -> None:
    """Take the bundled model, and say so, if a command that needs a model was given none."""
    needs_model = "model" in options and not getattr(options, "published", False)
    if needs_model and options.model is None:
        options.model = BUNDLED_MODEL
        if not getattr(options, "quiet", False):
            write_line(f"numpy-siglip: {NOTE}")


def add_backend(command: argparse.ArgumentParser) -> None:
    """``--backend`` and ``--threads``."""
    command.add_argument(
        "--backend",
        default=DEFAULT_BACKEND,
        metavar="NAME",
        help=f"numba, which is compiled, or numpy, which can be read ({DEFAULT_BACKEND})",
    )
    command.add_argument(
        "--threads", type=_threads, metavar="N", help="of the compiled backend (as many as it may use)"
    )


def add_dtype(command: argparse.ArgumentParser) -> None:
    """``--dtype``."""
    command.add_argument(
        "--dtype",
        default=DEFAULT_DTYPE,
        metavar="NAME",
        help=f"of the layers' products: float32 or int8 ({DEFAULT_DTYPE})",
    )


def add_texts(command: argparse.ArgumentParser, *, required: bool) -> None:
    """``--text`` and ``--text-file``; `read_texts` reads what they name."""
    group = command.add_mutually_exclusive_group(required=required)
    group.add_argument("--text", nargs="+", metavar="TEXT", help="texts")
    group.add_argument("--text-file", type=Path, metavar="FILE", help="texts, one on each line of a file")


def read_texts(options: argparse.Namespace) -> list[str]:
    """The texts that `add_texts` asked for, none if there are none."""
    return read_lines(options.text_file) if options.text_file else list(options.text or [])


def read_lines(file: Path) -> list[str]:
    r"""Lines of a file that are not empty, without the white space around them.

    Raises
    ------
    SiglipError
        If it cannot be read, is no text, or holds nothing.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "labels.txt"
    >>> _ = file.write_text("a cat\n\n a dog \n")
    >>> read_lines(file)
    ['a cat', 'a dog']
    """
    try:
        content = file.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise SiglipError(f"{file}: cannot be read ({cause.strerror or cause})") from cause
    except UnicodeDecodeError as cause:
        raise SiglipError(f"{file}: not text in UTF-8; convert it") from cause
    lines = [line.strip() for line in content.split("\n") if line.strip()]
    if not lines:
        raise SiglipError(f"{file}: holds no text; write one on each line")
    return lines


def folder_name(text: str) -> Path:
    """A folder to be written to, for argparse."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the folder is empty; perhaps a variable is not set")
    return Path(text)


def positive_number(text: str) -> int:
    """A count, for argparse."""
    if not text.isdecimal() or not text.isascii() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a positive whole number")
    return int(text)


def batch_size(text: str) -> int:
    """A number of images or texts at a time, for argparse."""
    from ..common.batches import check_batch_size

    try:
        return check_batch_size(int(text))
    except ValueError as cause:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a positive whole number") from cause


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
        message = f"{shown(text)} is not a number of threads from 1 to {MOST_THREADS}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
