"""Fixtures that more than one test file needs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.repository import PHOTOS
from helpers.toy_models import (
    AWKWARD,
    NAFLEX_TOY,
    TOY,
    save_image_processor,
    save_naflex_image_processor,
    transformers_classifier,
    transformers_full_model,
    transformers_naflex_full_model,
    transformers_naflex_model,
    transformers_vision_model,
)
from helpers.toy_vocabularies import gemma_tokenizer, write_siglip_tokenizer


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """Programs that tests call in this process may set what a signal does.

    nohup ignores one signal, and a shell ignores another for what it starts in the background.
    """
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    """Real photographs; photos/README.md says where each comes from."""
    return sorted(PHOTOS.glob("*.jpg"))


@pytest.fixture(scope="session")
def toy_model():
    """transformers' vision model of the toy configuration."""
    return transformers_vision_model(**TOY)


@pytest.fixture(scope="session")
def awkward_folder(tmp_path_factory) -> Path:
    """A tower of awkward sizes as transformers saves it. Not to be written to."""
    folder = tmp_path_factory.mktemp("awkward")
    transformers_vision_model(**AWKWARD).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_folder(toy_model, tmp_path_factory) -> Path:
    """The toy model as transformers saves it, with its image processor. Not to be written to."""
    folder = tmp_path_factory.mktemp("toy")
    toy_model.save_pretrained(folder)
    save_image_processor(folder, TOY["image_size"])
    return folder


@pytest.fixture(scope="session")
def naflex_model():
    """transformers' NaFlex vision model of the toy configuration."""
    return transformers_naflex_model(**NAFLEX_TOY)


@pytest.fixture(scope="session")
def naflex_folder(naflex_model, tmp_path_factory) -> Path:
    """The NaFlex toy as transformers saves it, for 20 patches. Not to be written to."""
    folder = tmp_path_factory.mktemp("naflex")
    naflex_model.save_pretrained(folder)
    save_naflex_image_processor(folder, patch_size=NAFLEX_TOY["patch_size"], max_num_patches=20)
    return folder


@pytest.fixture(scope="session")
def naflex_pair_model():
    """transformers' NaFlex model of both towers in the toy configuration."""
    return transformers_naflex_full_model(**NAFLEX_TOY)


@pytest.fixture(scope="session")
def naflex_pair_folder(naflex_pair_model, tmp_path_factory) -> Path:
    """The NaFlex model of both towers with all its preprocessing. Not to be written to."""
    folder = tmp_path_factory.mktemp("naflex_pair")
    naflex_pair_model.save_pretrained(folder)
    save_naflex_image_processor(folder, patch_size=NAFLEX_TOY["patch_size"], max_num_patches=20)
    gemma_tokenizer(model_input_names=["input_ids"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pair_model():
    """transformers' model of both towers in the toy configuration."""
    return transformers_full_model(**TOY)


@pytest.fixture(scope="session")
def pair_folder(pair_model, tmp_path_factory) -> Path:
    """The model of both towers as transformers saves it, with all its preprocessing. Not to be written to."""
    folder = tmp_path_factory.mktemp("pair")
    pair_model.save_pretrained(folder)
    save_image_processor(folder, TOY["image_size"])
    write_siglip_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory) -> Path:
    """A classifier of three classes as transformers saves it. Not to be written to."""
    folder = tmp_path_factory.mktemp("classifier")
    transformers_classifier(labels=("cat", "dog", "bicycle"), **TOY).save_pretrained(folder)
    save_image_processor(folder, TOY["image_size"])
    return folder
