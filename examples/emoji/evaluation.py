"""How often the right name is the first, or among the first five, of all names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from augmentation import plain
from captions import encode
from dataset import Emoji
from torch.nn import functional
from transformers import SiglipModel


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures: the right name is the best, or one of the best five."""

    top1: float
    top5: float
    pictures: int

    def __str__(self) -> str:
        return f"top-1 {self.top1:6.1%}  top-5 {self.top5:6.1%}  of {self.pictures}"


def accuracy(rank: np.ndarray) -> Accuracy:
    """Return the two shares of ranks counted from 0."""
    return Accuracy(float((rank < 1).mean()), float((rank < 5).mean()), len(rank))


@torch.no_grad()
def embed_names(model: SiglipModel, emoji: Emoji, concepts: np.ndarray) -> torch.Tensor:
    """Return (concepts, width), of length 1: the bare names."""
    tokens = torch.from_numpy(encode(emoji.tokenizer, [emoji.names[index] for index in concepts]))
    parts = [model.get_text_features(input_ids=part).pooler_output for part in tokens.split(256)]
    return functional.normalize(torch.cat(parts).float(), dim=-1)


@torch.no_grad()
def embed_drawings(model: SiglipModel, emoji: Emoji, drawings: np.ndarray, side: int) -> torch.Tensor:
    """Return (drawings, width), of length 1: the drawings on white, unchanged."""
    parts = []
    for part in np.array_split(drawings, max(1, len(drawings) // 256)):
        pixels = plain(emoji.pixels[part], side)
        parts.append(model.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output.float())
    return functional.normalize(torch.cat(parts), dim=-1)


def ranks(
    model: SiglipModel, emoji: Emoji, drawings: np.ndarray, concepts: np.ndarray, side: int
) -> np.ndarray:
    """Return for each drawing how many names of ``concepts`` fit it better than its own."""
    model.eval()
    names = embed_names(model, emoji, concepts)
    similarity = (embed_drawings(model, emoji, drawings, side) @ names.T).numpy()
    own = similarity[np.arange(len(drawings)), np.searchsorted(concepts, emoji.concept_of[drawings])]
    # A tie counts against the model, and so does NaN.
    return (~(similarity < own[:, None])).sum(axis=1) - 1
