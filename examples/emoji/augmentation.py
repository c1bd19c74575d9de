"""Make a new picture of a drawing each time it is seen.

A small model that sees the same 16,000 drawings a hundred times learns them by heart. What it should
learn is what the styles have in common, so what differs between styles is what varies here: where the
drawing lies, how large and how steep, its colours, how soft its edges are, what is behind it.
All pictures of a batch go through each step together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

GREY = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601


def between(low: float, high: float, count: int) -> Tensor:
    """Return (count,) numbers drawn evenly from an interval."""
    return torch.rand(count) * (high - low) + low


def happens(share: float, count: int) -> Tensor:
    """Return (count,) booleans, true with the given chance."""
    return torch.rand(count) < share


def place(pictures: Tensor, side: int, mirror: Tensor) -> Tensor:
    """Turn, scale, stretch, shift and mirror each picture.

    (batch, 4, drawn side, drawn side) -> (batch, 4, side, side)
    """
    count = len(pictures)
    angle = torch.randn(count) * math.radians(7)
    zoom = torch.exp(between(math.log(0.85), math.log(1.35), count))  # above 1 the drawing is smaller
    stretch = torch.exp(torch.randn(count) * 0.07)
    slant = torch.randn(count) * 0.06
    flip = torch.where(mirror, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    room = torch.clamp(zoom - 1, min=0.0) + 0.08
    matrix = torch.stack(
        [
            torch.stack([cos * stretch * flip, -sin + slant, between(-1, 1, count) * room], dim=1),
            torch.stack([sin * flip, cos / stretch, between(-1, 1, count) * room], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(matrix, [count, 4, side, side], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def colour_matrices(keep_hue: Tensor) -> tuple[Tensor, Tensor]:
    """Return (count, 3, 3) and (count, 3): new colour = matrix @ colour + offset.

    Saturation, a turn of the hue, the strength of each channel, contrast and brightness are all linear,
    so one product does them all. A blue heart, ``keep_hue`` (count,), remains blue.
    """
    count = len(keep_hue)
    grey = GREY.expand(3, 3)
    saturation = torch.where(happens(0.12, count) & ~keep_hue, 0.0, between(0.5, 1.5, count))[:, None, None]
    matrix = saturation * torch.eye(3) + (1 - saturation) * grey
    # Turn about the axis of greys (Rodrigues): most colours stay, some change altogether.
    far = happens(0.2, count) & ~keep_hue
    turn = torch.where(far, between(-math.pi, math.pi, count), torch.randn(count) * 0.12)
    cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    rotation = cos * torch.eye(3) + (1 - cos) / 3 + sin * cross
    gain = torch.exp(torch.randn(count, 3, 1) * 0.08)
    contrast = between(0.65, 1.3, count)[:, None, None]
    matrix = contrast * gain * (rotation @ matrix)
    offset = 0.5 * (1 - contrast[:, :, 0]) + torch.randn(count, 1) * 0.08
    return matrix, offset.expand(count, 3)


def recolour(pictures: Tensor, keep_hue: Tensor) -> Tensor:
    """Change the colours of each drawing, not its shape. (batch, 4, side, side) premultiplied, both."""
    count, _, height, width = pictures.shape
    matrix, offset = colour_matrices(keep_hue)
    colour, alpha = pictures[:, :3].reshape(count, 3, -1), pictures[:, 3:].reshape(count, 1, -1)
    changed = torch.baddbmm(offset[:, :, None] * alpha, matrix, colour)
    changed = torch.minimum(changed.clamp_(min=0.0), alpha)
    return torch.cat([changed, alpha], dim=1).view(count, 4, height, width)


def soften(pictures: Tensor) -> Tensor:
    """Draw some of the pictures again from fewer pixels."""
    side = pictures.shape[-1]
    chosen = happens(0.2, len(pictures)).nonzero()[:, 0]
    if len(chosen) == 0:
        return pictures
    fewer = int(side * (0.4 + 0.4 * torch.rand(()).item()))
    small = functional.interpolate(pictures[chosen], size=(fewer, fewer), mode="bilinear", antialias=True)
    pictures[chosen] = functional.interpolate(small, size=(side, side), mode="bilinear")
    return pictures


def backgrounds(count: int) -> Tensor:
    """Return (count, 3, 1, 1): white for half of the pictures, any colour for the others."""
    colour = torch.where(happens(0.7, count)[:, None], 0.6 + 0.4 * torch.rand(count, 3), torch.rand(count, 3))
    return torch.where(happens(0.5, count)[:, None], torch.ones(3), colour)[:, :, None, None]


def normalized(pictures: Tensor, behind: Tensor) -> Tensor:
    """Lay premultiplied drawings on a background: (batch, 3, side, side), from -1 to 1."""
    return (pictures[:, :3] + (1 - pictures[:, 3:]) * behind) * 2 - 1


def augment(drawings: Tensor, side: int, may_mirror: Tensor, keep_hue: Tensor) -> Tensor:
    """Return new pictures of drawings: uint8 (batch, drawn, drawn, 4) -> float32 (batch, 3, side, side)."""
    count = len(drawings)
    pictures = drawings.permute(0, 3, 1, 2).float() / 255
    if side < drawings.shape[1] // 2 + 1:  # bilinear sampling alone would skip pixels
        pictures = functional.avg_pool2d(pictures, 2)
    pictures = place(pictures, side, may_mirror & happens(0.3, count))
    pictures = soften(recolour(pictures, keep_hue))
    return normalized(pictures, backgrounds(count))


def plain(drawings: Tensor, side: int) -> Tensor:
    """Return pictures on white as they are, for evaluation: what the image processor would give."""
    pictures = drawings.permute(0, 3, 1, 2).float() / 255
    pictures = functional.interpolate(
        pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    return normalized(pictures, torch.ones(3, 1, 1))
