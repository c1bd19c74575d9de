"""The version of the package, for whoever writes it into a file or prints it."""

from __future__ import annotations

__version__ = "0.1.0"
