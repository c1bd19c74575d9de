"""The table of operations that the model is written against, and its fillings.

A backend is one way to compute every operation. The model asks `get_backend` for a table once,
when it is built, and from then on calls what it finds there; it never learns how an operation is
computed. Adding a backend is adding one filling to ``BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .attention.attention import attention, attention_reference
from .attention.attention_pooling import (
    attention_pooling,
    attention_pooling_reference,
    fold_attention_pooling,
    prepare_attention_pooling_reference,
)
from .choices import DEFAULT_BACKEND, DEFAULT_DTYPE, DTYPES
from .inputs.patch_embedding import patch_embedding, patch_embedding_reference
from .inputs.position_embedding import position_embedding, position_embedding_reference
from .inputs.token_embedding import token_embedding, token_embedding_reference
from .layers.encoder import PackedEncoder, encoder, encoder_reference, prepare_encoder_reference
from .layers.encoder_layer import encoder_layer, encoder_layer_reference
from .machine.caches import caches
from .machine.compilation import require_numba
from .machine.instruction_level import instruction_level
from .machine.runtime import Runtime
from .products.linear import linear, linear_reference, prepare_linear_reference
from .products.quantized_linear import prepare_quantized_linear_reference
from .products.similarity import similarity, similarity_reference
from .rows.activations import activation, activation_reference
from .rows.l2_normalize import l2_normalize, l2_normalize_reference
from .rows.layer_norm import layer_norm, layer_norm_reference
from .rows.mean_pooling import mean_pooling, mean_pooling_reference
from .rows.quantization import quantize_rows, quantize_rows_reference
from .rows.sigmoid_loss import sigmoid_loss, sigmoid_loss_reference
from .rows.softmax import softmax, softmax_reference
from .tiles.integer_packing import pack_integers
from .tiles.packing import pack_linear

Attended = tuple[np.ndarray, "np.ndarray | None"]


class Backend(NamedTuple):
    """One filling of the table. Each field has the contract of the file it is named after."""

    name: str
    threads: int | None
    """How many threads an operation uses; None where that is not ours to say."""
    dtype: str
    """Of ``DTYPES``: what the linear maps of encoder layers are computed in. Who prepares weights asks for
    it; operations go by the weights they get."""
    float32_layers: tuple[str, ...]
    """Names of what is to stay in float32 all the same, as that one knows it."""
    prepare_linear: Callable[..., Any]
    """(weight or several to be stacked, bias) -> prepared weights, once a model is loaded."""
    quantize_rows: Callable[..., tuple[np.ndarray, np.ndarray]]
    """(weight) -> int8 weight, scale of each row"""
    prepare_quantized_linear: Callable[..., Any]
    """(int8 weight, scale, bias) -> prepared weights"""
    prepare_attention_pooling: Callable[..., Any]
    """(probe, in_projection, out_projection, num_heads) -> prepared weights"""
    prepare_encoder: Callable[..., Any]
    """(layers) -> prepared layers"""
    linear: Callable[..., np.ndarray]
    """(x, weights, activation=None, residual=None) -> y"""
    patch_embedding: Callable[..., np.ndarray]
    """(pixels, weights, position, patch_size) -> tokens"""
    position_embedding: Callable[..., np.ndarray]
    """(position, rows, columns, interpolation="bicubic") -> resampled position"""
    layer_norm: Callable[..., np.ndarray]
    """(x, weight, bias, eps) -> y"""
    attention: Callable[..., Attended]
    """(query, key, value, num_heads, return_attention=False) -> output, attention"""
    attention_pooling: Callable[..., Attended]
    """(hidden, weights, num_heads, return_attention=False) -> pooled, attention"""
    encoder_layer: Callable[..., np.ndarray]
    """(hidden, weights, num_heads, activation, eps) -> hidden"""
    encoder: Callable[..., np.ndarray]
    """(hidden, prepared layers, num_heads, activation, eps) -> hidden"""
    mean_pooling: Callable[..., np.ndarray]
    """(x) -> y"""
    token_embedding: Callable[..., np.ndarray]
    """(ids, table, position) -> tokens"""
    l2_normalize: Callable[..., np.ndarray]
    """(x) -> y"""
    similarity: Callable[..., np.ndarray]
    """(x, y, scale, bias) -> logits"""
    sigmoid_loss: Callable[..., np.ndarray]
    """(logits) -> loss of each row"""
    activation: Callable[..., np.ndarray]
    """(x, name) -> y"""
    softmax: Callable[..., np.ndarray]
    """(x) -> y, over the last axis"""


def numpy_backend(threads: int | None = None) -> Backend:
    """The references. How many threads NumPy's matrix products use is for its BLAS library to say.

    Examples
    --------
    >>> numpy_backend().name
    'numpy'
    """
    if threads is not None:
        raise ValueError(
            "threads cannot be set for the numpy backend; set OMP_NUM_THREADS or OPENBLAS_NUM_THREADS "
            "before NumPy is imported"
        )
    return Backend(
        name="numpy",
        threads=None,
        dtype="float32",
        float32_layers=(),
        prepare_linear=prepare_linear_reference,
        quantize_rows=quantize_rows_reference,
        prepare_quantized_linear=prepare_quantized_linear_reference,
        prepare_attention_pooling=prepare_attention_pooling_reference,
        prepare_encoder=prepare_encoder_reference,
        linear=linear_reference,
        patch_embedding=patch_embedding_reference,
        position_embedding=position_embedding_reference,
        layer_norm=layer_norm_reference,
        attention=attention_reference,
        attention_pooling=attention_pooling_reference,
        encoder_layer=encoder_layer_reference,
        encoder=encoder_reference,
        mean_pooling=mean_pooling_reference,
        token_embedding=token_embedding_reference,
        l2_normalize=l2_normalize_reference,
        similarity=similarity_reference,
        sigmoid_loss=sigmoid_loss_reference,
        activation=activation_reference,
        softmax=softmax_reference,
    )


def numba_backend(threads: int | None = None) -> Backend:
    """The compiled operations, with threads and working memory of their own.

    Examples
    --------
    >>> numba_backend(threads=1).threads
    1
    """
    require_numba()  # so that its absence is told before any work is done,
    instruction_level()  # and whether this processor can run what it is asked to compile for,
    caches()  # and whether sizes that were named are sizes
    runtime = Runtime(threads)
    return Backend(
        name="numba",
        threads=runtime.threads,
        dtype="float32",
        float32_layers=(),
        prepare_linear=partial(pack_linear, runtime),
        quantize_rows=partial(quantize_rows, runtime),
        prepare_quantized_linear=partial(pack_integers, runtime),
        prepare_attention_pooling=partial(fold_attention_pooling, runtime),
        prepare_encoder=PackedEncoder,
        linear=partial(linear, runtime),
        patch_embedding=partial(patch_embedding, runtime),
        position_embedding=partial(position_embedding, runtime),
        layer_norm=partial(layer_norm, runtime),
        attention=partial(attention, runtime),
        attention_pooling=partial(attention_pooling, runtime),
        encoder_layer=partial(encoder_layer, runtime),
        encoder=partial(encoder, runtime),
        mean_pooling=partial(mean_pooling, runtime),
        token_embedding=partial(token_embedding, runtime),
        l2_normalize=partial(l2_normalize, runtime),
        similarity=partial(similarity, runtime),
        sigmoid_loss=partial(sigmoid_loss, runtime),
        activation=partial(activation, runtime),
        softmax=partial(softmax, runtime),
    )


BACKENDS: dict[str, Callable[[int | None], Backend]] = {"numba": numba_backend, "numpy": numpy_backend}


def get_backend(
    name: str = DEFAULT_BACKEND,
    threads: int | None = None,
    dtype: str = DEFAULT_DTYPE,
    float32_layers: Sequence[str] = (),
) -> Backend:
    """The table of operations of this name.

    Parameters
    ----------
    name : str
        A key of ``BACKENDS``.
    threads : int, optional
        Threads of one call, by default as many as this process may use.
    dtype : str
        One of ``DTYPES``.
    float32_layers : sequence of str
        What stays in float32 with another dtype.

    Raises
    ------
    ValueError
        If there is no such backend or dtype, or the backend cannot use that many threads.

    Examples
    --------
    >>> get_backend("numba", threads=2).threads
    2
    >>> get_backend("abacus")
    Traceback (most recent call last):
        ...
    ValueError: unknown backend 'abacus'; there are: numba, numpy
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; there are: {', '.join(sorted(BACKENDS))}")
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; there are: {', '.join(DTYPES)}")
    return BACKENDS[name](threads)._replace(dtype=dtype, float32_layers=tuple(float32_layers))
