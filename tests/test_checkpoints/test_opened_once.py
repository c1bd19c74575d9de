"""No header, index or configuration of a model is read a second time, and the hub is asked once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from helpers.embedding_process import PATIENCE
from helpers.layout_writers import flax_tensors, open_clip_tensors, save_npz, timm_tensors
from helpers.published_model import HEADS, HEADS_OF_BOTH, TEXT_HEADS, save
from helpers.toy_models import save_image_processor
from helpers.toy_vocabularies import write_siglip_tokenizer

from numpy_siglip import (
    CheckpointError,
    Embedder,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTextModel,
    SiglipTokenizer,
    SiglipVisionConfig,
    inspect_model,
)
from numpy_siglip.checkpoints.description.model_files import open_model

# Counts what Python opens, which nothing can undo, and so needs a process of its own. Headers are counted by
# the library that checks them, and by the directory of an archive.
SCRIPT = """
import collections, json, os, sys
import safetensors, zipfile
counts = collections.Counter()
folder = os.path.realpath(sys.argv[1])

def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(folder + os.sep) and not path.endswith((".safetensors", ".npz")):
            counts[os.path.relpath(path, folder)] += 1

def counting(function):
    def counted(file, *arguments, **options):
        if os.path.realpath(os.fsdecode(file)).startswith(folder):
            counts["header of " + os.path.basename(os.fsdecode(file))] += 1
        return function(file, *arguments, **options)
    return counted

class CountingZipFile(zipfile.ZipFile):
    def __init__(self, file, *arguments, **options):
        name = getattr(file, "name", file)
        counts["header of " + os.path.basename(os.fsdecode(name))] += 1
        super().__init__(file, *arguments, **options)

sys.addaudithook(audit)
safetensors.safe_open = counting(safetensors.safe_open)
zipfile.ZipFile = CountingZipFile
model, photo, output = sys.argv[2:]
found = {}
for name, code in json.load(sys.stdin).items():
    counts.clear()
    exec(code)
    found[name] = dict(counts)
print(json.dumps(found))
"""

EMBED = """
from numpy_siglip import Embedder
embedder = Embedder.from_pretrained(model, backend="numpy")
embedder.embed_images([photo])
"""
EMBED_TEXT = """
embedder.embed_texts(["a cat"])
embedder.classify([photo], ["a dog"])
"""
COMMANDS = {
    "inspect": '["inspect", "--model", model]',
    "convert": '["convert", model, output + "/converted"]',
    "quantize": '["quantize", model, "--backend", "numpy", "--output", output + "/int8"]',
    "embed": '["embed", photo, "--model", model, "--backend", "numpy", "--output", output + "/a.npy"]',
    "classify": '["classify", photo, "--labels", "a cat", "--model", model, "--backend", "numpy"]',
    "visualize": '["visualize", photo, "--model", model, "--backend", "numpy", "--output", output]',
}


def _counts(codes: dict[str, str], folder, photo, output) -> dict[str, dict[str, int]]:
    """How often each file was opened by each piece of code; all of them run in one new process."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, folder, photo, output],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    counts: dict[str, dict[str, int]] = json.loads(result.stdout.splitlines()[-1])
    return counts


@pytest.fixture(scope="module")
def folders(toy, toy_folder, tmp_path_factory):
    """The toy model of both towers in every way in which a model may lie, and how many headers it has."""
    root = tmp_path_factory.mktemp("opened_once")
    plain = shutil.copytree(toy.folder, root / "plain")
    save_image_processor(plain, 44)
    sharded = root / "sharded"
    _load(toy.folder).save_pretrained(sharded, max_shard_size="100KB")
    save_image_processor(sharded, 44)
    timm = save(root / "timm", timm_tensors(toy.vision_state), {"architecture": "x", **HEADS})
    open_clip = save(root / "open_clip", open_clip_tensors(toy.state), HEADS_OF_BOTH)
    archive = root / "archive"
    archive.mkdir()
    save_npz(archive / "model.npz", flax_tensors(toy.state, 3, TEXT_HEADS))
    found = {folder.name: folder for folder in (plain, sharded, timm, open_clip, archive)}
    for folder in found.values():
        write_siglip_tokenizer(folder)
    return found


def _load(folder):
    import transformers

    return transformers.SiglipModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["plain", "sharded", "timm", "open_clip", "archive"])
def test_every_file_is_read_once(name, folders, photos, tmp_path):
    """By an image and a text in Python, and by each command."""
    folder = folders[name]
    code = EMBED if name == "timm" else EMBED + EMBED_TEXT  # timm's models are of one tower
    commands = {
        command: f"from numpy_siglip.commands.command_line import main; assert main({arguments}) == 0"
        for command, arguments in COMMANDS.items()
        if name != "timm" or command != "classify"
    }
    counts = _counts({"python": code, **commands}, folder, photos[0], tmp_path)

    weights = [file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".npz")]
    headers = {f"header of {file}" for file in weights}
    settings = {file.name for file in folder.iterdir() if file.suffix == ".json"} - {"tokenizer.json"}
    if name == "timm":
        settings -= {"tokenizer_config.json"}
    assert headers | settings <= counts["python"].keys()
    assert set(counts["python"].values()) == {1}, counts["python"]
    for command in commands:
        # convert and quantize copy preprocessing and tokenizer besides
        read = {
            file: count
            for file, count in counts[command].items()
            if not file.startswith(("preprocessor", "tokenizer", "spiece"))
        }
        assert headers <= read.keys(), command
        assert set(read.values()) == {1}, (command, read)


def test_the_hub_is_asked_once(folders, photos, monkeypatch):
    asked = []

    def download(repository, **_):
        asked.append(repository)
        return str(folders["plain"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    embedder = Embedder.from_pretrained("someone/model", backend="numpy")
    embedder.embed_images(photos[:1])
    embedder.embed_texts(["a cat"])
    embedder.classify(photos[:1], ["a cat"])
    assert asked == ["someone/model"]
    SiglipProcessor.from_pretrained("someone/model")
    assert len(asked) == 2
    inspect_model("someone/model")
    assert len(asked) == 3


def test_everything_takes_an_open_model(folders, photos):
    files = open_model(folders["plain"])
    config = SiglipVisionConfig.from_pretrained(files)
    assert config == SiglipVisionConfig.from_pretrained(folders["plain"])
    assert SiglipImageProcessor.from_pretrained(files).size == {"height": 44, "width": 44}
    assert SiglipTokenizer.from_pretrained(files).context_length == 16
    assert inspect_model(files) == inspect_model(folders["plain"])
    embedder = Embedder.from_pretrained(files)
    assert embedder.files is files
    inputs = SiglipProcessor.from_pretrained(files)(images=photos, text=["a cat"])
    model = SiglipModel.from_pretrained(files)
    assert (model(**inputs).image_embeds == embedder.embed_images(photos)).all()
    assert SiglipTextModel.from_pretrained(files).config == model.config.text_config


def test_an_open_model_has_no_other_revision(folders):
    with pytest.raises(CheckpointError, match="is open already; leave 'main' out"):
        open_model(open_model(folders["plain"]), "main")
