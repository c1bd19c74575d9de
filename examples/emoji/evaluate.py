"""Print how often the model names a drawing rightly: by style and by group.

python evaluate.py --data data --run run
python evaluate.py --data data --model ../../numpy_siglip/emoji

Each drawing is compared with the names of all concepts its style draws; the bare names are the labels.
Of a style the model was trained on, only the drawings kept for validation are asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from dataset import Emoji
from evaluation import Accuracy, accuracy, ranks
from model import SIDE, trained
from sources import HELD_OUT, HERE, TRAINING_STYLES
from transformers import SiglipModel


class Figure(NamedTuple):
    """How well some drawings are named."""

    drawings: str
    """Which: a style, or a group of the held-out style"""
    kind: str
    """``"known style"``, ``"held-out style"`` or ``"group"`` of the latter"""
    names: int
    """How many names there were to choose from"""
    accuracy: Accuracy


def figures(model: SiglipModel, emoji: Emoji) -> Iterator[Figure]:
    """Yield a figure for every style, and for every group of the held-out one."""
    side = model.config.vision_config.image_size
    for style in TRAINING_STYLES:
        drawings = emoji.chosen("validation", style.name)
        if not len(drawings):
            continue
        names = np.unique(emoji.concept_of[np.union1d(drawings, emoji.chosen("train", style.name))])
        rank = ranks(model, emoji, drawings, names, side)
        yield Figure(style.name, "known style", len(names), accuracy(rank))
    drawings = emoji.chosen("held out", HELD_OUT.name)
    names = np.unique(emoji.concept_of[drawings])
    rank = ranks(model, emoji, drawings, names, side)
    yield Figure(HELD_OUT.name, "held-out style", len(names), accuracy(rank))
    groups = np.array([emoji.groups[concept] for concept in emoji.concept_of[drawings]])
    for group in sorted(set(groups)):
        yield Figure(group, "group", len(names), accuracy(rank[groups == group]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--run", type=Path, default=HERE / "run")
    parser.add_argument("--checkpoint", default="best.pt", help="file in the run's folder")
    parser.add_argument("--side", type=int, default=SIDE, help="of the pictures it was trained on last")
    parser.add_argument("--model", type=Path, help="an exported folder instead")
    options = parser.parse_args()
    emoji = Emoji(options.data)
    if options.model:
        model = SiglipModel.from_pretrained(options.model, dtype="float32").eval()
    else:
        vocabulary = emoji.tokenizer.get_vocab_size()
        model = trained(vocabulary, options.run / options.checkpoint, options.side)
    for figure in figures(model, emoji):
        print(f"{figure.drawings:16} {figure.kind:15} {figure.accuracy}, from {figure.names} names")
