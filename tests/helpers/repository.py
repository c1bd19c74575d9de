"""Where the repository's files are, for the tests that read them."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PHOTOS = REPOSITORY / "tests" / "photos"
