"""From texts to tokens, as `SiglipTextModel` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import CONFIG_FILE, SENTENCEPIECE_FILE, TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE
from ..checkpoints.loading_keywords import PREPROCESSING_KEYWORDS, download_options
from ..common.checks import check_integer, check_return_tensors, shown
from ..common.keywords import check_keywords
from ..common.reading import unexpected_as
from ..errors import CheckpointError, ConfigError, TextError
from ..outputs import BatchFeature
from .call_keywords import LENGTH_KEYWORDS, TEXT_KEYWORDS
from .token_encoders import Encoder, not_installed, read_sentencepiece, read_tokenizer

DEFAULT_CONTEXT_LENGTH = 64
_LONGEST_CONTEXT = 2**20
_GEMMA = ("GemmaTokenizer", "Siglip2Tokenizer")


class SiglipTokenizer:
    """Tokenizer of SigLIP and of SigLIP 2.

    Make one with `from_pretrained`. Every text becomes as many tokens as the model was trained on: a shorter
    one is padded, a longer one is cut and keeps its end token. There is no attention mask, for the model has
    none.

    Parameters
    ----------
    encoder : Encoder
    context_length : int
        Tokens of every text.

    Examples
    --------
    >>> from numpy_siglip import SiglipTokenizer
    >>> tokenizer = SiglipTokenizer.from_pretrained(model_folder)
    >>> tokenizer(["A photo of a cat.", "a photo of a cat"]).input_ids.shape
    (2, 16)
    >>> first, second = tokenizer(["A photo of a cat.", "a photo of a cat"]).input_ids
    >>> bool((first == second).all())  # case and punctuation do not matter
    True
    """

    def __init__(self, encoder: Encoder, context_length: int = DEFAULT_CONTEXT_LENGTH) -> None:
        self._encoder = encoder
        self._location: Path | None = None
        self.context_length = check_integer("context_length", context_length, largest=_LONGEST_CONTEXT)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._location is None:  # it was made from an encoder, which is of functions
            return super().__reduce__()  # type: ignore[return-value]
        return _reopened, (type(self), self._location, self.context_length)

    @property
    def vocab_size(self) -> int:
        """How many tokens it knows."""
        return self._encoder.vocab_size

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | ModelFiles,
        *,
        revision: str | None = None,
        context_length: int | None = None,
        **others: Any,
    ) -> SiglipTokenizer:
        """Read the tokenizer of a checkpoint (extra ``text``).

        Parameters
        ----------
        model : str, Path or ModelFiles
            A folder with ``spiece.model`` or ``tokenizer.json``, a file in it, a hub id, or a model that is
            open already. Their settings in ``tokenizer_config.json`` are respected.
        revision : str, optional
            Branch, tag or commit on the hub.
        context_length : int, optional
            By default that of the text tower in ``config.json``.
        **others
            What transformers' programs pass: ``model_max_length``, which is ``context_length``;
            ``cache_dir``, ``force_download``, ``local_files_only`` and ``token``, for the hub; and what has
            one right value here, such as ``use_fast=True``.

        Raises
        ------
        ConfigError
            If there is no such file, it is damaged, or it is that of another model; if an option asks for
            what there is not.
        CheckpointError
            If the model is not found.
        SiglipError
            If the library that reads the file is not installed.
        """
        longest = others.pop("model_max_length", None)
        check_keywords(cls.from_pretrained, others, PREPROCESSING_KEYWORDS, also=["model_max_length"])
        context_length = longest if context_length is None else context_length
        files = open_model(model, revision, **download_options(others))
        if context_length is None:
            context_length = _context_length(files)
        tokenizer = cls(read_encoder(files), context_length)
        tokenizer._location = files.location
        return tokenizer

    def __call__(
        self,
        text: Any,
        *,
        padding: Any = "max_length",
        truncation: Any = True,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **others: Any,
    ) -> BatchFeature:
        """Tokenize one text or several.

        Parameters
        ----------
        text : str or iterable of str
        padding : {"max_length", True, None}
            All mean the same: a text is padded to ``max_length``. In transformers True pads to the longest
            text of a batch, which would spoil the embeddings.
        truncation : {True, "longest_first", "only_first", None}
            Likewise, a longer text is cut.
        max_length : int, optional
            Instead of ``context_length``.
        return_tensors : {"np", None}
            The result is an array of NumPy either way.
        **others
            What transformers' programs pass and has one right value here, such as
            ``add_special_tokens=True``.

        Returns
        -------
        BatchFeature
            A dictionary of ``input_ids``, int64 of shape (batch, context_length).

        Raises
        ------
        TextError
            If something is no text.
        ConfigError
            If another padding, another library's arrays, or what there is not, is asked for.
        """
        check_return_tensors(return_tensors)
        check_keywords(self.__call__, others, TEXT_KEYWORDS)
        check_keywords(self.__call__, {"padding": padding, "truncation": truncation}, LENGTH_KEYWORDS)
        length = self.context_length
        if max_length is not None:
            length = check_integer("max_length", max_length, largest=_LONGEST_CONTEXT)
        rows = [self._padded(one, length) for one in list_texts(text)]
        return BatchFeature(input_ids=np.array(rows, np.int64).reshape(-1, length))

    def _padded(self, text: str, length: int) -> list[int]:
        ids = self._encoder.encode(text, length)[:length]
        padding = [self._encoder.pad_id] * (length - len(ids))
        return padding + ids if self._encoder.pads_left else ids + padding


def _reopened(kind: type[SiglipTokenizer], location: Path, context_length: int) -> SiglipTokenizer:
    """Read a tokenizer from where it lies, in a process that it was sent to."""
    return kind.from_pretrained(ModelFiles(location), context_length=context_length)


def list_texts(text: Any) -> list[str]:
    """One text as a list of one, and any others as they are.

    Raises
    ------
    TextError
        If something is no text.

    Examples
    --------
    >>> list_texts("a cat"), list_texts(("a cat", "a dog"))
    (['a cat'], ['a cat', 'a dog'])
    >>> list_texts(["a cat", None])
    Traceback (most recent call last):
        ...
    numpy_siglip.errors.TextError: text 2 of 2 is None; it must be a string
    """
    if isinstance(text, str):
        text = [text]
    if isinstance(text, (bytes, Mapping)) or not isinstance(text, Iterable):
        raise TextError(f"the text is {shown(text)}; it must be a string or several strings")
    texts = list(text)
    for number, one in enumerate(texts, 1):
        if not isinstance(one, str):
            raise TextError(f"text {number} of {len(texts)} is {shown(one)}; it must be a string")
        if any("\ud800" <= character <= "\udfff" for character in one):
            raise TextError(
                f"text {number} of {len(texts)} is {shown(one)}, which holds half of a surrogate pair; "
                "decode it anew"
            )
    return [str(one) for one in texts]


def read_encoder(files: ModelFiles) -> Encoder:
    """Read the vocabulary beside a checkpoint.

    Raises
    ------
    ConfigError, SiglipError
        See `SiglipTokenizer.from_pretrained`.
    """
    folder = files.folder
    settings = files.json_file(TOKENIZER_SETTINGS_FILE) or {}
    name = _tokenizer_file(folder, settings)
    try:
        with unexpected_as(ConfigError, folder / name, "fetch the file again"):
            return (read_sentencepiece if name == SENTENCEPIECE_FILE else read_tokenizer)(
                folder / name, settings
            )
    except ConfigError as error:
        if str(error).startswith(str(folder)):
            raise
        raise ConfigError(f"{folder / TOKENIZER_SETTINGS_FILE}: {error}") from None


def require_tokenizer(files: ModelFiles) -> None:
    """Find out, before anything that takes long, whether the tokenizer of a model can be read.

    Raises
    ------
    ConfigError
        If there is none.
    SiglipError
        If the library that reads it is not installed.

    Examples
    --------
    >>> require_tokenizer(ModelFiles(model_folder))
    """
    settings = files.json_file(TOKENIZER_SETTINGS_FILE) or {}
    file = files.folder / _tokenizer_file(files.folder, settings)
    library = "sentencepiece" if file.name == SENTENCEPIECE_FILE else "tokenizers"
    try:
        import_module(library)
    except ImportError as cause:
        raise not_installed(file, library) from cause


def _tokenizer_file(folder: Path, settings: Mapping[str, Any]) -> str:
    """Which of the two files of a vocabulary is read."""
    is_gemma = str(settings.get("tokenizer_class")).removesuffix("Fast") in _GEMMA
    for name in (TOKENIZER_FILE,) if is_gemma else (SENTENCEPIECE_FILE, TOKENIZER_FILE):
        if (folder / name).exists():
            return name
    missing = TOKENIZER_FILE if is_gemma else f"{SENTENCEPIECE_FILE} and no {TOKENIZER_FILE}"
    raise ConfigError(f"{folder}: no {missing}; put the model's tokenizer beside its weights")


def _context_length(files: ModelFiles) -> int:
    """Tokens of a text, as the configuration of the text tower says."""
    path = files.folder / CONFIG_FILE
    values: Mapping[str, Any] | None = files.json_file(CONFIG_FILE)
    if values is None:
        try:
            path, values = files.config.file, files.config.values
        except (ConfigError, CheckpointError):
            raise ConfigError(
                f"{files.folder}: no {CONFIG_FILE}; put the model's {CONFIG_FILE} beside its tokenizer, or "
                "pass context_length"
            ) from None
    section = values.get("text_config", values)
    length = section.get("max_position_embeddings") if isinstance(section, Mapping) else None
    if length is None:
        return DEFAULT_CONTEXT_LENGTH
    try:
        return check_integer("max_position_embeddings", length, largest=_LONGEST_CONTEXT)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
