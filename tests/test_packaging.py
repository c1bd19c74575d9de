"""What the package promises about itself: what an import costs, and what a wheel holds and does."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.embedding_process import PATIENCE
from helpers.repository import REPOSITORY

PACKAGE = REPOSITORY / "numpy_siglip"
KERNELS = REPOSITORY / "kernels"


def _files_below(folder: Path) -> list[Path]:
    """All source files of a folder and of its folders; that there are none is an error."""
    files = sorted(folder.rglob("*.py"))
    assert files, f"no source files in {folder}"
    return files


def test_the_version_is_the_same_everywhere():
    import numpy_siglip
    from numpy_siglip.version import __version__

    assert numpy_siglip.__version__ == __version__ == importlib.metadata.version("numpy-siglip")


def test_every_folder_is_installed():
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    found = {"numpy_siglip.kernels"}
    for top, name in ((PACKAGE, "numpy_siglip"), (KERNELS, "numpy_siglip.kernels")):
        for file in _files_below(top):
            found.add(".".join([name, *file.relative_to(top).parts[:-1]]))
    assert set(settings["options"]["packages"].split()) == found


def _python(code: str, **options) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_is_light():
    code = (
        "import sys, numpy_siglip; "
        "print({m.partition('.')[0] for m in sys.modules} & "
        "{'numba', 'torch', 'transformers', 'PIL', 'safetensors', 'ml_dtypes', 'matplotlib', 'tqdm'})"
    )
    assert _python(code) == "set()"


@pytest.mark.parametrize(("backend", "imported"), [("numba", "{'numba'}"), ("numpy", "set()")])
def test_model_runs_without_pillow_or_torch_being_imported(backend, imported, toy_folder):
    code = (
        "import sys, numpy as np, numpy_siglip\n"
        f"model = numpy_siglip.SiglipVisionModel.from_pretrained({str(toy_folder)!r}, backend={backend!r})\n"
        "model(np.zeros((1, 3, 44, 44), np.float32))\n"
        "print({m.partition('.')[0] for m in sys.modules} & {'numba', 'torch', 'transformers', 'PIL'})"
    )
    assert _python(code) == imported


def test_transformers_is_healthy_beside_the_folder_kernels():
    """With the repository root first on sys.path, `import kernels` finds our folder."""
    code = (
        "import torch, transformers\n"
        "config = transformers.SiglipVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1,\n"
        "    num_attention_heads=2, image_size=8, patch_size=4)\n"
        "model = transformers.SiglipVisionModel(config)\n"
        "print(tuple(model(torch.zeros(1, 3, 8, 8)).pooler_output.shape))"
    )
    assert _python(code, cwd=REPOSITORY) == "(1, 8)"


def test_every_public_name_is_there():
    import numpy_siglip

    for name in numpy_siglip.__all__:
        assert getattr(numpy_siglip, name) is not None
    assert set(numpy_siglip.__all__) == set(numpy_siglip._HOMES)
    assert set(numpy_siglip.__all__) <= set(dir(numpy_siglip))
    with pytest.raises(AttributeError, match="no attribute 'SiglipAudioModel'"):
        numpy_siglip.SiglipAudioModel  # noqa: B018


# Every command as a user of the bundled model would type it; what the words of the last column are in.
COMMANDS = {
    "embed": (["embed", "picture.png", "--output", "images.npy"], "192 numbers in images.npy"),
    "classify": (
        ["classify", "picture.png", "--labels", "a pizza, a lion, a bicycle", "--top", "1"],
        "a lion",
    ),
    "similarity": (["similarity", "picture.png", "--text", "a lion", "a pizza"], "a pizza"),
    "inspect": (["inspect", "--model", "emoji"], "in the layout of transformers"),
    "validate": (["validate", "--model", "emoji"], "torch is not installed"),
    "visualize": (["visualize", "picture.png", "--output", "pictures"], "pooling_attention.png"),
    "convert": (["convert", "emoji", "copy"], "SiglipModel"),
    "quantize": (["quantize", "emoji", "--output", "int8"], "numpy_siglip_int8.safetensors"),
    "warmup": (["warmup"], "kernels"),
}


@pytest.mark.slow
def test_the_wheel_alone_runs_every_command(toy_folder, photos, tmp_path):
    """Build both distributions, install the wheel in an empty environment, and run what it promises."""
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path / "dist", REPOSITORY],
        check=True,
        timeout=PATIENCE,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (source,) = (tmp_path / "dist").glob("*.tar.gz")
    assert source.stat().st_size < 9_500_000  # of which 7.5 MB are the bundled model
    names = zipfile.ZipFile(wheel).namelist()
    files = [f"numpy_siglip/{file.relative_to(PACKAGE)}" for file in _files_below(PACKAGE)]
    files += [f"numpy_siglip/kernels/{file.relative_to(KERNELS)}" for file in _files_below(KERNELS)]
    files += ["numpy_siglip/py.typed"]
    files += [f"numpy_siglip/emoji/{file.name}" for file in (PACKAGE / "emoji").iterdir()]
    assert {name for name in names if ".dist-info" not in name} == set(files)

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=PATIENCE)
    binaries = tmp_path / "venv" / "bin"

    def run(*arguments) -> subprocess.CompletedProcess:
        return subprocess.run(
            [binaries / "numpy-siglip", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=tmp_path,
            check=False,
        )

    subprocess.run([binaries / "pip", "install", "--quiet", wheel], check=True, timeout=PATIENCE)
    installed = subprocess.run([binaries / "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in installed
    assert run("embed", photos[0], "--model", toy_folder, "--output", "out.npy").returncode == 0
    from numpy_siglip import Embedder

    expected = Embedder.from_pretrained(toy_folder).embed_images(photos[:1], normalize=False)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-5)

    extras = f"{wheel}[text,plots]"
    subprocess.run([binaries / "pip", "install", "--quiet", extras], check=True, timeout=PATIENCE)
    shutil.copy(PACKAGE / "emoji" / "lion.png", tmp_path / "picture.png")
    described = re.findall(r"^    ([a-z]+)\b", run("--help").stdout, flags=re.MULTILINE)
    assert sorted(described) == sorted(COMMANDS)
    for name, (arguments, words) in COMMANDS.items():
        answer = run(*arguments)
        assert answer.returncode == (2 if name == "validate" else 0), (name, answer.stderr)
        assert words in answer.stdout + answer.stderr, name
        assert "Traceback" not in answer.stderr, name
