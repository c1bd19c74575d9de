"""From texts to tokens, as `SiglipTextModel` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.description.model_files import ModelFiles, open_model
from ..checkpoints.file_names import CONFIG_FILE, TOKENIZER_SETTINGS_FILE
from ..checkpoints.loading_keywords import PREPROCESSING_KEYWORDS, download_options
from ..checkpoints.saving import Writer, save_files
from ..common.checks import check_flag, check_integer, check_return_tensors, shown
from ..common.keywords import check_keywords
from ..common.reading import unexpected_as
from ..errors import CheckpointError, ConfigError, TextError
from ..outputs import BatchFeature
from .call_keywords import LENGTH_KEYWORDS, TEXT_KEYWORDS
from .token_encoders import Encoder
from .tokenizer_files import ATTENTION_MASK, INPUT_IDS, TokenizerFiles
from .vocabulary import WithVocabulary

DEFAULT_CONTEXT_LENGTH = 64
_LONGEST_CONTEXT = 2**20


class SiglipTokenizer(WithVocabulary):
    """Tokenizer of SigLIP and of SigLIP 2.

    Make one with `from_pretrained`. Every text becomes as many tokens as the model was trained on: a shorter
    one is padded, a longer one is cut and keeps its end token. Published models were trained without a mask,
    and their files ask for none; where the files of a model do ask for one, padding is masked.

    Parameters
    ----------
    encoder : Encoder
    context_length : int
        Tokens of every text.
    model_input_names : sequence of str
        What a call returns: ``"input_ids"``, and ``"attention_mask"`` where padding is masked.

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

    def __init__(
        self,
        encoder: Encoder,
        context_length: int = DEFAULT_CONTEXT_LENGTH,
        model_input_names: Sequence[str] = (INPUT_IDS,),
    ) -> None:
        super().__init__(encoder.vocabulary)
        self._encoder = encoder
        self._files: TokenizerFiles | None = None
        self.context_length = check_integer("context_length", context_length, largest=_LONGEST_CONTEXT)
        self.model_input_names = list(model_input_names)

    @classmethod
    def from_files(cls, files: TokenizerFiles, context_length: int) -> SiglipTokenizer:
        """Build it from files that were read; see `from_pretrained`."""
        tokenizer = cls(files.read_encoder(), context_length, files.model_input_names)
        tokenizer._files = files
        return tokenizer

    def __reduce__(self) -> tuple[Any, ...]:
        if self._files is None:  # it was made from an encoder, which is of functions
            return super().__reduce__()  # type: ignore[return-value]
        return type(self).from_files, (self._own_files(self._files), self.context_length)

    def __repr__(self) -> str:
        kind, special = type(self).__name__, self.special_tokens_map
        return f"<{kind}: {self.vocab_size:,} tokens, texts of {self.context_length}, {special}>"

    @property
    def model_max_length(self) -> int:
        """Tokens of every text, as transformers calls it."""
        return self.context_length

    @property
    def padding_side(self) -> str:
        """Where padding stands: ``"right"`` of a text, or ``"left"``."""
        return "left" if self._encoder.pads_left else "right"

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
        return cls.from_files(TokenizerFiles.read(files), context_length)

    def save_pretrained(self, save_directory: str | Path, **others: Any) -> tuple[Path, ...]:
        """Write the files of the tokenizer to a folder that transformers opens too.

        Parameters
        ----------
        save_directory : str or Path
            Made if it is missing; files of the same names are replaced.
        **others
            What transformers' programs pass and has one right value here, such as ``push_to_hub=False``.

        Returns
        -------
        tuple of Path
            The files.

        Raises
        ------
        ConfigError
            If the tokenizer was not read from files, or an option asks for what there is not.
        OSError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from numpy_siglip import SiglipTokenizer
        >>> tokenizer = SiglipTokenizer.from_pretrained(model_folder)
        >>> folder = Path(tempfile.mkdtemp()) / "saved"
        >>> sorted(file.name for file in tokenizer.save_pretrained(folder))
        ['spiece.model', 'tokenizer_config.json']
        >>> SiglipTokenizer.from_pretrained(folder).context_length == tokenizer.context_length
        True
        """
        return save_files(self.save_pretrained, save_directory, self.writers(), others)

    def writers(self, **settings: Any) -> dict[str, Writer]:
        """What writes the files of the tokenizer, by their names; see `save_pretrained`."""
        if self._files is None:
            raise ConfigError(
                "this tokenizer was made of an encoder, and was read from no files that could be written "
                "again; make it with from_pretrained"
            )
        return self._own_files(self._files).writers(model_max_length=self.context_length, **settings)

    def _own_files(self, files: TokenizerFiles) -> TokenizerFiles:
        """The files, with what a program has chosen since."""
        return files._replace(model_input_names=tuple(self.model_input_names))

    def __call__(
        self,
        text: Any,
        *,
        padding: Any = "max_length",
        truncation: Any = True,
        max_length: int | None = None,
        return_attention_mask: bool | None = None,
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
        return_attention_mask : bool, optional
            Whether padding is masked, if not as the model's files ask for.
        return_tensors : {"np", None}
            The result is an array of NumPy either way.
        **others
            What transformers' programs pass and has one right value here, such as
            ``add_special_tokens=True``.

        Returns
        -------
        BatchFeature
            A dictionary of ``input_ids``, int64 of shape (batch, context_length), and, if padding is masked,
            of ``attention_mask``, int64 of the same shape: 0 for padding, 1 for the text and its end token.

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
        texts = list_texts(text)
        with self._expected():
            encoded = [self._encoder.encode(one, length)[:length] for one in texts]
        pad = self._encoder.pad_id
        features = BatchFeature(input_ids=self._padded(encoded, pad, length))
        masks = ATTENTION_MASK in self.model_input_names
        if check_flag("return_attention_mask", return_attention_mask, default=masks):
            features[ATTENTION_MASK] = self._padded([[1] * len(ids) for ids in encoded], 0, length)
        return features

    def _expected(self) -> AbstractContextManager[None]:
        """What a library did not expect of a damaged vocabulary becomes an error that names its file."""
        files = self._files
        file = "the tokenizer" if files is None else files.folder / files.vocabulary_file
        return unexpected_as(ConfigError, file, "fetch the file again")

    def _padded(self, rows: list[list[int]], filling: int, length: int) -> np.ndarray:
        """Rows of one length: int64 (rows, length)."""
        padded = np.full((len(rows), length), filling, np.int64)
        for place, row in zip(padded, rows, strict=True):
            place[length - len(row) if self._encoder.pads_left else 0 :][: len(row)] = row
        return padded


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


def _context_length(files: ModelFiles) -> int:
    """Tokens of a text, as the configuration of the text tower says, or else the tokenizer's own."""
    path = files.folder / CONFIG_FILE
    values: Mapping[str, Any] | None = files.json_file(CONFIG_FILE)
    if values is None:
        try:
            path, values = files.config.file, files.config.values
        except (ConfigError, CheckpointError):
            return _own_length(files)
    section = values.get("text_config", values)
    length = section.get("max_position_embeddings") if isinstance(section, Mapping) else None
    if length is None:
        return DEFAULT_CONTEXT_LENGTH
    try:
        return check_integer("max_position_embeddings", length, largest=_LONGEST_CONTEXT)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _own_length(files: ModelFiles) -> int:
    """What a tokenizer says that was saved without a model; transformers writes 1e30 if it does not know."""
    length = (files.json_file(TOKENIZER_SETTINGS_FILE) or {}).get("model_max_length")
    if isinstance(length, int) and 1 <= length <= _LONGEST_CONTEXT:
        return length
    raise ConfigError(
        f"{files.folder}: no {CONFIG_FILE}; put the model's {CONFIG_FILE} beside its tokenizer, or pass "
        "context_length"
    )
