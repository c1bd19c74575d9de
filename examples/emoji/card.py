"""The model card: what the exported model is, what it can do, and how well."""

from __future__ import annotations

from collections.abc import Sequence

from evaluate import Figure

CARD = """\
# emoji: the small SigLIP that comes with numpy_siglip

A SigLIP of {parameters:.1f} million parameters, trained from nothing on drawings of emoji, so that
zero-shot classification, attention maps and quantisation can be tried, and tested, without a download. The
files are those of any SigLIP in the layout of transformers; weights are float16, to be computed with in
float32.

```python
from numpy_siglip import Embedder

embedder = Embedder.from_pretrained("emoji")
embedder.classify(["lion.png"], ["a lion", "a pizza", "a bicycle"])
```

transformers opens this folder by its path: `SiglipModel.from_pretrained`, `AutoProcessor.from_pretrained`.

## What it can do, and what it cannot

It names drawings in the manner of emoji: one thing, whole, on a plain ground, seen at {side} x {side}
pixels. It understands captions of a few words out of the names and keywords of emoji ("a lion", "red
apple", "crying face").

It knows no photographs, no scenes, no writing and no flags. Larger pictures are shrunk, so small details
are lost. Words that no emoji has in its name or keywords mean nothing to it, and neither do grammar and
negation. Broad words ("sport", "food") often fit the wrong picture; names and plain keywords work. Pictures
of people are drawings of emoji too; it says nothing about persons. Use a published SigLIP for anything of
consequence.

Probabilities follow the training, where one caption in {texts} was right. A drawing of another style may
get a low probability for the right name, and still a far lower one for all others.

## How often it is right

Each drawing is compared with the names of all emoji that its style draws; chance is about one in a
thousand.

| drawings | | top-1 | top-5 | pictures | names to choose from |
|---|---|--:|--:|--:|--:|
{table}

Known styles are asked for drawings that were kept out of training, though other styles' drawings of the
same things were in it. Of the held-out style, nothing was.

## How it was trained

On {seen:.1f} million pictures, augmented from {drawings:,} drawings of eight styles, with the sigmoid loss,
on two cores of a CPU. The recipe is `examples/emoji` in the repository of numpy_siglip.

## Licences

The weights are under the MIT licence of numpy_siglip. The drawings that they were trained on, and the two
pictures here, are other people's: `LICENCES.txt` names authors and licences.
"""


def model_card(
    figures: Sequence[Figure], *, parameters: int, side: int, texts: int, seen: int, drawings: int
) -> str:
    """Return the card in Markdown."""
    rows = []
    for figure in figures:
        name = f"**{figure.drawings}**" if figure.kind == "held-out style" else figure.drawings
        kind = "of the held-out style" if figure.kind == "group" else figure.kind
        shares = f"{figure.accuracy.top1:.1%} | {figure.accuracy.top5:.1%}"
        rows.append(f"| {name} | {kind} | {shares} | {figure.accuracy.pictures} | {figure.names} |")
    return CARD.format(
        parameters=parameters / 1e6,
        side=side,
        texts=texts,
        seen=seen / 1e6,
        drawings=drawings,
        table="\n".join(rows),
    )
