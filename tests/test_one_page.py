"""The page that one learns from computes what the package computes, is one page, and stands on its own."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.assert_close import assert_close
from helpers.embedding_process import PATIENCE
from PIL import Image

from numpy_siglip import Embedder

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "examples" / "siglip_on_one_page.py"
MODEL = REPOSITORY / "numpy_siglip" / "emoji"
SHOWN = """\
    0.9989  a lion
  0.001219  a tiger
 1.195e-06  a pizza
"""
"""What README shows."""


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location(PAGE.stem, PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_pretrained("emoji")


@pytest.fixture(scope="module")
def pictures(photos, tmp_path_factory) -> list[Path]:
    """The lion, drawings of the sample sheet, half a lion that is transparent, and a photograph."""
    folder = tmp_path_factory.mktemp("pictures")
    sample = json.loads((MODEL / "sample.json").read_text("utf-8"))
    side, columns = sample["side"], sample["columns"]
    files = [MODEL / "lion.png", photos[0]]
    with Image.open(MODEL / "sample.png") as sheet:
        for index in range(0, len(sample["names"]), 100):
            top, left = (side * place for place in divmod(index, columns))
            files.append(folder / f"{index}.png")
            sheet.crop((left, top, left + side, top + side)).save(files[-1])
    with Image.open(MODEL / "lion.png") as lion:
        half = lion.convert("RGB").crop((0, 0, lion.width, lion.height // 2))
    half.putalpha(100)
    half.save(folder / "half.png")
    return [*files, folder / "half.png"]


def test_its_image_embeddings_are_the_packages(page, embedder, pictures):
    assert len(pictures) > 7
    expected = embedder.embed_images(pictures)
    for picture, row in zip(pictures, expected, strict=True):
        assert_close(page.siglip(picture, ["a cat"])[0], row, relative=1e-5, name=picture.name)


def test_its_probabilities_are_the_packages(page, embedder, pictures):
    texts = [
        "a lion",
        "A Lion!",
        "two-hump camel",
        "crème brûlée …",
        "",
        " wide\tspace ",
        "a cat, " * 60,
        "🦁",
    ]
    expected = embedder.classify(pictures[:2], texts)
    for picture, row in zip(pictures[:2], expected, strict=True):
        assert_close(page.siglip(picture, texts)[1], row, relative=1e-5, name=picture.name)


def test_it_is_one_page():
    assert len(PAGE.read_text().splitlines()) < 120


def test_it_needs_nothing_of_the_package():
    imported = set()
    for node in ast.walk(ast.parse(PAGE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or "").partition(".")[0])
    assert "numpy" in imported
    assert imported - sys.stdlib_module_names <= {"numpy", "PIL", "safetensors", "tokenizers"}


@pytest.mark.parametrize(
    "arguments",
    [["numpy_siglip/emoji/lion.png", "a lion", "a tiger", "a pizza"], []],
    ids=["given", "default"],
)
def test_the_command_prints_what_is_shown(arguments):
    command = [sys.executable, str(PAGE.relative_to(REPOSITORY)), *arguments]
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (result.stdout, result.stderr) == (SHOWN, "")
