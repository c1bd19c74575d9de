"""Every operation, listed once: what tests check, benchmarks time and documentation counts.

Entries stand in the files of their groups. An operation that has a ``<name>_reference`` somewhere in this
package and no entry fails a test.
"""

from __future__ import annotations

from . import attention, inputs, layers, products, rows
from .operation import LISTED, Op

GROUPS = (inputs, rows, products, attention, layers)
OPS: tuple[Op, ...] = tuple(LISTED)
