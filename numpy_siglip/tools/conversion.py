"""From any layout that loads here to the one that transformers itself opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checkpoints.checkpoint import TensorEntry
from ..checkpoints.description.model_files import ConfigValues, ModelFiles, open_model
from ..checkpoints.file_names import PREPROCESSOR_FILE, PROCESSOR_FILE
from ..checkpoints.saving import Writer, bytes_writer, json_writer, model_writers
from ..common.atomic_write import atomic_write_folder
from ..config.config_section import FULL_MODEL_TYPE, NAFLEX_MODEL_TYPE, ReadableConfig, is_naflex_type
from ..config.configuration import SiglipConfig, SiglipVisionConfig
from ..config.naflex_configuration import Siglip2Config, Siglip2VisionConfig
from ..errors import CheckpointError, ConfigError
from ..model.comparison import holds_both_towers
from ..preprocessing.tokenizer_files import TokenizerFiles, has_tokenizer
from ..weights.model_tensors import ModelTensors, find_pair_tensors
from ..weights.tower_weights import Tensors, find_beside_towers
from ..weights.vision_weights import find_vision_tensors

_KINDS: dict[str, tuple[type[ReadableConfig], str]] = {
    FULL_MODEL_TYPE: (SiglipConfig, "SiglipModel"),
    SiglipVisionConfig.model_type: (SiglipVisionConfig, "SiglipVisionModel"),
    NAFLEX_MODEL_TYPE: (Siglip2Config, "Siglip2Model"),
    Siglip2VisionConfig.model_type: (Siglip2VisionConfig, "Siglip2VisionModel"),
}


class Conversion(NamedTuple):
    """What was written."""

    layout: str
    """Of the source"""
    model_class: str
    """Which class of transformers opens it"""
    files: tuple[Path, ...]
    inferred: tuple[str, ...]
    """What stood in no file of the source, one line each"""
    contradictions: tuple[str, ...]
    """What stood there and is not as the family was published, one line each"""


def convert_model(
    model: str | Path | ModelFiles, folder: str | Path, *, revision: str | None = None
) -> Conversion:
    """Write a checkpoint as a folder that transformers opens, with preprocessing and tokenizer.

    Numbers keep the dtype that they are stored in. A tower inside a larger model becomes a model of its own.

    Parameters
    ----------
    model : str, Path or ModelFiles
        A folder, a file, a hub id, or a model that is open already.
    folder : str or Path
        Made if it is missing; what is in it is never replaced.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    ConfigError, CheckpointError
        As `SiglipVisionModel.from_pretrained`; and if a file that would be written is there already.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> conversion = convert_model(model_folder, folder / "copy")
    >>> conversion.model_class, sorted(file.name for file in conversion.files)[:3]
    ('SiglipModel', ['config.json', 'model.safetensors', 'preprocessor_config.json'])
    """
    source = open_source(model, revision)
    source.written.require_floats("convert the model that it was made of")
    files = write_source(source, folder, source.entries, source.read)
    return Conversion(
        source.files.layout, source.model_class, files, source.files.inferred, source.files.contradictions
    )


class Source(NamedTuple):
    """A checkpoint of any layout, as it is written for transformers."""

    files: ModelFiles
    config: Any
    model_class: str
    written: ModelTensors
    """Its tensors under the names that are written"""

    @property
    def names(self) -> Mapping[str, str]:
        """From the names that are written to those of the checkpoint."""
        return self.written.names

    @property
    def entries(self) -> dict[str, TensorEntry]:
        """Of each tensor by the name that is written."""
        return self.written.entries

    def read(self, name: str) -> np.ndarray:
        """The numbers of a tensor as they are stored."""
        return self.written.read(name)


def open_source(model: str | Path | ModelFiles, revision: str | None = None) -> Source:
    """Open a checkpoint to be written again.

    Raises
    ------
    ConfigError, CheckpointError
        As `convert_model`.

    Examples
    --------
    >>> open_source(model_folder).model_class
    'SiglipModel'
    """
    files = open_model(model, revision)
    tensors = files.tensors
    config, model_class = _read_kind(files.config, holds_both_towers(tensors))
    return Source(files, config, model_class, ModelTensors(tensors, _names(tensors, config)))


def write_source(
    source: Source,
    folder: str | Path,
    entries: Mapping[str, TensorEntry],
    read: Callable[[str], np.ndarray],
    *,
    int8_metadata: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Write tensors, and the configuration, preprocessing and tokenizer of a source beside them.

    Parameters
    ----------
    source : Source
    folder : str or Path
        Made if it is missing; what is in it is never replaced.
    entries, read
        As for `write_safetensors`.
    int8_metadata : dict of str to str, optional
        How the tensors were quantised, if they were; the files then say that only this package reads them.

    Raises
    ------
    ConfigError
        If a file that would be written is there already.
    OSError
        If the folder cannot be written to.
    """
    target = Path(folder).expanduser()
    config = {**source.config.to_dict(), "architectures": [source.model_class]}
    writers = {
        **model_writers(config, entries, read, int8_metadata),
        **_preprocessing_writers(source.files),
        **(TokenizerFiles.read(source.files).writers() if has_tokenizer(source.files) else {}),
    }
    require_free(target / name for name in writers)
    return tuple(atomic_write_folder(target, writers))


