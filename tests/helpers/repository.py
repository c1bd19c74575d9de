"""Where the repository's files are, for the tests that read or copy them."""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PHOTOS = REPOSITORY / "tests" / "photos"


def copy_of_the_package(folder: Path) -> Path:
    """The package in this folder as it is installed, with kernels inside it, for a test to change."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "numpy_siglip", folder / "numpy_siglip", ignore=ignored)
    shutil.copytree(REPOSITORY / "kernels", folder / "numpy_siglip" / "kernels", ignore=ignored)
    return folder / "numpy_siglip"
