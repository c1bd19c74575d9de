"""How every model is loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.loading_keywords import MODEL_KEYWORDS, download_options
from ..common.checks import shown
from ..common.keywords import check_keywords
from ..config.config_section import ReadableConfig
from ..config.configuration import SiglipConfig
from ..errors import ConfigError
from ..kernels.backend import Backend
from ..kernels.choices import DEFAULT_BACKEND, DEFAULT_DTYPE
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
        return cls.from_files(files, read_configuration(cls.config_class, files, config), ops)

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        raise NotImplementedError  # every class builds itself of its own parts


class PretrainedModel(Pretrained, Module):
    """Base of models, which are built of the tensors of a checkpoint alone."""

    @classmethod
    def from_files(cls, files: ModelFiles, config: Any, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        return cls.from_checkpoint(files.tensors, config, ops)

    @classmethod
    def from_checkpoint(cls, checkpoint: Tensors, config: Any, ops: Backend) -> Self:
        """Build it from the tensors of an open checkpoint; see `from_pretrained`."""
        raise NotImplementedError  # every class builds itself of its own parts


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
