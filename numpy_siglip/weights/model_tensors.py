"""The tensors of a whole model as they are written: under which names, of which types, in which shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..checkpoints.checkpoint import LOGIT_BIAS, LOGIT_SCALE, TensorEntry
from ..errors import CheckpointError
from .text_weights import find_text_tensors
from .tower_weights import Tensors, find_scalar
from .vision_weights import find_vision_tensors

_SCALARS = (LOGIT_SCALE, LOGIT_BIAS)


def find_pair_tensors(tensors: Tensors, config: Any) -> dict[str, str]:
    """Match the names of a model of both towers with the names in a checkpoint.

    Parameters
    ----------
    tensors : Tensors
    config : SiglipConfig

    Returns
    -------
    dict of str to str
        From the names of transformers' ``SiglipModel`` to those of the checkpoint.

    Raises
    ------
    CheckpointError
        If a tensor is missing, has another shape, or belongs to a tower and has no place in it.
    """
    scalars = {name: find_scalar(tensors, name) for name in _SCALARS}
    return {
        **{name: stored for name, stored in scalars.items() if stored is not None},
        **prefixed("vision_model", find_vision_tensors(tensors, config.vision_config)),
        **prefixed("text_model", find_text_tensors(tensors, config.text_config)),
    }


def prefixed(part: str, names: Mapping[str, str]) -> dict[str, str]:
    """Names of a tower as they are in a model that has several parts.

    Examples
    --------
    >>> prefixed("vision_model", {"head.probe": "visual.head.probe"})
    {'vision_model.head.probe': 'visual.head.probe'}
    """
    return {f"{part}.{ours}": stored for ours, stored in names.items()}


class ModelTensors(NamedTuple):
    """Tensors of a checkpoint under the names that are written."""

    tensors: Tensors
    names: Mapping[str, str]
    """From the names that are written to those of the checkpoint"""

    @property
    def entries(self) -> dict[str, TensorEntry]:
        """Of each tensor by the name that is written; what is wider than float32 becomes float32."""
        entries = {ours: _narrowed(self.tensors[stored]) for ours, stored in self.names.items()}
        for name in _SCALARS:
            if name in entries:
                entries[name] = replace(entries[name], shape=(1,))  # as transformers has it
            elif LOGIT_SCALE in entries:
                entries[name] = replace(entries[LOGIT_SCALE], name="(not stored)")
        return entries

    def require_floats(self, advice: str) -> None:
        """Refuse tensors that were quantised, which transformers cannot read.

        Parameters
        ----------
        advice : str
            What to do.

        Raises
        ------
        CheckpointError
        """
        for entry in self.entries.values():
            if entry.dtype == "I8":
                raise CheckpointError(
                    f"{entry.file}: tensor {entry.name} is quantised, which transformers cannot read; "
                    f"{advice}"
                )

    def read(self, name: str) -> np.ndarray:
        """The numbers of a tensor as they are stored; 0 for a bias that is not."""
        if name not in self.names:
            return np.zeros(1, np.float32)
        return self.tensors.stored(self.names[name])


def _narrowed(entry: TensorEntry) -> TensorEntry:
    """As it is written: what is wider than float32 is computed with in float32 anyway."""
    return replace(entry, dtype="F32") if entry.dtype == "F64" else entry
