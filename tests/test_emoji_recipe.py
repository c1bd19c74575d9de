"""Two steps of the emoji recipe on drawings made here: from SVG to a folder that both libraries open."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.repository import REPOSITORY
from PIL import Image

from numpy_siglip import Embedder

RECIPE = REPOSITORY / "examples" / "emoji"
SHAPES = {
    "1F534": ("red circle", '<circle cx="8" cy="8" r="7" fill="red"/>'),
    "1F535": ("blue circle", '<circle cx="8" cy="8" r="7" fill="blue"/>'),
    "1F7E5": ("red square", '<rect x="2" y="2" width="12" height="12" fill="red"/>'),
    "1F7E6": ("blue square", '<rect x="2" y="2" width="12" height="12" fill="blue"/>'),
    "1F53A": ("red triangle pointed up", '<path d="M8 1 15 15H1Z" fill="red"/>'),
    "1F981": ("lion", '<circle cx="8" cy="8" r="7" fill="orange"/>'),
}


@pytest.fixture(scope="module")
def recipe():
    """Import the recipe's files, which know one another by their bare names, and forget them after."""
    sys.path.insert(0, str(RECIPE))
    names = [file.stem for file in RECIPE.glob("*.py") if file.stem != "curve"]
    yield Namespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(RECIPE))
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def data(recipe, tmp_path_factory) -> Path:
    """Packages like those of npm, each with the same six drawings, rendered."""
    data = tmp_path_factory.mktemp("emoji")
    described = [
        {"hexcode": code, "label": name, "group": 8, "tags": [*name.split(), "shape"]}
        for code, (name, _) in SHAPES.items()
    ]
    write(data, "emojibase-data", "en/data.json", described)
    icons = {name.replace(" ", "-"): {"body": body} for name, body in SHAPES.values()}
    # a skin tone, by its name, is the same concept
    icons["lion-dark-skin-tone"] = icons["lion"]
    info = {"name": "Shapes", "author": {"name": "us", "url": "-"}}
    for style in recipe.sources.STYLES:
        write(data, style.package, "icons.json", {"width": 16, "height": 16, "icons": icons})
        write(data, style.package, "info.json", info | {"license": {"title": "-", "spdx": "-", "url": "-"}})
        write(data, style.package, "package.json", {"version": "1.0"})
    recipe.drawings.render_all(data)
    return data


def write(data: Path, package: str, file: str, content: object) -> None:
    path = data / "node_modules" / package / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def options(recipe, data: Path, *more: str) -> Namespace:
    return recipe.train.arguments(
        [f"--data={data}", f"--run={data / 'run'}", "--no-compile", "--texts=4", "--warm-up=8", *more]
    )


def test_recipe_from_drawings_to_embeddings(recipe, data):
    recipe.train.run(options(recipe, data, "--until=16"))
    log = [json.loads(line) for line in (data / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["seen"] for entry in log] == [16]
    assert np.isfinite(log[0]["loss"])

    folder = data / "exported"
    recipe.export.export(data, data / "run" / "last.pt", folder)
    sheet = json.loads((folder / "sample.json").read_text())
    assert set(sheet["names"]) == {name for name, _ in SHAPES.values()}
    assert "Shapes (training)" in (folder / "LICENCES.txt").read_text()

    from transformers import AutoProcessor, SiglipModel

    model, processor = SiglipModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    picture = Image.open(folder / "lion.png").convert("RGB")
    names = ["a lion", "Red, circle!"]
    inputs = processor(images=picture, text=names, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        expected = model(input_ids=inputs["input_ids"], pixel_values=inputs["pixel_values"])
    embedder = Embedder.from_pretrained(folder)
    np.testing.assert_allclose(embedder.embed_images([picture]), expected.image_embeds.numpy(), atol=2e-6)
    np.testing.assert_allclose(embedder.embed_texts(names), expected.text_embeds.numpy(), atol=2e-6)


@pytest.mark.slow
def test_run_goes_on_where_it_stopped(recipe, data):
    whole = recipe.train.run(options(recipe, data, "--until=16", f"--run={data / 'whole'}"))
    recipe.train.run(options(recipe, data, "--until=8", f"--run={data / 'halves'}"))
    halves = recipe.train.run(options(recipe, data, "--until=16", f"--run={data / 'halves'}"))
    for one, other in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_concepts_are_found_by_any_of_their_names(recipe, data):
    concepts = recipe.concepts.Concepts(data)
    found = concepts.of_style(data, "noto", "@iconify-json/noto")
    assert found["lion-dark-skin-tone"] == found["lion"] == "1F981"
    assert recipe.concepts.plain_words("keycap: #") == "keycap hash"


def test_loss_is_that_of_transformers(recipe):
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, 5, 192, generator=generator)
    model = recipe.model.new_model(vocabulary=10, texts_in_batch=5)
    belongs = 2 * torch.eye(5) - 1
    loss = recipe.model.sigmoid_loss(images, texts, belongs, model.logit_scale, model.logit_bias)
    # as SiglipModel.forward has it
    images, texts = (x / x.norm(dim=-1, keepdim=True) for x in (images, texts))
    logits = texts @ images.T * model.logit_scale.exp() + model.logit_bias
    expected = -torch.nn.functional.logsigmoid((2 * torch.eye(5) - 1) * logits).sum(-1).mean()
    torch.testing.assert_close(loss, expected)
