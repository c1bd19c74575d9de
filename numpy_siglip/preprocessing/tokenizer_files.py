"""The files of a tokenizer: which of them there are, what they say, and the same files written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoints.description.model_files import ModelFiles, is_of_transformers
from ..checkpoints.file_names import (
    CONFIG_FILE,
    OPEN_CLIP_FILE,
    SENTENCEPIECE_FILE,
    TOKENIZER_FILE,
    TOKENIZER_SETTINGS_FILE,
)
from ..checkpoints.saving import Writer, bytes_writer, json_writer
from ..common.checks import shown
from ..common.reading import read_regular_file, unexpected_as
from ..errors import ConfigError
from .token_encoders import Encoder, not_installed, read_sentencepiece, read_tokenizer

_GEMMA = ("GemmaTokenizer", "Siglip2Tokenizer")
_NAFLEX_CLASS, _ANY_CLASS = "Siglip2Tokenizer", "PreTrainedTokenizerFast"
_OTHERS = ("tokenizer.model", "special_tokens_map.json", "added_tokens.json")
"""Of no use here; they are kept for whoever opens what is saved"""
_LARGEST = 2**28
"""Bytes of a vocabulary; that of SigLIP 2 has an eighth of it"""

INPUT_IDS, ATTENTION_MASK = "input_ids", "attention_mask"


class TokenizerFiles(NamedTuple):
    """The files of a tokenizer, read."""

    folder: Path
    """Where they lay, for messages"""
    settings: Mapping[str, Any]
    """Of ``tokenizer_config.json``; nothing if there is none"""
    contents: Mapping[str, bytes]
    """Of the other files, by their names"""
    vocabulary_file: str
    """Which of them is read"""
    model_input_names: tuple[str, ...]
    """What the tokenizer returns: tokens, and a mask where transformers would give the model one"""

    @classmethod
    def read(cls, files: ModelFiles) -> TokenizerFiles:
        """Read the files of an open model.

        Raises
        ------
        ConfigError
            If there is no vocabulary, a file cannot be read, or what it says is impossible.

        Examples
        --------
        >>> files = TokenizerFiles.read(ModelFiles(model_folder))
        >>> files.vocabulary_file, files.model_input_names
        ('spiece.model', ('input_ids',))
        """
        settings = files.json_file(TOKENIZER_SETTINGS_FILE) or {}
        vocabulary_file = _vocabulary_file(files.folder, settings)
        contents = {}
        for name in (SENTENCEPIECE_FILE, TOKENIZER_FILE, *_OTHERS):
            try:
                contents[name] = read_regular_file(files.folder / name, ConfigError, largest=_LARGEST)
            except FileNotFoundError as cause:
                if name == vocabulary_file:  # it was there a moment ago
                    raise ConfigError(f"{files.folder / name}: no such file") from cause
        names = model_input_names(files)
        if vocabulary_file == TOKENIZER_FILE and _is_of_naflex(files):
            # transformers opens it with this class whatever the file says, as long as the model is beside it
            settings = {**settings, "tokenizer_class": _NAFLEX_CLASS}
        return cls(files.folder, settings, contents, vocabulary_file, names)

    def read_encoder(self) -> Encoder:
        """Make sense of the vocabulary.

        Raises
        ------
        ConfigError, SiglipError
            See `SiglipTokenizer.from_pretrained`.
        """
        file, content = self.folder / self.vocabulary_file, self.contents[self.vocabulary_file]
        read = read_sentencepiece if self.vocabulary_file == SENTENCEPIECE_FILE else read_tokenizer
        try:
            with unexpected_as(ConfigError, file, "fetch the file again"):
                return read(file, content, self.settings)
        except ConfigError as error:
            if str(error).startswith(str(self.folder)):
                raise
            raise ConfigError(f"{self.folder / TOKENIZER_SETTINGS_FILE}: {error}") from None

    def writers(self, **settings: Any) -> dict[str, Writer]:
        """What writes the same files, with some settings changed, so that transformers opens them likewise.

        Examples
        --------
        >>> sorted(TokenizerFiles.read(ModelFiles(model_folder)).writers(model_max_length=16))
        ['spiece.model', 'tokenizer_config.json']
        """
        kind = self.settings.get("tokenizer_class") or self._class_of_transformers()
        written = {**({} if kind is None else {"tokenizer_class": kind}), **self.settings, **settings}
        written["model_input_names"] = list(self.model_input_names)
        if kind == _ANY_CLASS:  # which knows no special tokens of its own
            written = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>", **written}
        return {
            **{name: bytes_writer(content) for name, content in self.contents.items()},
            TOKENIZER_SETTINGS_FILE: json_writer(written),
        }

    def _class_of_transformers(self) -> str | None:
        """Which class opens the vocabulary, where no file says it; None if there is none."""
        if self.vocabulary_file == SENTENCEPIECE_FILE:
            return "SiglipTokenizer"
        try:
            kind = json.loads(self.contents[TOKENIZER_FILE])["model"]["type"]
        except (ValueError, LookupError, TypeError, RecursionError):  # which is told when it is read
            return None
        return {"BPE": _NAFLEX_CLASS, "Unigram": _ANY_CLASS}.get(str(kind))


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
    file = files.folder / _vocabulary_file(files.folder, settings)
    library = "sentencepiece" if file.name == SENTENCEPIECE_FILE else "tokenizers"
    try:
        import_module(library)
    except ImportError as cause:
        raise not_installed(file, library) from cause


def has_tokenizer(files: ModelFiles) -> bool:
    """Whether there is a vocabulary beside a model.

    Examples
    --------
    >>> has_tokenizer(ModelFiles(model_folder)), has_tokenizer(ModelFiles(classifier_folder))
    (True, False)
    """
    return any((files.folder / name).exists() for name in (SENTENCEPIECE_FILE, TOKENIZER_FILE))


def _vocabulary_file(folder: Path, settings: Mapping[str, Any]) -> str:
    """Which of the two files of a vocabulary is read."""
    is_gemma = str(settings.get("tokenizer_class")).removesuffix("Fast") in _GEMMA
    for name in (TOKENIZER_FILE,) if is_gemma else (SENTENCEPIECE_FILE, TOKENIZER_FILE):
        if (folder / name).exists():
            return name
    missing = TOKENIZER_FILE if is_gemma else f"{SENTENCEPIECE_FILE} and no {TOKENIZER_FILE}"
    raise ConfigError(f"{folder}: no {missing}; put the model's tokenizer beside its weights")


def model_input_names(files: ModelFiles) -> tuple[str, ...]:
    """What transformers returns for texts of this model: every tokenizer of its own masks padding.

    Published conversions ask for tokens alone, since SigLIP was trained without a mask. Where other libraries
    than transformers wrote the model there never is one.

    Raises
    ------
    ConfigError
        If the file of settings cannot be read, or what it says is impossible.

    Examples
    --------
    >>> model_input_names(ModelFiles(model_folder))
    ('input_ids',)
    """
    settings = files.json_file(TOKENIZER_SETTINGS_FILE) or {}
    names = settings.get("model_input_names")
    if names is None:
        return (INPUT_IDS, ATTENTION_MASK) if _opens_in_transformers(files, settings) else (INPUT_IDS,)
    if not isinstance(names, (list, tuple)) or INPUT_IDS not in names:
        raise ConfigError(
            f"{files.folder / TOKENIZER_SETTINGS_FILE}: model_input_names is {shown(names)}; it must be a "
            f"list that holds {INPUT_IDS}"
        )
    return (INPUT_IDS, ATTENTION_MASK) if ATTENTION_MASK in names else (INPUT_IDS,)


def _is_of_naflex(files: ModelFiles) -> bool:
    config = files.json_file(CONFIG_FILE) or {}
    return str(config.get("model_type")).startswith("siglip2")


def _opens_in_transformers(files: ModelFiles, settings: Mapping[str, Any]) -> bool:
    config = files.json_file(CONFIG_FILE)
    if config is not None:
        return is_of_transformers(config)
    return "tokenizer_class" in settings and not (files.folder / OPEN_CLIP_FILE).exists()
