"""What calls and commands do where nobody says otherwise, apart from what the kernels say themselves."""

from __future__ import annotations

DEFAULT_BATCH_SIZE = 8
"""Images or texts at a time."""

DEFAULT_TOLERANCE = 1e-4
"""Largest difference from transformers that counts as equal, relative to the largest magnitude of a stage."""
