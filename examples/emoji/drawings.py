"""Render every drawing once, into one array that training reads.

    python drawings.py data

writes ``drawings.npy``, uint8 (drawings, 72, 72, 4), and ``drawings.json``, which says for each its style,
its concept and whether it is kept for validation. Colours are premultiplied by alpha: what is then
scaled and rotated between pixels needs no care at transparent edges.
"""

from __future__ import annotations

import io
import json
import sys
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from concepts import Concepts
from PIL import Image
from sources import HELD_OUT, HERE, STYLES, read_json

SIDE = 72
VALIDATION_SHARE = 0.06


@dataclass(frozen=True)
class Drawing:
    """What is known of one rendered drawing."""

    style: str
    name: str
    code: str
    split: str  # "train", "validation", or "held out"


def svg_of(icons: dict[str, Any], name: str) -> str:
    """Return one drawing as an SVG file, centred in a square."""
    icon = icons["icons"][name]
    left, top, width, height = (
        icon.get(key, icons.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    side = max(width, height)
    left, top = left - (side - width) / 2, top - (side - height) / 2
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {side} {side}" width="{side}" height="{side}">{icon["body"]}</svg>'
    )


def render(svg: str, side: int) -> np.ndarray:
    """Return a drawing as uint8 (side, side, 4), colours premultiplied by alpha."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    return np.round(pixels).astype(np.uint8)


def is_kept(style: str, code: str) -> bool:
    """Tell whether a style's drawings of a concept are for validation: by chance, and always the same."""
    return zlib.crc32(f"{style} {code}".encode()) < VALIDATION_SHARE * 2**32


def render_all(data: Path) -> None:
    """Render every drawing that has a concept; write the array and its description."""
    concepts = Concepts(data)
    drawings: list[Drawing] = []
    rendered: list[np.ndarray] = []
    for style in STYLES:
        icons = read_json(data, style.package, "icons.json")
        codes = concepts.of_style(data, style.name, style.package)
        # A concept is kept for validation with all its skin tones, or the model would know the drawing.
        kept = {code for code in codes.values() if is_kept(style.name, code)}
        for name, code in codes.items():
            split = "held out" if style == HELD_OUT else "validation" if code in kept else "train"
            drawings.append(Drawing(style.name, name, code, split))
            rendered.append(render(svg_of(icons, name), SIDE))
        print(f"{style.name}: {len(codes)} drawings of {len(set(codes.values()))} concepts", flush=True)
    np.save(data / "drawings.npy", np.stack(rendered))
    described = {
        "concepts": [asdict(concept) for concept in concepts.by_code.values()],
        "drawings": [asdict(drawing) for drawing in drawings],
    }
    (data / "drawings.json").write_text(json.dumps(described, ensure_ascii=False, indent=0), "utf-8")


if __name__ == "__main__":
    render_all(Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "data"))
