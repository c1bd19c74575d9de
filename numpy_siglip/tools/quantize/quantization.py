"""A model written again with the maps of its encoders in integers of 8 bits.

The folder is one of transformers' layout, but for the weights of the maps: ``...fc1.weight`` is int8, and
``...fc1.weight_scale`` holds the scale of each of its rows, so that only this package reads it; `int8_folder`
says how the files show that. Everything else keeps its dtype, except that what was balanced is float32. How
it was made stands in the metadata of the weights. A text tower is quantised as it is: neither balanced nor
measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints.checkpoint import SCALE_SUFFIX, TensorEntry
from ...checkpoints.description.model_files import ModelFiles
from ...checkpoints.file_names import WEIGHTS_FILE
from ...checkpoints.int8_folder import INT8_WEIGHTS_FILE
from ...common.checks import check_flag
from ...embedding.image_inputs import readable_images
from ...embedding.vision_kinds import VisionModel, open_vision_model
from ...errors import CheckpointError, ImageError
from ...kernels.backend import Backend
from ...kernels.choices import DEFAULT_BACKEND
from ...model.backends import choose_backend
from ...version import __version__
from ...weights.tower_weights import require_layers, stays_float
from ..conversion import Source, open_source, require_free, write_source
from .balancing import Balance, balance_layer
from .calibration import Calibration, calibrate, drawn_images
from .quantization_report import Quantization, measure_accuracy

METADATA_KEY = "numpy_siglip.quantization"
_MOST_CALIBRATION_IMAGES = 16
_MOST_IMAGES = 256
_MAP_ENDINGS = (
    "q_proj.weight",
    "k_proj.weight",
    "v_proj.weight",
    "out_proj.weight",
    "fc1.weight",
    "fc2.weight",
)


def quantize_model(
    model: str | Path | ModelFiles,
    output: str | Path,
    *,
    images: str | Path | None = None,
    balance: bool = True,
    float32_layers: Sequence[str] = (),
    backend: str = DEFAULT_BACKEND,
    threads: int | None = None,
    revision: str | None = None,
    on_error: Callable[[Any, ImageError], object] | None = None,
) -> Quantization:
    """Quantise a model, and measure what that costs.

    Parameters
    ----------
    model : str, Path or ModelFiles
        A folder, a file or a hub id, of any layout, or a model that is open already.
    output : str or Path
        Folder to write, made if it is missing; what is in it is never replaced.
    images : str or Path, optional
        A folder of images, or one image, to balance by and to measure on. Without it, images of noise are
        drawn.
    balance : bool
        Whether to balance the vision tower's maps where that lowers their error; see `balancing`.
    float32_layers : sequence of str
        Maps that stay as they are; see `SiglipVisionModel.from_pretrained`.
    backend : str
    threads : int, optional
    revision : str, optional
        Branch, tag or commit on the hub.
    on_error : callable, optional
        Called with each image that cannot be read and the error; without it, the error is raised.

    Raises
    ------
    ConfigError, CheckpointError, ImageError
        If the model or an image cannot be read, weights are not finite, or a file is there already.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from numpy_siglip import SiglipVisionModel
    >>> folder = Path(tempfile.mkdtemp()) / "int8"
    >>> result = quantize_model(model_folder, folder)
    >>> bool(result.accuracy.cosine.min() > 0.99), result.bytes_after < result.bytes_before
    (True, True)
    >>> SiglipVisionModel.from_pretrained(folder).config.hidden_size
    33
    """
    balance = check_flag("balance", balance)
    target = Path(output).expanduser()
    require_free([target / WEIGHTS_FILE, target / INT8_WEIGHTS_FILE])
    ops = choose_backend(backend, threads, "int8", float32_layers)
    source = open_source(model, revision)
    maps = list(_maps(source, ops))
    vision = open_vision_model(source.files)
    processor = vision.read_processor()[1]
    pictures = drawn_images()
    if images is not None:  # what cannot be read is told before anything is written
        pictures = readable_images(processor, images, on_error, _MOST_IMAGES)
    original = vision.load_model(ops._replace(dtype="float32", float32_layers=()))
    balances: tuple[Balance, ...] = ()
    if balance:
        calibration = calibrate(original, processor, pictures[:_MOST_CALIBRATION_IMAGES])
        balances = _balance(source, original, calibration, ops)
    balanced = _Balanced(source, balances, ops)
    entries = dict(_entries(source, maps, balanced))
    made = {
        "version": __version__,
        "images": len(pictures) if images is not None else 0,
        "float32_layers": list(float32_layers),
        "balanced": {f"{each.layer}.{each.maps[0]}": each.chosen for each in balances},
    }
    files = write_source(
        source, output, entries, balanced.read, int8_metadata={METADATA_KEY: json.dumps(made)}
    )
    quantised = open_vision_model(output).load_model(ops)
    return Quantization(
        files,
        balances,
        tuple(float32_layers),
        made["images"],  # type: ignore[arg-type]
        measure_accuracy(original, quantised, processor, pictures),
        _size(source.entries),
        _size(entries),
    )


def _maps(source: Source, ops: Backend) -> Iterator[str]:
    """Names of the weights that become integers."""
    require_layers(ops.float32_layers, source.names)
    for name, entry in source.entries.items():
        if entry.dtype == "I8":
            raise CheckpointError(
                f"{entry.file}: tensor {entry.name} is quantised already; name the original"
            )
        kept = stays_float(name, ops.float32_layers)
        if ".layers." in name and name.endswith(_MAP_ENDINGS) and not kept:
            yield name


def _balance(
    source: Source, model: VisionModel, calibration: Calibration, ops: Backend
) -> tuple[Balance, ...]:
    prefix = _vision_prefix(source)

    def read(name: str) -> np.ndarray:
        return source.files.tensors.tensor(source.names[prefix + name])

    def becomes_integers(balance: Balance) -> bool:
        return not all(
            stays_float(f"{balance.layer}.{name}.weight", ops.float32_layers) for name in balance.maps
        )

    layers = range(model.config.num_hidden_layers)
    with np.errstate(all="ignore"):  # weights that are not finite are told when they are written
        found = [balance for index in layers for balance in balance_layer(read, index, calibration, ops)]
    return tuple(filter(becomes_integers, found))


def _vision_prefix(source: Source) -> str:
    return "vision_model." if hasattr(source.config, "vision_config") else ""


class _Balanced:
    """The tensors of a source, balanced and quantised when they are read."""

    def __init__(self, source: Source, balances: Sequence[Balance], ops: Backend) -> None:
        self._source, self._ops = source, ops
        self.columns: dict[str, np.ndarray] = {}
        self.rows: dict[str, np.ndarray] = {}
        self.maps: set[str] = set()
        prefix = _vision_prefix(source)
        for balance in balances:
            if balance.factors is not None:
                of_layer = f"{prefix}{balance.layer}."
                self.columns |= {f"{of_layer}{name}.weight": balance.factors for name in balance.maps}
                self.rows |= {of_layer + name: 1 / balance.factors for name in balance.divided}

    def read(self, name: str) -> np.ndarray:
        """A tensor as it is to be written."""
        if name.removesuffix(SCALE_SUFFIX) in self.maps:
            weight = name.removesuffix(SCALE_SUFFIX)
            integers, scale = self._ops.quantize_rows(self._floats(weight))
            if not np.isfinite(scale).all():
                raise self._not_finite(weight)
            return integers if weight == name else scale
        tensor = self._floats(name) if name in self.columns or name in self.rows else self._source.read(name)
        if not np.isfinite(tensor).all():
            raise self._not_finite(name)
        return tensor

    def _not_finite(self, name: str) -> CheckpointError:
        stored = self._source.entries[name]
        return CheckpointError(
            f"{stored.file}: tensor {stored.name} holds NaN or infinity, which cannot be quantised; "
            "fetch the file again"
        )

    def _floats(self, name: str) -> np.ndarray:
        tensor = self._source.files.tensors.tensor(self._source.names[name])
        if name in self.columns:
            tensor = tensor * self.columns[name]
        if name in self.rows:
            tensor = tensor * self.rows[name].reshape(-1, *[1] * (tensor.ndim - 1))
        return tensor


def _entries(source: Source, maps: Sequence[str], balanced: _Balanced) -> Iterator[tuple[str, TensorEntry]]:
    """What is written, by name."""
    balanced.maps = set(maps)
    for name, entry in source.entries.items():
        if name in balanced.maps:
            yield name, replace(entry, dtype="I8")
            yield name + SCALE_SUFFIX, replace(entry, dtype="F32", shape=entry.shape[:1])
        elif name in balanced.columns or name in balanced.rows:
            yield name, replace(entry, dtype="F32")
        else:
            yield name, entry


def _size(entries: dict[str, TensorEntry]) -> int:
    return sum(entry.num_elements * entry.numpy_dtype.itemsize for entry in entries.values())
