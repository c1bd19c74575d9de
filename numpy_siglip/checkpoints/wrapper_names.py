"""Names of tensors without what wrappers of a training script put into them.

torch.compile, data parallelism and checkpointing of activations wrap a module in another, whose attribute
then stands in the names of a saved model: ``_orig_mod.vision_model...``, ``module.vision_model...``, or in
the middle where a part was wrapped alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from .checkpoint import TensorEntry

_ANYWHERE = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""torch.compile, FullyShardedDataParallel, checkpoint_wrapper: names that nobody else gives"""
_AT_THE_BEGIN = "module"
"""DataParallel, DistributedDataParallel, AveragedModel, DeepSpeed"""


def without_wrappers(entries: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    """Tensors by the names that they had before their model was wrapped.

    If two of them then had one name, as in a file that holds a model and its average, all names stay.

    Examples
    --------
    >>> from pathlib import Path
    >>> entry = TensorEntry("x", Path("m.safetensors"), "F32", (1,), offset=0, num_bytes=4)
    >>> list(without_wrappers({"module._orig_mod.logit_scale": entry, "head._orig_mod.probe": entry}))
    ['logit_scale', 'head.probe']
    """
    named = {_without(name): entry for name, entry in entries.items()}
    return named if len(named) == len(entries) else dict(entries)


def _without(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _ANYWHERE]
    while len(parts) > 1 and parts[0] == _AT_THE_BEGIN:
        del parts[0]
    return ".".join(parts)
