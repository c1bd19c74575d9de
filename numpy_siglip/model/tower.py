"""What every tower is made of."""

from __future__ import annotations

from typing import Any

from ..kernels.backend import Backend
from .pretrained import PretrainedModel


class Tower(PretrainedModel):
    """A configuration, the weights of a tower, and the table of operations that they are prepared for."""

    def __init__(self, config: Any, weights: Any, ops: Backend) -> None:
        self.config = config
        self._weights = weights
        self.ops = ops
