"""Packs: folders of compiled kernels that are written once and then only read, also on other machines.

A pack serves every processor of the level of instructions that it was made for, with the same versions of
this package, Python, Numba and LLVM. It is found in

* the folders that ``NUMPY_SIGLIP_KERNELS`` names, separated as in ``PATH``,
* the folder ``compiled`` beside the sources of the kernels,

and a file ``pack.json`` in it says what it was made for. Of a pack that was made for something else no file
is read, and one line in the log says so; nor is one of a folder that others may write to.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from .instruction_level import instruction_level
from .kept_files import why_not_to_trust
from .sources import SOURCES, source_digest

_LOG = logging.getLogger("numpy_siglip")

VARIABLE = "NUMPY_SIGLIP_KERNELS"
"""The environment variable that names folders of packs."""

DESCRIPTION = "pack.json"
_MAKING: list[Path] = []


def description_of_this_process() -> dict[str, str]:
    """What a pack must have been made for to be of use here.

    Examples
    --------
    >>> sorted(description_of_this_process())
    ['level', 'llvmlite', 'numba', 'python', 'source', 'system']
    """
    return {
        "level": instruction_level().name,
        "system": platform.system(),
        "source": source_digest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
    }


@functools.cache
def folders_of_packs() -> tuple[Path, ...]:
    """The packs that this process may read.

    Examples
    --------
    >>> isinstance(folders_of_packs(), tuple)
    True
    """
    named = [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    beside = SOURCES / "compiled"
    folders = [*named, *([beside] if beside.is_dir() else [])]
    reasons = {folder: _why_not_to_use(folder) for folder in folders}
    of_use = tuple(folder for folder, reason in reasons.items() if not reason)
    for folder, reason in reasons.items():
        if reason:  # no more than a remark if there is another one, as where packs for all levels are named
            level = logging.INFO if of_use else logging.WARNING
            _LOG.log(level, "the compiled kernels in %s are not used: %s", folder, reason)
    return of_use


def _why_not_to_use(folder: Path) -> str:
    """Why a pack is of no use to this process, or nothing if it is."""
    try:
        reason = why_not_to_trust(folder) or why_not_to_trust(folder / DESCRIPTION)
        if reason:
            return reason
        made_for = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return "; ".join(
            f"it was made for {name} {made_for.get(name)}, and this process needs {value}"
            for name, value in description_of_this_process().items()
            if made_for.get(name) != value
        )
    except OSError as cause:
        return f"{DESCRIPTION}: {cause.strerror}"
    except (ValueError, AttributeError):
        return f"{DESCRIPTION} cannot be read"


def pack_being_made() -> Path | None:
    """The folder to which this process writes all that it compiles, if it makes a pack.

    Examples
    --------
    >>> pack_being_made()
    """
    return _MAKING[-1] if _MAKING else None


@contextlib.contextmanager
def making_pack(folder: Path) -> Iterator[None]:
    """Write what is compiled meanwhile to a folder, and read it from nowhere else.

    In the end a description is written, without which the folder is no pack.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Raises
    ------
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "pack"
    >>> with making_pack(folder):
    ...     pack_being_made() == folder
    True
    >>> [file.name for file in folder.iterdir()]
    ['pack.json']
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    temporary = folder / f"{DESCRIPTION}.{os.getpid()}"
    _MAKING.append(folder)
    try:
        yield
        temporary.write_text(json.dumps(description_of_this_process(), indent=2) + "\n", encoding="utf-8")
        temporary.replace(folder / DESCRIPTION)
    finally:
        _MAKING.pop()
        with contextlib.suppress(OSError):
            temporary.unlink()
