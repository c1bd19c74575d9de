"""The model that a command names: opened once, and what had to be inferred of it told in one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..common.progress import write_line

if TYPE_CHECKING:
    from ..checkpoints.description.model_files import ModelFiles
    from ..embedding.embedder import Embedder
    from ..embedding.text_embedder import TextEmbedder


def open_named_model(options: argparse.Namespace) -> ModelFiles:
    """Open what ``MODEL`` or ``--model``, ``--revision`` and ``--subfolder`` name."""
    from ..checkpoints.description.model_files import open_model

    inside = {} if options.subfolder is None else {"subfolder": options.subfolder}
    return open_model(options.model, options.revision, **inside)


def load_embedder(options: argparse.Namespace, files: ModelFiles | None = None) -> Embedder:
    """Load an `Embedder` as ``--backend``, ``--threads`` and ``--dtype`` say, perhaps of an open model."""
    from ..embedding.embedder import Embedder

    files = files or open_named_model(options)
    embedder = Embedder.from_pretrained(files, pooling=getattr(options, "pooling", "head"), **_how(options))
    tell_inferred(files, options.quiet)
    return embedder


def load_text_embedder(options: argparse.Namespace) -> TextEmbedder:
    """Load a `TextEmbedder` likewise; of images nothing is read."""
    from ..embedding.text_embedder import TextEmbedder

    files = open_named_model(options)
    embedder = TextEmbedder.from_pretrained(files, **_how(options))
    if not options.quiet:
        _tell("inferred, since no file says it", files.config.inferred)
        _tell("other than published", files.config.contradictions)
    return embedder


def tell_inferred(files: ModelFiles, quiet: bool = False) -> None:
    """Say in one line what no file of a model says, and in another what one says against its family."""
    if not quiet:
        _tell("inferred, since no file says it", files.inferred)
        _tell("other than published", files.contradictions)


def _tell(what: str, lines: Sequence[str]) -> None:
    if lines:
        write_line(f"numpy-siglip: {what}: {'; '.join(lines)}")


def _how(options: argparse.Namespace) -> dict[str, Any]:
    return {"backend": options.backend, "threads": options.threads, "dtype": options.dtype}
