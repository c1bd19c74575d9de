"""How large the caches are of which a thread can call a share its own: the first level, and the second.

Blocks of products, attention and layers are cut to fit them; see `tuning`. No bit of a result depends on it.

The sizes are asked of the system: of Linux's files on processor 0, of ``sysctl`` on macOS. What several
processors share is divided among them. Where nobody answers, or with nonsense, as virtual machines do, they
are 32 kilobytes and half a megabyte, which few processors of today have less of. ``NUMPY_SIGLIP_CACHES``,
two numbers of bytes with a comma between them, overrides what was found.

Linux, Documentation/ABI/testing/sysfs-devices-system-cpu; Apple, "sysctl", hw.perflevel0.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from .processor import ask_apple

VARIABLE = "NUMPY_SIGLIP_CACHES"
"""The environment variable that overrides both sizes."""

_PROCESSOR = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"": 1, "K": 2**10, "M": 2**20}


class Caches(NamedTuple):
    """Bytes of the caches of one thread."""

    first: int
    """Data, first level"""
    second: int
    """Second level"""


DEFAULT = Caches(32 * 2**10, 512 * 2**10)
SMALLEST, LARGEST = Caches(8 * 2**10, 64 * 2**10), Caches(2**20, 64 * 2**20)
"""What is below or above is not believed."""


@functools.cache
def caches() -> Caches:
    """The caches of the processor, as far as they are known.

    Raises
    ------
    ValueError
        If ``NUMPY_SIGLIP_CACHES`` is set and does not hold two positive numbers.

    Examples
    --------
    >>> caches().first < caches().second
    True
    """
    wanted = os.environ.get(VARIABLE)
    if wanted:
        sizes = [int(size) for size in wanted.split(",") if size.strip().isdecimal()]
        if len(sizes) != 2 or min(sizes) < 1 or wanted.count(",") != 1:
            raise ValueError(f"{VARIABLE} is {wanted!r}; it must be two numbers of bytes: 32768,524288")
        return Caches(*sizes)
    found = _ask_apple() if sys.platform == "darwin" else read_sizes(_PROCESSOR)
    levels = zip(found, SMALLEST, LARGEST, DEFAULT, strict=True)
    return Caches(*(size if low <= size <= high else default for size, low, high, default in levels))


def read_sizes(folder: Path) -> Caches:
    """What Linux says of a processor; 0 where it says nothing.

    Parameters
    ----------
    folder : Path
        Of the caches of the processor.

    Examples
    --------
    >>> read_sizes(Path("nowhere"))
    Caches(first=0, second=0)
    """
    sizes = {1: 0, 2: 0}
    for cache in sorted(folder.glob("index*")):
        try:
            level, kind, size, sharing = (
                (cache / name).read_text().strip() for name in ("level", "type", "size", "shared_cpu_list")
            )
        except OSError:
            continue
        match = re.fullmatch(r"(\d+)([KM]?)", size)
        if match and kind in ("Data", "Unified") and int(level) in sizes:
            sizes[int(level)] = int(match[1]) * _UNITS[match[2]] // _number_of_processors(sharing)
    return Caches(sizes[1], sizes[2])


def _number_of_processors(text: str) -> int:
    """How many a list such as ``0-3,8`` names."""
    total = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            total += int(last or first) - int(first) + 1
    return max(1, total)


def _ask_apple() -> Caches:
    """Of the fast cores, which share their second level."""
    first, second = ask_apple("hw.perflevel0.l1dcachesize"), ask_apple("hw.perflevel0.l2cachesize")
    return Caches(first, second // max(1, ask_apple("hw.perflevel0.cpusperl2")))
