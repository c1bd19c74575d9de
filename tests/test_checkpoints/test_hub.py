"""Hub ids: found in the local cache without a network, and never asked for when a path exists."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from numpy_siglip import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    CheckpointError,
    ConfigError,
    Embedder,
    SiglipImageProcessor,
    SiglipProcessor,
    SiglipTokenizer,
    SiglipVisionConfig,
    SiglipVisionModel,
    pipeline,
)
from numpy_siglip.checkpoints.description.model_files import open_model
from numpy_siglip.checkpoints.hub import locate_model
from numpy_siglip.errors import UnknownOptionError

REPOSITORY = "google/siglip-base-patch16-224"


@pytest.fixture
def cache(toy_folder, tmp_path, monkeypatch):
    """A hub cache that holds the toy model as one commit of a repository, and no network."""
    repository = tmp_path / "models--someone--toy-siglip"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(toy_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_the_local_cache_is_used_without_a_network(cache, toy_folder, photos):
    expected = Embedder.from_pretrained(toy_folder).embed_images(photos[:1])
    cached = Embedder.from_pretrained("someone/toy-siglip")
    np.testing.assert_array_equal(cached.embed_images(photos[:1]), expected)
    pinned = Embedder.from_pretrained(
        "someone/toy-siglip", revision="0123456789abcdef0123456789abcdef01234567"
    )
    np.testing.assert_array_equal(pinned.embed_images(photos[:1]), expected)


def test_what_is_not_cached_is_one_clear_error(cache):
    with pytest.raises(
        CheckpointError, match=r"^someone/other: no such file or folder here, and the hub"
    ) as caught:
        SiglipVisionModel.from_pretrained("someone/other")
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"^someone/toy-siglip: .*the hub did not give it"):
        SiglipVisionModel.from_pretrained("someone/toy-siglip", revision="no-such-branch")


def test_a_path_that_exists_is_never_sent_to_the_hub(toy_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub was asked")
    )
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_folder, tmp_path / "someone" / "toy")
    assert locate_model("someone/toy").samefile(tmp_path / "someone" / "toy")
    assert SiglipVisionModel.from_pretrained("someone/toy").config.hidden_size == 33


@pytest.mark.parametrize(
    "name", ["./model", "/no/model", "a/b/c", "model.safetensors", "../x", "a//b", "with space", ""]
)
def test_what_can_only_be_a_path_is_never_sent_to_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub was asked")
    )
    with pytest.raises(CheckpointError, match=r"no such file or folder$|^no model named"):
        locate_model(name)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"someone/model: .*pip install \"numpy-siglip\[hub\]\""):
        locate_model("someone/model")


def test_a_revision_of_a_local_model_is_an_error(toy_folder):
    with pytest.raises(CheckpointError, match="only a model on the hub has revisions; leave 'main' out"):
        Embedder.from_pretrained(toy_folder, revision="main")


@pytest.mark.parametrize(
    ("name", "message"),
    [("~nobody-of-this-name/x", "no such file or folder"), ("b" * 300, "File name too long")],
)
def test_odd_paths_are_named(name, message):
    with pytest.raises(CheckpointError, match=f"^{name}: .*{message}"):
        locate_model(name)


def test_no_name_at_all_is_an_error():
    with pytest.raises(CheckpointError, match="no model named"):
        locate_model(None)


def test_a_near_name_is_offered_and_the_hub_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base-int8").mkdir()
    for name, near in (("emojis", "emoji"), ("base-in8", "base-int8")):
        with pytest.raises(
            CheckpointError, match=rf"^{name}: no such file or folder.*; do you mean '{near}'\?$"
        ):
            locate_model(name)
    with pytest.raises(CheckpointError, match=r"no hub id, which has an owner, such as google/siglip-base"):
        locate_model("siglip-so400m-patch14-384")


def test_only_files_of_the_folder_itself_are_asked_for(monkeypatch, tmp_path):
    from huggingface_hub.utils import filter_repo_objects

    published = [
        *("config.json", "model.safetensors", "checkpoint-500/model.safetensors", "unet/a/x.safetensors"),
        *("image_encoder/model.safetensors", "image_encoder/old/model.safetensors", "README.md"),
    ]
    asked = []

    def download(_, *, revision, allow_patterns, ignore_patterns):
        assert revision is None
        patterns = {"allow_patterns": allow_patterns, "ignore_patterns": ignore_patterns}
        asked.append(list(filter_repo_objects(published, **patterns)))
        return str(tmp_path)

    (tmp_path / "image_encoder").mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert locate_model("someone/toy") == tmp_path
    assert locate_model("someone/toy", subfolder="image_encoder") == tmp_path / "image_encoder"
    assert asked == [["config.json", "model.safetensors"], ["image_encoder/model.safetensors"]]


def test_a_snapshot_that_lacks_something_is_used(monkeypatch, toy_folder):
    class IncompleteSnapshotError(Exception):
        snapshot_path = str(toy_folder)

    def download(*_, **__):
        raise IncompleteSnapshotError

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert SiglipVisionModel.from_pretrained("someone/toy").config.hidden_size == 33


def test_a_subfolder_of_a_folder(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder.parent, subfolder=toy_folder.name)
    assert model.config.hidden_size == 33
    for subfolder, message in (("none", "has no subfolder none"), ("../x", "does not lie inside")):
        with pytest.raises(CheckpointError, match=message):
            SiglipVisionModel.from_pretrained(toy_folder, subfolder=subfolder)


@pytest.mark.hub
def test_published_checkpoint_equals_transformers(photos):
    """Downloads google/siglip-base-patch16-224 (813 MB)."""
    from numpy_siglip.tools.validate.validation import validate_model

    validation = validate_model(REPOSITORY, list(photos))
    assert validation.first_divergence is None


@pytest.mark.parametrize(
    "load",
    [
        SiglipVisionModel.from_pretrained,
        AutoModel.from_pretrained,
        AutoConfig.from_pretrained,
        SiglipVisionConfig.from_pretrained,
        SiglipImageProcessor.from_pretrained,
        AutoImageProcessor.from_pretrained,
        Embedder.from_pretrained,
        lambda model, **options: pipeline("image-feature-extraction", model, **options),
    ],
)
def test_options_of_the_hub_are_handed_on(load, toy_folder, monkeypatch):
    asked = {}

    def download(repository, **options):
        asked.update(options, repository=repository)
        return str(toy_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    options = {"cache_dir": "here", "force_download": True, "local_files_only": True, "token": "hf_a"}
    load("someone/toy", revision="main", **options)
    patterns = {"allow_patterns", "ignore_patterns"}
    assert {name: value for name, value in asked.items() if name not in patterns} == {
        "repository": "someone/toy",
        "revision": "main",
        **options,
    }
    asked.clear()
    load("someone/toy", token=None, local_files_only=None)
    assert asked.keys() == {"repository", "revision", *patterns}
    load(toy_folder, **options)  # of what is here they ask nothing
    load(toy_folder.parent, subfolder=toy_folder.name)


@pytest.mark.parametrize("load", [SiglipTokenizer, AutoTokenizer, SiglipProcessor, AutoProcessor])
def test_options_of_the_hub_are_handed_on_for_texts(load, pair_folder, monkeypatch):
    asked = {}

    def download(_, **options):
        asked.update(options)
        return str(pair_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    load.from_pretrained("someone/toy", cache_dir="here", local_files_only=True)
    assert (asked["cache_dir"], asked["local_files_only"]) == ("here", True)


def test_other_options_are_not_handed_on(toy_folder):
    for model in (toy_folder, "someone/toy"):
        with pytest.raises(UnknownOptionError, match="do you mean 'cache_dir'"):
            open_model(model, cachedir="here")
        with pytest.raises(ConfigError, match="local_files_only is 'no'; it must be true or false"):
            open_model(model, local_files_only="no")
