"""Texts in, embeddings out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backends import choose_backend
from .batches import DEFAULT_BATCH_SIZE, check_batch_size, in_batches
from .checks import check_mapping
from .config_section import ReadableConfig, is_naflex_type
from .configuration import SiglipTextConfig
from .embeddings import require_finite
from .kernels.backend import DEFAULT_BACKEND, DEFAULT_DTYPE, Backend
from .model_files import open_model
from .naflex_configuration import Siglip2TextConfig
from .progress import with_progress
from .text import SiglipTextModel
from .text_weights import find_text_tensors
from .tokenizer import SiglipTokenizer, list_texts
from .tower_weights import Tensors

_LEAST_SHARE = 0.5
"""Of a table's rows that a tokenizer uses; tables are sometimes rounded up."""


class AnyTextConfig(ReadableConfig):
    """Reads the configuration of a text tower, of a model of fixed resolution or of NaFlex."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """A `SiglipTextConfig`, or a `Siglip2TextConfig` if that is what the values say they are.

        Raises
        ------
        ConfigError
            If a value is impossible, or they describe no SigLIP text tower.

        Examples
        --------
        >>> type(AnyTextConfig.from_dict({"model_type": "siglip2"})).__name__
        'Siglip2TextConfig'
        """
        values = check_mapping("the configuration", values)
        section = values.get(SiglipTextConfig.section)
        inner = section.get("model_type") if isinstance(section, Mapping) else None
        naflex = is_naflex_type(values.get("model_type")) or is_naflex_type(inner)
        return (Siglip2TextConfig if naflex else SiglipTextConfig).from_dict(values)


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
