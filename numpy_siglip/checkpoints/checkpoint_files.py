"""The files of a checkpoint: which of them hold the weights, and where each tensor lies in them.

A safetensors file is eight bytes of length, a JSON header that says where each tensor lies, and
the raw numbers (https://huggingface.co/docs/safetensors). The safetensors library checks the
header against the file. An ``.npz`` archive is described in `npz_file`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..common.json_file import read_json
from ..common.reading import require_no_pointer, require_regular_file
from ..errors import CheckpointError
from .checkpoint import Checkpoint, TensorEntry
from .file_names import INDEX_FILE, WEIGHTS_FILE
from .int8_folder import INT8_WEIGHTS_FILE
from .npz_file import npz_members
from .pickled_weights import PICKLE_SUFFIXES, advice_on_pickle, pickles_in
from .weights_file import FileIdentity, identity_of
from .wrapper_names import without_wrappers

_NO_KIND = "not a .safetensors or .npz file, nor a folder that holds one"
_ADVICE = "name a folder with the model's own safetensors weights"
_OTHER_KINDS = {
    ".gguf": f"a GGUF file, which llama.cpp reads; {_ADVICE}",
    ".onnx": f"an ONNX model, which onnxruntime runs; {_ADVICE}",
}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_ADAPTER = (
    "holds an adapter (LoRA) and not the model that it changes; merge the two with peft (merge_and_unload, "
    "then save_pretrained), and name the folder written then"
)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the file or files of a model's weights and read their headers.

    Parameters
    ----------
    path : Path
        A folder that holds ``model.safetensors``, or ``model.safetensors.index.json`` with its
        shards, or one ``.safetensors`` file of another name, or one ``.npz`` archive; or such a
        file or index itself.

    Raises
    ------
    CheckpointError
        If there is none, a file is damaged, a shard is missing, or the weights are pickled.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> folder = Path(tempfile.mkdtemp())
    >>> save_file({"probe": np.ones((1, 2), np.float16)}, folder / "model.safetensors")
    >>> checkpoint = open_checkpoint(folder)
    >>> checkpoint["probe"].dtype, checkpoint.tensor("probe")
    ('F16', array([[1., 1.]], dtype=float32))
    """
    try:
        file = _weights_in_folder(path) if path.is_dir() else path
    except OSError as cause:
        raise CheckpointError(f"{path}: cannot be read ({cause.strerror})") from cause
    entries, identities = _read_headers(file)
    return Checkpoint(path, without_wrappers(entries), identities)


def _read_headers(file: Path) -> tuple[dict[str, TensorEntry], dict[Path, FileIdentity]]:
    """Every tensor of a model, and what its files are known by."""
    if file.name.endswith(".index.json"):
        return _read_index(file)
    if file.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(advice_on_pickle(file))
    if file.suffix == ".npz":
        return _read_npz(file)
    if file.suffix != ".safetensors":
        raise CheckpointError(f"{file}: {_OTHER_KINDS.get(file.suffix, _NO_KIND)}")
    entries, identity = _read_header(file)
    return entries, {file: identity}


def _weights_in_folder(folder: Path) -> Path:
    for name in (WEIGHTS_FILE, INDEX_FILE, INT8_WEIGHTS_FILE):
        if os.path.lexists(folder / name):  # what cannot be opened is named where that is tried
            return folder / name
    if any(os.path.lexists(folder / name) for name in _ADAPTER_FILES):
        raise CheckpointError(f"{folder}: {_ADAPTER}")
    others = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.npz"))
    if len(others) == 1:
        return others[0]
    if others:
        names = ", ".join(path.name for path in others)
        raise CheckpointError(
            f"{folder}: several weight files ({names}) and no {INDEX_FILE}; name one of them, "
            "or fetch the index"
        )
    pickles = pickles_in(folder)
    if pickles:
        raise CheckpointError(advice_on_pickle(pickles[0]))
    foreign = sorted(path for path in folder.iterdir() if path.suffix in _OTHER_KINDS)
    if foreign:
        raise CheckpointError(f"{foreign[0]}: {_OTHER_KINDS[foreign[0].suffix]}")
    raise CheckpointError(
        f"{folder}: no {WEIGHTS_FILE} and no {INDEX_FILE}, nor an .npz archive; name a folder that holds one "
        "of them, config.json and preprocessor_config.json"
    )


def _read_index(index: Path) -> tuple[dict[str, TensorEntry], dict[Path, FileIdentity]]:
    """Entries of all shards, checked against the index that names them, and what the files are known by."""
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{index}: no weight_map that gives each tensor's file")
    entries: dict[str, TensorEntry] = {}
    identities: dict[Path, FileIdentity] = {}
    for shard in sorted(set(weight_map.values())):
        if not shard or Path(shard).name != shard:
            raise CheckpointError(f"{index}: shard {shard!r} is not a plain file name")
        file = index.parent / shard
        if not os.path.lexists(file):
            raise CheckpointError(f"{file}: missing, though {index.name} lists it; fetch this shard too")
        found, identities[file] = _read_header(file)
        for name in (name for name, home in weight_map.items() if home == shard):
            if name not in found:
                raise CheckpointError(f"{file}: no tensor {name}, though {index.name} says it is there")
            entries[name] = found[name]
    return entries, identities


def _read_header(file: Path) -> tuple[dict[str, TensorEntry], FileIdentity]:
    from safetensors import SafetensorError, safe_open

    try:
        require_regular_file(file, CheckpointError)
        with file.open("rb") as stream:
            require_no_pointer(file, CheckpointError, stream.read(64))
        if file.name in _ADAPTER_FILES:
            raise CheckpointError(f"{file}: {_ADAPTER}")
        # Opened first, since Python says why a file cannot be.
        with file.open("rb") as stream, safe_open(file, framework="numpy"):
            # safe_open has checked that the header is sound and that the file is as long as it says
            identity = identity_of(stream)
            length = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(length))
    except OSError as cause:
        raise CheckpointError(f"{file}: cannot be read ({cause.strerror or cause})") from cause
    except SafetensorError as cause:
        raise CheckpointError(
            f"{file}: not a whole safetensors file ({cause}); it may be truncated, fetch it again"
        ) from cause
    header.pop("__metadata__", None)
    entries = {
        name: TensorEntry(
            name,
            file,
            info["dtype"],
            tuple(info["shape"]),
            offset=8 + length + info["data_offsets"][0],
            num_bytes=info["data_offsets"][1] - info["data_offsets"][0],
        )
        for name, info in header.items()
    }
    return entries, identity


def _read_npz(file: Path) -> tuple[dict[str, TensorEntry], dict[Path, FileIdentity]]:
    members, identity = npz_members(file)
    entries = {
        member.name: TensorEntry(
            member.name, file, member.dtype, member.shape, member.offset, member.num_bytes, member.packed_in
        )
        for member in members
    }
    return entries, {file: identity}
