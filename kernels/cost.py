"""What an operation costs: the arithmetic it does and the memory it cannot avoid touching.

The two numbers are a property of the mathematics, not of one implementation, so that a
measured time can be set against what the machine could have done:

* ``flops`` counts floating-point operations. A multiply-add is two; an addition, a
  multiplication, a division, a comparison, a square root, an exponential or a hyperbolic
  tangent is one each.
* ``bytes`` counts compulsory traffic: every operand read once and every result written once.
  Intermediate values that a fused implementation keeps in registers or cache are free.

The quotient ``flops / bytes`` is the arithmetic intensity of the roofline model
(Williams, Waterman and Patterson, 2009, https://doi.org/10.1145/1498765.1498785).
"""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Arithmetic and compulsory memory traffic of one call.

    Examples
    --------
    >>> Cost(flops=6, bytes=8) + Cost(flops=1, bytes=4)
    Cost(flops=7, bytes=12)
    >>> Cost(flops=6, bytes=8) * 2
    Cost(flops=12, bytes=16)
    """

    flops: int
    bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, repeats: int) -> Cost:
        return Cost(self.flops * repeats, self.bytes * repeats)


def float32_traffic(*elements: int) -> int:
    """Bytes moved when operands and results of these sizes are each touched once in float32.

    Examples
    --------
    >>> float32_traffic(3, 4)
    28
    """
    return FLOAT32_BYTES * sum(elements)
