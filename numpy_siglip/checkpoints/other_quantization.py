"""Weights that another library quantised, told by tensors that only it writes, or by what config.json says.

Larger models are often quantised but for their vision tower, which then loads as ever: only what a tower
needs is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .checkpoint import TensorEntry

ADVICE = "name the original model, and quantise it with numpy-siglip quantize"

_SECTIONS = ("text_config", "vision_config", "vlm_config", "encoder")

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


def writer_of(config: Mapping[str, Any] | None) -> str | None:
    """By whom a ``config.json`` says that its weights were quantised; None if it says nothing of it.

    Examples
    --------
    >>> writer_of({"quantization_config": {"quant_method": "hqq"}}), writer_of({"quantization": {"bits": 4}})
    ('hqq', 'MLX')
    >>> writer_of({"model_type": "siglip"}) is None
    True
    """
    config = config or {}
    for section in (config, *map(config.get, _SECTIONS)):
        said = section.get("quantization_config") if isinstance(section, Mapping) else None
        if isinstance(said, Mapping):
            return str(said.get("quant_method") or "another library")
    return "MLX" if isinstance(config.get("quantization"), Mapping) else None


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
                f"{ADVICE}"
            )
