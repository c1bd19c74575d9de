"""What can be chosen of the operations, and what is chosen if nobody does. It imports nothing."""

from __future__ import annotations

DEFAULT_BACKEND = "numba"
"""A key of ``backend.BACKENDS``."""

DTYPES = ("float32", "int8")
"""What the linear maps of encoder layers can be computed in."""

DEFAULT_DTYPE = "float32"
