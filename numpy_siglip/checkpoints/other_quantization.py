"""Weights that another library quantised, told by the tensors that only it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import CheckpointError
from .checkpoint import TensorEntry

_MARKS = {
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".qzeros": "GPTQ or AWQ",
    ".qweight": "GPTQ or AWQ",
    ".weight_packed": "compressed-tensors",
    ".weight_scale": "compressed-tensors or another writer of fp8",
    ".weight_scale_inv": "a writer of fp8",
}
"""The end of a name, and who writes it."""


def refuse_quantized(source: Path, entries: Mapping[str, TensorEntry]) -> None:
    """Say whose quantisation it is; ours writes integers of 8 bits, each tensor with its ``_scale``.

    Parameters
    ----------
    source : Path
        What the user named, for messages.
    entries : mapping of str to TensorEntry

    Raises
    ------
    CheckpointError
        If the weights were quantised by another library.

    Examples
    --------
    >>> packed = TensorEntry("fc1.qweight", Path("m.safetensors"), "I32", (4, 8), offset=8, num_bytes=128)
    >>> try:
    ...     refuse_quantized(Path("m.safetensors"), {"fc1.qweight": packed})
    ... except CheckpointError as error:
    ...     print(str(error).partition(";")[0])
    m.safetensors: tensor fc1.qweight has dtype I32, quantised by GPTQ or AWQ, which is not read
    """
    for name, entry in entries.items():
        writer = next((who for mark, who in _MARKS.items() if name.endswith(mark)), None)
        ours = entry.dtype == "F32" and entries.get(name.removesuffix("_scale"), entry).dtype == "I8"
        if writer is None and entry.dtype == "U32" and name.removesuffix("weight") + "scales" in entries:
            writer = "MLX"
        if writer is None and entry.dtype.startswith("F8"):
            writer = "a writer of fp8"
        if writer is not None and not ours:
            raise CheckpointError(
                f"{source}: tensor {name} has dtype {entry.dtype}, quantised by {writer}, which is not read; "
                "name the original model, and quantise it with numpy-siglip quantize"
            )
