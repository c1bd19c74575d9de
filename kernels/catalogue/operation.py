"""What the catalogue says of one operation, and the decorator that says it.

An entry stands above the function that draws operands, in the file of its group:

    @operation(softmax_reference, softmax, softmax_cost, check_shapes=..., model_shapes=...)
    def softmax_operands(draw, *, rows, width):
        return {"x": draw.array(rows, width)}

The function takes a `Sampler` and a shape, in the names that the operation's cost takes, and returns the
keyword arguments of the operation. Several operations may share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..cost import Cost

Shape = dict[str, Any]
Operands = dict[str, Any]
LISTED: list[Op] = []
"""What `operation` has listed so far; `registry.OPS` is all of it."""


@dataclass(frozen=True)
class Op:
    """One operation.

    ``operands(sampler, **shape)`` gives the keyword arguments of ``reference`` and, behind a `Runtime`,
    those of ``compiled``, if the sampler prepares weights for it; ``cost(**shape)`` is their cost.
    """

    name: str
    reference: Callable[..., Any]
    compiled: Callable[..., Any]
    operands: Callable[..., dict[str, Any]]
    cost: Callable[..., Cost]
    check_shapes: tuple[Shape, ...]
    """Small and awkward: every axis at one, odd, and not a multiple of anything."""
    model_shapes: dict[str, Shape]
    """The shapes of one image, of one text or of a batch of both in published models, by model."""
    compiled_cost: Callable[..., Cost]
    """What the compiled form does, which may be less than what the definition counts."""


def operation(
    reference: Callable[..., Any],
    compiled: Callable[..., Any],
    cost: Callable[..., Cost],
    *,
    check_shapes: tuple[Shape, ...],
    model_shapes: dict[str, Shape],
    compiled_cost: Callable[..., Cost] | None = None,
) -> Callable[[Callable[..., Operands]], Callable[..., Operands]]:
    """List an operation, which has the name of its reference; see `Op` for what is given.

    Examples
    --------
    >>> from numpy_siglip.kernels.catalogue.registry import OPS
    >>> [op.check_shapes[0] for op in OPS if op.name == "softmax"]
    [{'rows': 1, 'width': 1}]
    """

    def list_it(operands: Callable[..., Operands]) -> Callable[..., Operands]:
        name = reference.__name__.removesuffix("_reference")
        work = compiled_cost or cost
        LISTED.append(Op(name, reference, compiled, operands, cost, check_shapes, model_shapes, work))
        return operands

    return list_it


@dataclass(frozen=True)
class ModelSizes:
    """The sizes of a published vision tower that its operations' shapes follow from."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    image_size: int
    patch_size: int

    @property
    def side(self) -> int:
        """Patches along a side of the image."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches of the image."""
        return self.side**2


MODELS = {
    "base-patch16-224": ModelSizes(768, 3072, 12, 224, 16),
    "base-patch16-512": ModelSizes(768, 3072, 12, 512, 16),
    "so400m-patch14-384": ModelSizes(1152, 4304, 16, 384, 14),
}


def shapes_of_models(shape: Callable[[ModelSizes], Shape]) -> dict[str, Shape]:
    """The shape that an operation has in each of the models.

    Examples
    --------
    >>> shapes_of_models(lambda m: {"rows": m.tokens, "width": m.hidden_size})["base-patch16-224"]
    {'rows': 196, 'width': 768}
    """
    return {name: shape(model) for name, model in MODELS.items()}
