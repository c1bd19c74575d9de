"""Texts in, embeddings out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checkpoints.description.model_files import ModelFiles
from ..common.batches import check_batch_size, in_batches
from ..common.checks import check_flag
from ..common.defaults import DEFAULT_BATCH_SIZE
from ..common.progress import with_progress
from ..config.config_section import ReadableConfig
from ..config.configuration import SiglipTextConfig
from ..config.kinds import AnyTextConfig
from ..kernels.backend import Backend
from ..model.pretrained import Pretrained
from ..model.text import SiglipTextModel
from ..preprocessing.tokenizer import SiglipTokenizer, list_texts
from ..weights.text_weights import find_text_tensors
from .finiteness import require_finite

if TYPE_CHECKING:
    from typing_extensions import Self

_LEAST_SHARE = 0.5
"""Of a table's rows that a tokenizer uses; tables are sometimes rounded up."""


class TextEmbedder(Pretrained):
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

    config_class: ClassVar[type[ReadableConfig]] = AnyTextConfig

    def __init__(
        self, model: SiglipTextModel, tokenizer: SiglipTokenizer, *, source: str = "the model"
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._source = source

    @classmethod
    def from_files(cls, files: ModelFiles, config: SiglipTextConfig, ops: Backend) -> Self:
        """Build it from an open model; see `from_pretrained`."""
        tensors = files.tensors
        find_text_tensors(tensors, config)  # first what is told soonest, since the weights take longest
        length = config.max_position_embeddings
        tokenizer = SiglipTokenizer.from_pretrained(files, context_length=length)
        if not _LEAST_SHARE * config.vocab_size <= tokenizer.vocab_size <= config.vocab_size:
            warnings.warn(
                f"{files}: the tokenizer knows {tokenizer.vocab_size:,} tokens and the text tower "
                f"{config.vocab_size:,}; if it is that of another model, texts mean nothing",
                stacklevel=2,
            )
        return cls(SiglipTextModel.from_checkpoint(tensors, config, ops), tokenizer, source=str(files))

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
        normalize = check_flag("normalize", normalize)
        stream = [texts] if isinstance(texts, str) else texts
        embedded = []
        for batch in in_batches(with_progress(list_texts(stream), progress, unit="text"), batch_size):
            with np.errstate(all="ignore"):  # what overflows is told below, in one error
                tokens: Any = self.tokenizer(batch)
                embeddings = self.model(**tokens).pooler_output
            assert embeddings is not None  # a text tower always ends in its head
            require_finite(embeddings, None, self._source)
            embedded.append(self.model.ops.l2_normalize(embeddings) if normalize else embeddings)
        return np.concatenate(embedded) if embedded else np.zeros((0, self.embedding_size), np.float32)
