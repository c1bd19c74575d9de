"""Weights that are pickled, which this package does not open, and how to write them in a format that it does.

Opening a pickle runs whatever code is in it. torch has a way that runs none (``weights_only=True``); with it
the tensors are written again under the names that they have, so that one piece of advice is right for the
files of transformers, timm, open_clip and of a training script.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from .file_names import WEIGHTS_FILE

_OF_TORCH = (".bin", ".pt", ".pth", ".ckpt")
_OF_OTHERS = {".pkl": "in a pickle", ".msgpack": "of Flax", ".h5": "of TensorFlow"}
PICKLE_SUFFIXES = (*_OF_TORCH, *_OF_OTHERS)
"""Of files that hold weights in a way that is not read."""

_PROGRAM = (
    "import sys, torch, safetensors.torch as s; w = {}; "
    '[w.update(torch.load(f, map_location="cpu", weights_only=True)) for f in sys.argv[2:]]; '
    'w = w.get("state_dict", w.get("model", w)); '
    "s.save_file({n: t.clone().contiguous() for n, t in w.items() if torch.is_tensor(t)}, sys.argv[1])"
)


def pickles_in(folder: Path) -> list[Path]:
    """Files of pickled weights, the likeliest first.

    Beside those of a model lie those of other libraries, and of a training script its optimizer.
    """
    found = [path for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES]
    return sorted(found, key=lambda path: (path.suffix not in _OF_TORCH, "model" not in path.name, path.name))


def advice_on_pickle(file: Path) -> str:
    """What to do about a file of pickled weights; the message begins with the file.

    Parameters
    ----------
    file : Path
        With one of the `PICKLE_SUFFIXES`.

    Examples
    --------
    >>> advice_on_pickle(Path("flax_model.msgpack"))
    'flax_model.msgpack: weights of Flax, which are not read; fetch the model as a .safetensors file instead'
    """
    target = file.parent / WEIGHTS_FILE
    if target.exists():
        return f"{file}: is not read, and need not be, since {target.name} lies beside it; name that instead"
    if file.suffix in _OF_OTHERS:
        return (
            f"{file}: weights {_OF_OTHERS[file.suffix]}, which are not read; fetch the model as a "
            ".safetensors file instead"
        )
    # Of weights that are cut into several files, each is named in the same way: all of them make one.
    stem, _, total = file.stem.rpartition("-of-")
    parts = (
        sorted(file.parent.glob(f"{stem.rpartition('-')[0]}-*-of-{total}{file.suffix}")) if stem else [file]
    )
    arguments = " ".join(shlex.quote(str(path)) for path in (target, *parts))
    return (
        f"{file}: only safetensors and .npz weights are read, since a pickle can run any code when it is "
        "opened; torch can write it again without running any: "
        f"python -c {shlex.quote(_PROGRAM)} {arguments}"
    )
