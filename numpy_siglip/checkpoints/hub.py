"""Where a model lies: in a folder, a file, the package, or a copy of a Hugging Face hub repository."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from ..common.extras import how_to_install
from ..common.keywords import check_keywords
from ..errors import CheckpointError
from .bundled import BUNDLED_MODEL, bundled_folder
from .file_names import (
    CONFIG_FILE,
    OPEN_CLIP_FILE,
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    SENTENCEPIECE_FILE,
    TOKENIZER_FILE,
    TOKENIZER_SETTINGS_FILE,
)
from .loading_keywords import DOWNLOAD_KEYWORDS

# One optional owner and a name, as the hub allows them; anything else must be a path.
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
_FILES = [CONFIG_FILE, OPEN_CLIP_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE]
_TOKENIZER = [TOKENIZER_SETTINGS_FILE, TOKENIZER_FILE, SENTENCEPIECE_FILE]
_WEIGHTS = ["*.safetensors", "*.safetensors.index.json", "*.npz"]


def locate_model(model: str | Path, revision: str | None = None, **download: Any) -> Path:
    """Turn what a user calls a model into a path that exists.

    ``"emoji"`` is the model that comes with the package, whatever lies in the current folder. Any other
    path that exists is taken as it is and the hub is never asked. Anything else that looks like
    a hub id is downloaded, or found in the local cache, by huggingface_hub, which also
    respects ``HF_HOME``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE``.

    Parameters
    ----------
    model : str or Path
        A folder, a file, ``"emoji"``, or a hub id such as ``google/siglip-base-patch16-224``.
    revision : str, optional
        Branch, tag or commit on the hub.
    **download
        The ``subfolder`` in which the model lies, and what is for huggingface_hub; see `DOWNLOAD_KEYWORDS`.

    Returns
    -------
    Path
        A folder or a file.

    Raises
    ------
    CheckpointError
        If nothing is there, huggingface_hub is not installed, the download fails, or a revision is
        asked of a model that is not on the hub; if the subfolder is not inside.

    Examples
    --------
    >>> locate_model("./no/such/folder")
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.CheckpointError: ./no/such/folder: no such file or folder
    """
    check_keywords(locate_model, download, DOWNLOAD_KEYWORDS)
    if not isinstance(model, (str, os.PathLike)) or not str(model):
        raise CheckpointError(
            f'no model named; give a folder, a .safetensors file, a hub id or "{BUNDLED_MODEL}"'
        )
    try:
        path = bundled_folder(model) or Path(model).expanduser()
        found = path.exists()
    except RuntimeError as cause:  # the home folder of nobody
        raise CheckpointError(f"{model}: no such file or folder ({cause})") from cause
    except OSError as cause:
        raise CheckpointError(f"{model}: cannot be read ({cause.strerror})") from cause
    if found and revision is not None:
        raise CheckpointError(
            f"{model}: is here, and only a model on the hub has revisions; leave {revision!r} out"
        )
    subfolder = download.pop("subfolder", None)
    inside = _inside(subfolder)
    if found:
        return _in_subfolder(path, inside)
    name = str(model)
    if isinstance(model, Path) or not _HUB_ID.fullmatch(name) or name.endswith(".safetensors"):
        raise CheckpointError(f"{model}: no such file or folder")
    if "/" not in name:  # on the hub, every SigLIP has an owner
        raise CheckpointError(
            f"{name}: no such file or folder, and no hub id, which has an owner, such as "
            f"google/siglip-base-patch16-224{_nearest(name)}"
        )
    return _in_subfolder(_download(name, revision, inside, download), inside)


def _nearest(name: str) -> str:
    """What may have been meant."""
    names = [BUNDLED_MODEL, *(path.name for path in Path().iterdir() if path.is_dir())]
    near = get_close_matches(name, names, n=1)
    return f"; do you mean {near[0]!r}?" if near else ""


def _inside(subfolder: Any) -> str:
    """A subfolder with a slash behind it, or nothing."""
    parts = PurePosixPath(str(subfolder or "")).parts
    if ".." in parts or parts[:1] == ("/",):
        raise CheckpointError(f"subfolder {subfolder!s} does not lie inside the model; name one inside")
    return "".join(f"{part}/" for part in parts)


def _in_subfolder(path: Path, inside: str) -> Path:
    if inside and not (path / inside).is_dir():
        raise CheckpointError(f"{path}: has no subfolder {inside.rstrip('/')}; name one that is there")
    return path / inside if inside else path


def _download(repository: str, revision: str | None, inside: str, options: dict[str, Any]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as cause:
        raise CheckpointError(
            f"{repository}: no such file or folder; to download it from the Hugging Face hub, "
            f"{how_to_install('huggingface_hub')}"
        ) from cause
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[inside + pattern for pattern in _FILES + _TOKENIZER + _WEIGHTS],
            ignore_patterns=[f"{inside}*/*"],  # a star matches slashes too
            **options,
        )
    except Exception as cause:  # network, disk, permissions, names: each library below has its own errors
        partial = getattr(cause, "snapshot_path", None)
        if partial is not None and Path(partial).is_dir():  # offline: what this call needs may be there
            return Path(partial)
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise CheckpointError(
            f"{repository}: no such file or folder here, and the hub did not give it ({reason}); "
            "check the name, the revision, the network, or HF_TOKEN for a gated model"
        ) from cause
    return Path(folder)
