"""What a measurement was made on, without saying whose it is: no host names, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "numpy-siglip",
    "numpy",
    "numba",
    "llvmlite",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "openvino",
)
_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
_REPOSITORY = Path(__file__).parents[2]


def describe_machine() -> dict[str, Any]:
    """Processor, memory, system, versions, commit, date and load.

    Examples
    --------
    >>> sorted(describe_machine())
    ['commit', 'date', 'load_average', 'machine', 'modified', 'versions']
    """
    commit, modified = _commit()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "modified": modified,
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "cores_of_machine": os.cpu_count(),
            "instructions": _instructions(),
            "memory": _memory(),
            "system": _system(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def short_name(machine: dict[str, Any]) -> str:
    """A few words for a file name.

    Examples
    --------
    >>> short_name({"processor": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "cores": 2})
    'intel-xeon-platinum-8481c-2-cores'
    """
    words = re.sub(r"\((R|TM)\)|\bCPU\b|\bProcessor\b|@.*|\d+-Core", " ", machine["processor"], flags=re.I)
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "unknown"
    return f"{name}-{machine['cores']}-core{'s' if machine['cores'] != 1 else ''}"


def _processor() -> str:
    for key in ("model name", "Model", "Hardware"):
        value = _cpuinfo(key)
        if value:
            return value
    return platform.processor() or platform.machine()


def _instructions() -> list[str]:
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return [name for name in _INSTRUCTIONS if name in flags]


def _cpuinfo(key: str) -> str:
    try:
        found = re.search(rf"^{key}\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _system() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {kernel}"
    return f"{name}, {platform.system()} {kernel}"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the source, and whether files it knows have been changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):  # no git, or a copy without history
        return None, None
