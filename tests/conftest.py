"""Fixtures that more than one test file needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import TOY, save_image_processor, transformers_vision_model

PHOTOS = Path(__file__).parent / "photos"


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    """Real photographs; photos/README.md says where each comes from."""
    return sorted(PHOTOS.glob("*.jpg"))


@pytest.fixture(scope="session")
def toy_model():
    """transformers' vision model of the toy configuration."""
    return transformers_vision_model(**TOY)


@pytest.fixture(scope="session")
def toy_folder(toy_model, tmp_path_factory) -> Path:
    """The toy model as transformers saves it, with its image processor. Not to be written to."""
    folder = tmp_path_factory.mktemp("toy")
    toy_model.save_pretrained(folder)
    save_image_processor(folder, TOY["image_size"])
    return folder
