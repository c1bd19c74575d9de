"""Texts in, embeddings out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..common.batches import DEFAULT_BATCH_SIZE, check_batch_size, in_batches
from ..common.progress import with_progress
from ..config.configuration import SiglipTextConfig
from ..config.kinds import AnyTextConfig
from ..kernels.backend import DEFAULT_BACKEND, DEFAULT_DTYPE, Backend
from ..model.backends import choose_backend
from ..model.model_files import open_model
from ..model.text import SiglipTextModel
from ..preprocessing.tokenizer import SiglipTokenizer, list_texts
from ..weights.text_weights import find_text_tensors
from ..weights.tower_weights import Tensors
from .embeddings import require_finite

_LEAST_SHARE = 0.5
"""Of a table's rows that a tokenizer uses; tables are sometimes rounded up."""


class TextEmbedder:
    """A text tower together with its tokenizer.

    Make one with `from_pretrained`; an `Embedder` makes one for itself when it is first given a text.

    Parameters
    ----------
    model : SiglipTextModel
    tokenizer : SiglipTokenizer
    source : str
        What the model is called in messages.

    Examples
    --------
    >>> embedder = TextEmbedder.from_pretrained(model_folder)
    >>> embedder.embed_texts(["a cat", "a dog"]).shape == (2, embedder.embedding_size)
    True
    """

    def __init__(
        self, model: SiglipTextModel, tokenizer: SiglipTokenizer, *, source: str = "the model"
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._source = source

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        backend: str = DEFAULT_BACKEND,
        threads: int | None = None,
        dtype: str = DEFAULT_DTYPE,
        float32_layers: Sequence[str] = (),
        revision: str | None = None,
    ) -> TextEmbedder:
        """Load the text tower and the tokenizer of a checkpoint; see `Embedder.from_pretrained`."""
        ops = choose_backend(backend, threads, dtype, float32_layers)
        files = open_model(model, revision, kind=AnyTextConfig)
        return cls.from_files(files.location, files.checkpoint, files.config, ops)

    @classmethod
    def from_files(
        cls, location: Path, checkpoint: Tensors, config: SiglipTextConfig, ops: Backend
    ) -> TextEmbedder:
        """Load them from an open checkpoint."""
        find_text_tensors(checkpoint, config)  # first what is told soonest, since the weights take longest
        length = config.max_position_embeddings
        tokenizer = SiglipTokenizer.from_pretrained(location, context_length=length)
        if not _LEAST_SHARE * config.vocab_size <= tokenizer.vocab_size <= config.vocab_size:
            warnings.warn(
                f"{location}: the tokenizer knows {tokenizer.vocab_size:,} tokens and the text tower "
                f"{config.vocab_size:,}; if it is that of another model, texts mean nothing",
                stacklevel=2,
            )
        tower = SiglipTextModel.from_checkpoint(checkpoint, config, ops)
        return cls(tower, tokenizer, source=str(location))

    @property
    def embedding_size(self) -> int:
        """Length of one embedding."""
        return self.model.config.projection_size

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        normalize: bool = True,
        progress: bool = False,
    ) -> np.ndarray:
        """Embed texts, a batch at a time; see `Embedder.embed_texts`."""
        batch_size = check_batch_size(batch_size)
        stream = [texts] if isinstance(texts, str) else texts
        embedded = []
        for batch in in_batches(with_progress(list_texts(stream), progress, unit="text"), batch_size):
            with np.errstate(all="ignore"):  # what overflows is told below, in one error
                embeddings = self.model(self.tokenizer(batch).input_ids).pooler_output
            assert embeddings is not None  # a text tower always ends in its head
            require_finite(embeddings, None, self._source)
            embedded.append(self.model.ops.l2_normalize(embeddings) if normalize else embeddings)
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)
