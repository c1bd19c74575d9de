"""Where the drawings come from: eight styles to learn from and one that the model never sees.

    python sources.py

Each set is an npm package of SVG drawings with a name for each. Sets under a share-alike licence
(OpenMoji, EmojiOne 1) are left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Style:
    """One set of drawings: the npm package, and how much of the training it gets."""

    name: str
    package: str
    weight: float
    licence: dict[str, str] | None = None
    """Of the drawings, where that of the package is another."""


# Apache 2.0, which its package names, is the licence of the code, and not of the drawings.
_FXEMOJI_DESIGN = {
    "title": "CC BY 4.0",
    "spdx": "CC-BY-4.0",
    "url": "https://github.com/mozilla/fxemoji/blob/master/LICENSE.md",
}

# The monochrome set is worth less: nothing the model will be asked about looks like it. Fluent is drawn
# twice, flat and with gradients, by one hand.
TRAINING_STYLES = (
    Style("noto", "@iconify-json/noto", 1.0),
    Style("noto-v1", "@iconify-json/noto-v1", 1.0),
    Style("twemoji", "@iconify-json/twemoji", 1.0),
    Style("fluent", "@iconify-json/fluent-emoji", 0.7),
    Style("fluent-flat", "@iconify-json/fluent-emoji-flat", 0.7),
    Style("fluent-contrast", "@iconify-json/fluent-emoji-high-contrast", 0.4),
    Style("fxemoji", "@iconify-json/fxemoji", 1.0, _FXEMOJI_DESIGN),
    Style("streamline", "@iconify-json/streamline-emojis", 1.0),
)
HELD_OUT = Style("emojione", "@iconify-json/emojione", 0.0)
STYLES = (*TRAINING_STYLES, HELD_OUT)


def fetch(data: Path) -> None:
    """Install the packages that package.json lists into ``data/node_modules``."""
    data.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", data / "package.json")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=data, check=True)


def read_json(data: Path, package: str, file: str) -> Any:
    """Return one JSON file of an installed package, or {} if the package has no such file."""
    path = data / "node_modules" / package / file
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


if __name__ == "__main__":
    fetch(Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "data"))
