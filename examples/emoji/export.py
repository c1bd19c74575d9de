"""Write the trained model as a folder that transformers and numpy_siglip open.

    python export.py --data data --run run --to ../../numpy_siglip/emoji

The weights are the moving average of the best checkpoint, in float16; ``config.json`` asks for float32, in
which they compute. Beside them go the tokenizer, the image settings, a sample of the style held out from
training, one drawing of it to try, the licences of all drawings, and a card with figures measured on the way.
It can be run while training goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from captions import END, PAD, UNKNOWN
from card import model_card
from dataset import Emoji
from drawings import render, svg_of
from evaluate import figures
from model import SIDE, trained
from PIL import Image
from sources import HELD_OUT, HERE, STYLES, read_json
from tokenizers import Tokenizer
from train import TEXTS_IN_BATCH
from transformers import PreTrainedTokenizerFast, SiglipImageProcessor, SiglipModel

SAMPLE = 600
SAMPLE_COLUMNS = 25
EXAMPLE = "lion"
EXAMPLE_SIDE = 256


def write_model(model: SiglipModel, folder: Path) -> None:
    """Write weights in float16 and a configuration that reads them as float32."""
    model.half().save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    settings["dtype"] = "float32"
    for part in ("text_config", "vision_config"):
        settings[part].pop("dtype", None)
    write_json(folder / "config.json", settings)


def write_processors(emoji: Emoji, folder: Path, side: int) -> None:
    """Write ``preprocessor_config.json``, ``tokenizer.json`` and ``tokenizer_config.json``."""
    size = {"height": side, "width": side}
    half = [0.5, 0.5, 0.5]
    SiglipImageProcessor(size=size, resample=2, image_mean=half, image_std=half).save_pretrained(folder)
    tokenizer = Tokenizer.from_str(emoji.tokenizer.to_str())  # a copy, which does not pad by itself
    tokenizer.no_padding()
    tokenizer.no_truncation()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[PAD],
        model_max_length=64,
        padding_side="right",
        model_input_names=["input_ids"],
    ).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # which transformers 4 knows too
    write_json(folder / "tokenizer_config.json", settings)


def stratified(emoji: Emoji, drawings: np.ndarray, count: int) -> np.ndarray:
    """Return drawings of every group, as many as the group's share, evenly spaced: no chance in it."""
    groups = np.array([emoji.groups[concept] for concept in emoji.concept_of[drawings]])
    by_group = drawings[np.argsort(groups, kind="stable")]
    return by_group[np.linspace(0, len(by_group) - 1, count).round().astype(int)]


def on_white(premultiplied: np.ndarray) -> Image.Image:
    """Return a rendered drawing as an RGB picture."""
    return Image.fromarray(premultiplied[..., :3] + (255 - premultiplied[..., 3:]))


def write_sample(emoji: Emoji, data: Path, folder: Path) -> None:
    """Write ``sample.png``, a sheet of drawings of the held-out style, and ``sample.json``, their names.

    The names of all drawings of the style are listed: each picture is to be told from all of them.
    """
    every = emoji.chosen("held out", HELD_OUT.name)
    chosen = stratified(emoji, every, SAMPLE)
    icons = read_json(data, HELD_OUT.package, "icons.json")
    rows = -(-len(chosen) // SAMPLE_COLUMNS)
    sheet = Image.new("RGB", (SAMPLE_COLUMNS * SIDE, rows * SIDE), "white")
    for place, index in enumerate(chosen):
        row, column = divmod(place, SAMPLE_COLUMNS)
        picture = on_white(render(svg_of(icons, emoji.drawings[index]["name"]), SIDE))
        sheet.paste(picture, (column * SIDE, row * SIDE))
    sheet.quantize(256, dither=Image.Dither.NONE).save(folder / "sample.png", optimize=True)
    concepts = emoji.concept_of[chosen]
    description = {
        "style": "EmojiOne 2.3, CC BY 4.0; never seen in training",
        "side": SIDE,
        "columns": SAMPLE_COLUMNS,
        "names": [emoji.names[concept] for concept in concepts],
        "groups": [emoji.groups[concept] for concept in concepts],
        "labels": sorted({emoji.names[concept] for concept in emoji.concept_of[every]}),
    }
    write_json(folder / "sample.json", description)
    example = next(index for index in every if emoji.names[emoji.concept_of[index]] == EXAMPLE)
    large = render(svg_of(icons, emoji.drawings[example]["name"]), EXAMPLE_SIDE)
    on_white(large).quantize(256).save(folder / f"{EXAMPLE}.png", optimize=True)


def write_licences(data: Path, folder: Path) -> None:
    """Write who drew what, under which licence, as the packages say unless `sources` knows better."""
    lines = [
        "The weights were trained on renderings of the drawings below. The pictures in this folder,\n"
        f"sample.png and {EXAMPLE}.png, are renderings of {HELD_OUT.name} 2.3, scaled to pixels and put\n"
        "on white. Nothing else of any drawing is here.\n"
    ]
    for style in STYLES:
        info = read_json(data, style.package, "info.json")
        version = read_json(data, style.package, "package.json")["version"]
        author, licence = info["author"], style.licence or info["license"]
        use = "held out: evaluation only" if style == HELD_OUT else "training"
        lines.append(
            f"{info['name']} ({use})\n"
            f"  by {author['name']}, {author['url']}\n"
            f"  {licence['title']} ({licence['spdx']}), {licence['url']}\n"
            f"  as packaged by {style.package} {version}\n"
        )
    lines.append(
        "Names and keywords: Unicode CLDR (Unicode-3.0, https://www.unicode.org/license.txt)\n"
        "  as packaged by emojibase-data 17.0.0, by Miles Johnson (MIT)\n"
    )
    (folder / "LICENCES.txt").write_text("\n".join(lines), "utf-8")


def write_card(emoji: Emoji, checkpoint: Path, folder: Path) -> None:
    """Write ``README.md``, with figures of the weights as they were written: in float16."""
    model = SiglipModel.from_pretrained(folder, dtype="float32").eval()
    card = model_card(
        list(figures(model, emoji)),
        parameters=sum(weight.numel() for weight in model.parameters()),
        side=model.config.vision_config.image_size,
        texts=TEXTS_IN_BATCH,
        seen=torch.load(checkpoint, weights_only=False, mmap=True)["seen"],
        drawings=sum(drawing["split"] == "train" for drawing in emoji.drawings),
    )
    (folder / "README.md").write_text(card, "utf-8")


def write_json(path: Path, content: object) -> None:
    """Write one JSON file, indented."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def export(data: Path, checkpoint: Path, folder: Path, side: int = SIDE) -> None:
    """Write the folder anew; it is complete or unchanged."""
    emoji = Emoji(data)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        new = Path(unfinished) / folder.name
        new.mkdir()
        write_model(trained(emoji.tokenizer.get_vocab_size(), checkpoint, side), new)
        write_processors(emoji, new, side)
        write_sample(emoji, data, new)
        write_licences(data, new)
        write_card(emoji, checkpoint, new)
        for file in new.iterdir():
            file.chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        new.replace(folder)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:9,} {file.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--run", type=Path, default=HERE / "run")
    parser.add_argument("--checkpoint", default="best.pt", help="file in the run's folder")
    parser.add_argument("--side", type=int, default=SIDE, help="of the pictures it was trained on last")
    parser.add_argument("--to", type=Path, default=HERE / "model")
    options = parser.parse_args()
    export(options.data, options.run / options.checkpoint, options.to, options.side)
