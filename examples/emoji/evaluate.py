"""Print how often the model names a drawing rightly: by style and by group.

python evaluate.py --data data --run run
python evaluate.py --data data --model ../../numpy_siglip/emoji

Each drawing is compared with the names of all concepts its style draws; the bare names are the labels.
Of a style the model was trained on, only the drawings kept for validation are asked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from dataset import Emoji
from evaluation import accuracy, ranks
from export import trained
from model import SIDE
from sources import HELD_OUT, HERE, TRAINING_STYLES
from transformers import SiglipModel


def report(model: SiglipModel, emoji: Emoji) -> None:
    """Print one line per style, then one per group of the held-out style."""
    side = model.config.vision_config.image_size
    for style in TRAINING_STYLES:
        names = np.unique(emoji.concept_of[emoji.chosen("train", style.name)])
        drawings = emoji.chosen("validation", style.name)
        names = np.union1d(names, emoji.concept_of[drawings])
        print(f"{style.name:16} {accuracy(ranks(model, emoji, drawings, names, side))} unseen drawings")
    drawings = emoji.chosen("held out", HELD_OUT.name)
    names = np.unique(emoji.concept_of[drawings])
    rank = ranks(model, emoji, drawings, names, side)
    print(f"{HELD_OUT.name:16} {accuracy(rank)}, a style never seen")
    groups = np.array([emoji.groups[concept] for concept in emoji.concept_of[drawings]])
    for group in sorted(set(groups)):
        print(f"  {group:14} {accuracy(rank[groups == group])}")


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
        model = trained(emoji, options.run / options.checkpoint, options.side)
    report(model, emoji)
