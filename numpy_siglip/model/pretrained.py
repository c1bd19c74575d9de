"""How every model is loaded from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import CONFIG_FILE, WEIGHTS_FILE
from ..checkpoints.loading_keywords import MODEL_KEYWORDS, download_options
from ..checkpoints.other_quantization import ADVICE, writer_of
from ..checkpoints.saving import model_writers, save_files
from ..common.checks import shown
from ..common.keywords import check_keywords
from ..config.config_section import ReadableConfig
from ..config.configuration import SiglipConfig
from ..errors import CheckpointError, ConfigError
from ..kernels.backend import Backend
from ..kernels.choices import DEFAULT_BACKEND, DEFAULT_DTYPE
from ..weights.model_tensors import ModelTensors
from ..weights.tower_weights import Tensors
from .backends import choose_backend, choose_dtype
from .module import Module

if TYPE_CHECKING:
    from typing_extensions import Self


class Pretrained:
    """Base of what is built of an open model."""

    config_class: ClassVar[type[ReadableConfig]]
    """Reads the configuration that the model is built by"""

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | ModelFiles,
        *,
        backend: str = DEFAULT_BACKEND,
        threads: int | None = None,
        dtype: Any = DEFAULT_DTYPE,
        float32_layers: Sequence[str] = (),
        revision: str | None = None,
        config: Any = None,
        **others: Any,
    ) -> Self:
        """Load a checkpoint in any layout; tensors that the model does not need are not read.

        A vision tower is found in a checkpoint of its own, of both towers, or of a larger model that holds
        one. float16 and bfloat16 weights are widened to float32. Of the token table of a text tower no row is
        read before a text asks for it.

        Parameters
        ----------
        model : str, Path or ModelFiles
            A folder with ``config.json`` and safetensors weights, a ``.safetensors`` file or index beside its
            ``config.json``, an ``.npz`` archive, ``"emoji"``, which comes with the package, a hub id (needs
            the extra ``hub``), or a model that is open already.
        backend : str
            How operations are computed: ``"numba"``, compiled when they are first used, or ``"numpy"``.
        threads : int, optional
            Threads of the compiled backend, by default as many as the processors this process may use.
        dtype : str
            What the linear maps of the encoder are computed in: ``"float32"``, which is also what ``"auto"``
            means, or ``"int8"``, which is faster, takes a quarter of the memory, and rounds. A folder that
            was quantised already is int8 whatever this says.
        float32_layers : sequence of str
            Maps that stay in float32 with ``dtype="int8"``, such as ``"encoder.layers.0"`` or
            ``"encoder.layers.11.mlp.fc2"``.
        revision : str, optional
            Branch, tag or commit on the hub.
        config : configuration, optional
            Instead of the checkpoint's own ``config.json``: of the model's own class, or of a whole model
            that has such a tower.
        **others
            What transformers' programs pass: ``torch_dtype``, which is ``dtype``; ``cache_dir``,
            ``force_download``, ``local_files_only`` and ``token``, for the hub; and what has one right value
            here, such as ``device_map="auto"``.

        Raises
        ------
        ConfigError
            If the configuration is missing, unreadable or impossible, there is no such backend or dtype, or
            it cannot use that many threads; if two towers do not end in one space; if an option asks for
            what there is not.
        CheckpointError
            If weights are missing, damaged, or do not fit the configuration.

        Examples
        --------
        >>> from numpy_siglip import SiglipModel, SiglipVisionModel
        >>> SiglipVisionModel.from_pretrained(model_folder, backend="numpy").config.image_size
        44
        >>> SiglipModel.from_pretrained(model_folder, backend="numpy").config.text_config.vocab_size
        120
        """
        dtype = choose_dtype(dtype, others.pop("torch_dtype", None))
        check_keywords(cls.from_pretrained, others, MODEL_KEYWORDS)
        ops = choose_backend(backend, threads, dtype, float32_layers)
        files = open_model(model, revision, **download_options(others))
        with _cause_told(files):
            return cls.from_files(files, read_configuration(cls.config_class, files, config), ops)

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        raise NotImplementedError  # every class builds itself of its own parts


@contextmanager
def _cause_told(files: ModelFiles) -> Iterator[None]:
    """Let what is wrong with weights say that they were quantised, where ``config.json`` does."""
    try:
        yield
    except CheckpointError as error:
        writer = writer_of(files.json_file(CONFIG_FILE))
        if writer is None or "quantised" in str(error):
            raise
        raise CheckpointError(
            f"{error}; {CONFIG_FILE} says that weights were quantised by {writer}, which is not read: "
            f"{ADVICE}"
        ) from error.__cause__


class PretrainedModel(Pretrained, Module):
    """Base of models, which are built of the tensors of a checkpoint alone."""

    config: Any
    _tensors: Tensors | None = None
    """Of which it was built; None if it was made of weights by hand"""

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        return cls.from_checkpoint(files.tensors, config, ops)

    @classmethod
    def from_checkpoint(cls, checkpoint: Tensors, config: Any, ops: Backend) -> Self:
        """Build it from the tensors of an open checkpoint; see `from_pretrained`."""
        model = cls.build(checkpoint, config, ops)
        model._tensors = checkpoint.anew()
        return model

    @classmethod
    def build(cls, checkpoint: Tensors, config: Any, ops: Backend) -> Self:
        """Build it from the tensors of an open checkpoint, without a memory of where they came from."""
        raise NotImplementedError  # every class builds itself of its own parts

    def stored_names(self, checkpoint: Tensors) -> dict[str, str]:
        """From the names of transformers to those of the checkpoint that the model was built of."""
        raise NotImplementedError  # every class has tensors of its own

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> tuple[Path, ...]:
        """Write the model to a folder that transformers opens.

        The tensors are read again from the files that the model was loaded from, and written as they are
        stored there: what is float16 stays float16. What was in another layout is in that of transformers
        then. Preprocessing is saved by the ``save_pretrained`` of the processor.

        Parameters
        ----------
        save_directory : str or Path
            Made if it is missing; files of the same names are replaced, all or none.
        **others
            What transformers' programs pass and has one right value here, such as
            ``safe_serialization=True``.

        Returns
        -------
        tuple of Path
            ``config.json`` and ``model.safetensors`` in the folder.

        Raises
        ------
        ConfigError
            If the model was not loaded from files, it is to be written over them, or an option asks for what
            there is not.
        CheckpointError
            If those files are not there any more or were changed, or the model computes in int8.
        OSError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_siglip import SiglipVisionModel
        >>> model = SiglipVisionModel.from_pretrained(model_folder)
        >>> [file.name for file in model.save_pretrained(Path(tempfile.mkdtemp()) / "saved")]
        ['config.json', 'model.safetensors']
        """
        if self._tensors is None:
            raise ConfigError(
                "this model was made of weights by hand, and was loaded from no files that could be written "
                "again; make it with from_pretrained"
            )
        advice = "load the model that it was made of; numpy-siglip quantize writes int8"
        part: Any = self if hasattr(self, "ops") else self.vision_model  # type: ignore[attr-defined]
        if part.ops.dtype != DEFAULT_DTYPE:
            raise CheckpointError(f"{self._tensors.source}: was quantised as it was loaded; {advice}")
        written = ModelTensors(self._tensors, self.stored_names(self._tensors))
        written.require_floats(advice)
        refuse_own_files(save_directory, self._tensors)
        config = {**self.config.to_dict(), "architectures": [type(self).__name__]}
        writers = model_writers(config, written.entries, written.read)
        return save_files(self.save_pretrained, save_directory, writers, others)


def refuse_own_files(folder: Any, tensors: Tensors) -> None:
    """Refuse to write a model over the files that it is read from.

    Raises
    ------
    ConfigError
    """
    if not isinstance(folder, (str, os.PathLike)):
        return  # which is told where it is opened
    target = Path(os.path.realpath(Path(folder).expanduser() / WEIGHTS_FILE))
    if any(Path(os.path.realpath(file)) == target for file in {entry.file for entry in tensors.values()}):
        raise ConfigError(
            f"{folder}: the model was loaded from here, and reads these files; name another folder"
        )


def read_configuration(kind: type[ReadableConfig], files: ModelFiles, config: Any = None) -> Any:
    """The configuration of an open model, or the one that is given, once it is known to be of that kind.

    Headers of the tensors are read first: if the wrong thing was named, that is the error to tell, and not
    that the wrong thing has no ``config.json`` beside it.

    Raises
    ------
    CheckpointError
        If there is no checkpoint or it is damaged.
    ConfigError
        If the configuration is missing, unreadable, impossible or of another type.

    Examples
    --------
    >>> from numpy_siglip import SiglipVisionConfig
    >>> read_configuration(SiglipVisionConfig, open_model(model_folder)).hidden_size
    33
    """
    classes = kind.classes()
    section = getattr(classes[0], "section", None)
    if section and isinstance(config, SiglipConfig):
        config = getattr(config, section)
    if config is not None and not isinstance(config, classes):
        names = " or ".join(one.__name__ for one in classes)
        makers = " or ".join(f"{one.__name__}.from_dict" for one in classes)
        raise ConfigError(
            f"config is {shown(config)}; it must be a {names}, which {makers} makes of a dictionary"
        )
    files.tensors  # noqa: B018  (reads their headers)
    return config or kind.from_pretrained(files)
