"""What it would cost to compute attention in integers too: cosines to float32, by rounded operands.

    python benchmarks/rounded_attention.py             about three minutes

Queries and keys are rounded by tokens, attention weights to 255 steps and values by features, in the
references of the NumPy backend with int8 maps. It is the bundled model that is asked, and base-patch16-224
with random weights; shown is the lowest cosine of 24 drawn images to float32, without and with the rounding.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

from contestants.random_checkpoint import find_configuration, write_random_checkpoint
from measuring.worker_process import say
from numpy_siglip import Embedder
from numpy_siglip.kernels.attention.attention import attention_reference, split_heads
from numpy_siglip.kernels.layers.encoder_layer import REFERENCES, encoder_layer_reference
from numpy_siglip.tools.quantize.calibration import drawn_images

IMAGES, SEED = 24, 1
_SIGNED, _UNSIGNED = 127, 255


def rounded(x: np.ndarray, axis: int) -> np.ndarray:
    """The nearest of 255 steps up to the largest magnitude along an axis.

    Examples
    --------
    >>> rounded(np.array([[1.27, 0.004, -0.5]]), axis=-1).tolist()
    [[1.27, 0.0, -0.5]]
    """
    largest = np.abs(x).max(axis=axis, keepdims=True)
    step = np.where(largest == 0, 1, largest) / _SIGNED
    return np.asarray(np.rint(x / step) * step, x.dtype)


def rounded_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, num_heads: int
) -> tuple[np.ndarray, None]:
    """`attention_reference` of operands that are rounded as integers would be."""
    q, k, v = (split_heads(x, num_heads) for x in (query, key, value))
    scores = rounded(q, -1) @ rounded(k, -1).swapaxes(-1, -2) * q.dtype.type(q.shape[-1] ** -0.5)
    weights = np.rint(np.exp(scores - scores.max(axis=-1, keepdims=True)) * _UNSIGNED)
    weights = (weights / weights.sum(axis=-1, keepdims=True)).astype(q.dtype)
    return (weights @ rounded(v, -2)).transpose(0, 2, 1, 3).reshape(query.shape), None


def lowest_cosines(model: str | Path) -> dict[str, float]:
    """To float32, of embeddings in int8 with either form of attention."""
    images = drawn_images(IMAGES, SEED)
    exact = Embedder.from_pretrained(model).embed_images(images)
    embedder = Embedder.from_pretrained(model, backend="numpy", dtype="int8")
    found = {}
    for name, attention in (("float32", attention_reference), ("integers", rounded_attention)):
        operations = REFERENCES._replace(attention=attention)
        with mock.patch.object(encoder_layer_reference, "__defaults__", (operations,)):
            found[name] = float((embedder.embed_images(images) * exact).sum(axis=1).min())
    return found


def main() -> int:
    """Measure and print a table."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="siglip-benchmark-") as folder:
        write_random_checkpoint(Path(folder), find_configuration("base-patch16-224"))
        for title, model in (("bundled model", "emoji"), ("base-patch16-224, random weights", folder)):
            say(title)
            cosines = lowest_cosines(model)
            rows.append(f"| {title} | {cosines['float32']:.5f} | {cosines['integers']:.5f} |")
    print("| model | attention in float32 | in integers |\n|---|--:|--:|", *rows, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
