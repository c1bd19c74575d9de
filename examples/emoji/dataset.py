"""Batches: concepts, some drawings of each, one caption for each."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from captions import CaptionTable, captions_of, train_tokenizer
from sources import HELD_OUT, TRAINING_STYLES
from tokenizers import Tokenizer
from torch import Tensor

# What looks otherwise in a mirror is another concept ("left arrow", "two o'clock", the moon's phases).
DIRECTED = re.compile(r"left|right|clock|thirty|moon|button|keycap|arrow|hand|finger|index")
COLOURED = re.compile(r"\b(red|orange|yellow|green|blue|purple|pink|brown|black|white|grey)\b")
MIRRORED_GROUPS = {"people", "animals", "food", "travel", "objects"}


@dataclass(frozen=True)
class Batch:
    """Drawings uint8 (pictures, drawn, drawn, 4), what may be done to each, and tokens (texts, 64)."""

    drawings: Tensor
    may_mirror: Tensor
    keep_hue: Tensor
    tokens: Tensor
    belongs: Tensor


class Emoji:
    """The rendered drawings, their concepts, and draws from the training part of them."""

    def __init__(self, data: Path) -> None:
        described = json.loads((data / "drawings.json").read_text("utf-8"))
        self.pixels = torch.from_numpy(np.load(data / "drawings.npy"))
        self.concepts = described["concepts"]
        self.drawings = described["drawings"]
        self.names = [concept["name"] for concept in self.concepts]
        self.groups = [concept["group"] for concept in self.concepts]
        number = {concept["code"]: index for index, concept in enumerate(self.concepts)}
        self.concept_of = np.array([number[drawing["code"]] for drawing in self.drawings])
        self._may_mirror = np.array(
            [c["group"] in MIRRORED_GROUPS and not DIRECTED.search(c["name"]) for c in self.concepts]
        )
        self._keep_hue = np.array([bool(COLOURED.search(name)) for name in self.names])
        chance = random.Random(0)
        captions = [captions_of(c["name"], c["keywords"], chance) for c in self.concepts]
        everything = [text for concept in captions for kind in concept for text in kind]
        self.tokenizer = read_or_train_tokenizer(data / "tokenizer.json", everything)
        self.captions = CaptionTable(self.tokenizer, captions)
        self._styles = self._drawings_by_style()
        self._drawn = np.array([concept for concept, (shares, _) in enumerate(self._styles) if len(shares)])

    def _drawings_by_style(self) -> list[tuple[np.ndarray, list[list[int]]]]:
        """Return for each concept the share of each of its styles, and the drawings of each style."""
        weight = {style.name: style.weight for style in TRAINING_STYLES}
        by_style: list[dict[str, list[int]]] = [defaultdict(list) for _ in self.concepts]
        for index, drawing in enumerate(self.drawings):
            if drawing["split"] == "train":
                by_style[self.concept_of[index]][drawing["style"]].append(index)
        result = []
        for styles in by_style:
            shares = np.array([weight[style] for style in styles])
            # A new emoji that two styles draw may be kept for validation in both.
            result.append((shares / max(shares.sum(), 1e-9), list(styles.values())))
        return result

    def draw(self, texts: int, pictures_each: int, chance: np.random.Generator) -> Batch:
        """Return a batch of different concepts, each with drawings of different styles if it has them."""
        concepts = chance.choice(self._drawn, size=texts, replace=False)
        chosen = []
        for concept in concepts:
            shares, styles = self._styles[concept]
            enough = len(styles) >= pictures_each
            for style in chance.choice(len(styles), size=pictures_each, replace=not enough, p=shares):
                # A tone of skin is one drawing among six: draw the style first, then the tone.
                chosen.append(styles[style][chance.integers(len(styles[style]))])
        tokens = torch.from_numpy(self.captions.draw(concepts, chance))
        belongs = 2 * torch.eye(texts).repeat_interleave(pictures_each, dim=0) - 1
        shown = np.repeat(concepts, pictures_each)
        mirror, keep_hue = (torch.from_numpy(flags[shown]) for flags in (self._may_mirror, self._keep_hue))
        return Batch(self.pixels[chosen], mirror, keep_hue, tokens, belongs)

    def chosen(self, split: str, style: str | None = None) -> np.ndarray:
        """Return one drawing per concept and style of a split, without a skin tone if there is one."""
        seen: dict[tuple[str, str], int] = {}
        for index, drawing in enumerate(self.drawings):
            if drawing["split"] == split and style in (None, drawing["style"]):
                key = (drawing["style"], drawing["code"])
                if key not in seen or len(drawing["name"]) < len(self.drawings[seen[key]]["name"]):
                    seen[key] = index
        return np.array(sorted(seen.values()), dtype=np.int64)


def read_or_train_tokenizer(file: Path, texts: list[str]) -> Tokenizer:
    """Return the tokenizer of all earlier runs; the first trains it and writes the file.

    The trainer leaves the order of pieces of one probability to chance, and a model is of no use with
    their numbers exchanged.
    """
    if not file.exists():
        train_tokenizer(texts).save(str(file))
    return Tokenizer.from_file(str(file))


HELD_OUT_STYLE = HELD_OUT.name