def require_free(files: Iterable[Path]) -> None:
    """Refuse to replace a file.

    Raises
    ------
    ConfigError
        If one of them exists.
    """
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already; name a new or an empty folder")


def format_conversion(conversion: Conversion) -> str:
    """Lay a conversion out for reading in a terminal."""
    lines = [f"from the layout of {conversion.layout} to transformers' {conversion.model_class}"]
    lines += [f"  {file}" for file in conversion.files]
    if conversion.inferred:
        lines += ["inferred, since no file says it:", *(f"  {line}" for line in conversion.inferred)]
    if conversion.contradictions:
        lines += ["other than published:", *(f"  {line}" for line in conversion.contradictions)]
    return "\n".join(lines)


def _read_kind(said: ConfigValues, both_towers: bool) -> tuple[ReadableConfig, str]:
    """The configuration, and the class of transformers that it belongs to; of a larger model, the tower's."""
    values = said.values
    model_type = str(values.get("model_type"))
    if model_type not in _KINDS:
        inner = values.get("vision_config")
        inner_type = str(inner.get("model_type")) if isinstance(inner, Mapping) else ""
        if "model_type" not in values and both_towers:
            inner_type = NAFLEX_MODEL_TYPE if is_naflex_type(inner_type) else FULL_MODEL_TYPE
        model_type = inner_type if inner_type in _KINDS else SiglipVisionConfig.model_type
    kind, model_class = _KINDS[model_type]
    try:
        return kind.from_dict(values), model_class
    except ConfigError as error:
        raise ConfigError(f"{said.file}: {error}") from None


def _names(tensors: Tensors, config: Any) -> dict[str, str]:
    """From the names that are written to those of the source."""
    if not hasattr(config, "vision_config"):
        return find_vision_tensors(tensors, config)
    if find_beside_towers(tensors, "classifier.weight") and not holds_both_towers(tensors):
        raise CheckpointError(
            f"{tensors.source}: holds a classifier and no text tower, which is not written: transformers "
            'opens it as it is, with SiglipForImageClassification; dtype="int8" quantises it as it is loaded'
        )
    return find_pair_tensors(tensors, config)


def _preprocessing_writers(files: ModelFiles) -> dict[str, Writer]:
    """What writes the settings of the image processor: copies, or what was inferred."""
    present = [name for name in (PREPROCESSOR_FILE, PROCESSOR_FILE) if (files.folder / name).is_file()]
    writers = {name: bytes_writer((files.folder / name).read_bytes()) for name in present}
    if files.preprocessing.file.name not in (PREPROCESSOR_FILE, PROCESSOR_FILE):
        writers[PREPROCESSOR_FILE] = json_writer(files.preprocessing.values)
    return writers
