"""Train the model. The same command goes on from the last checkpoint.

    python train.py --data data --run run

The learning rate rises, then stays; there is no end to plan for. What is evaluated and exported is a
moving average of the weights, which is at any moment about as good as if the rate had just been
lowered. ``--cooldown 200000`` does lower it, over that many pictures, in a copy of the run.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augmentation import augment
from dataset import HELD_OUT_STYLE, Batch, Emoji
from evaluation import accuracy, ranks
from model import new_model, sigmoid_loss
from sources import HERE
from torch import nn
from transformers import SiglipModel

TEXTS_IN_BATCH = 192


def side_at(seen: int, sides: list[list[int]]) -> int:
    """Return how large the pictures are after so many were seen: small ones teach cheaply at first."""
    return [side for start, side in sides if seen >= start][-1]


class Optimizer:
    """Muon for the matrices inside the layers, AdamW for all other weights.

    Muon's step is the nearest orthogonal matrix to the gradient's running mean, so that every direction
    of a layer learns at one pace (https://kellerjordan.github.io/posts/muon/); it is scaled to the size of
    AdamW's step, and the two share a learning rate.
    """

    def __init__(self, model: SiglipModel, rate: float, kind: str) -> None:
        matrices, tables, vectors, scalars = [], [], [], []
        for name, weight in model.named_parameters():
            if weight.numel() == 1:
                scalars.append(weight)
            elif weight.ndim == 2 and (".layers." in name or "head." in name):
                matrices.append(weight)
            elif weight.ndim >= 2 and "position" not in name and "probe" not in name:
                tables.append(weight)
            else:
                vectors.append(weight)
        rest: list[dict[str, Any]] = [
            {"params": tables, "lr": rate, "weight_decay": 0.05},
            {"params": vectors, "lr": rate, "weight_decay": 0.0},
            # Scale and bias have a long way to go, and at the rate of a weight would slow the others down.
            {"params": scalars, "lr": 5 * rate, "weight_decay": 0.0},
        ]
        self._parts: list[torch.optim.Optimizer] = []
        if kind == "muon":
            self._parts.append(
                torch.optim.Muon(
                    matrices, lr=rate, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
                )
            )
        else:
            rest.append({"params": matrices, "lr": rate, "weight_decay": 0.1})
        self._parts.append(torch.optim.AdamW(rest, betas=(0.9, 0.98)))
        self._full_rates = [[group["lr"] for group in part.param_groups] for part in self._parts]

    def step(self, share: float) -> None:
        """Move the weights at a share of the full rate, and forget the gradients."""
        for part, rates in zip(self._parts, self._full_rates, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * share
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[Any]:
        """Return what a checkpoint must hold."""
        return [part.state_dict() for part in self._parts]

    def load(self, state: list[Any]) -> None:
        """Take up the state of a checkpoint."""
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)


class Training:
    """A run: model, average, optimiser, chance, and the files they are kept in."""

    def __init__(self, emoji: Emoji, run: Path, options: argparse.Namespace) -> None:
        self.emoji, self.run, self.options = emoji, run, options
        torch.manual_seed(options.seed)
        self.model = new_model(emoji.tokenizer.get_vocab_size(), options.texts)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = Optimizer(self.model, options.rate, options.optimizer)
        self.chance = np.random.default_rng(options.seed)
        self.seen = 0
        self.steps = 0
        self.best = 0.0
        self.started_cooldown = 0
        images, texts = self.model.vision_model, self.model.text_model
        self._images: Any = torch.compile(images, dynamic=False) if options.compile else images
        self._texts: Any = torch.compile(texts, dynamic=False) if options.compile else texts
        self._everything = np.arange(len(emoji.concepts))
        self._validation = emoji.chosen("validation")
        self._held_out = emoji.chosen("held out", HELD_OUT_STYLE)

    def load(self, file: Path) -> None:
        """Go on where a checkpoint stopped."""
        saved = torch.load(file, weights_only=False)
        self.model.load_state_dict(saved["model"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load(saved["optimizer"])
        self.chance.bit_generator.state = saved["chance"]
        torch.set_rng_state(saved["torch chance"])
        self.seen, self.steps, self.best = saved["seen"], saved["steps"], saved["best"]
        self.started_cooldown = saved["started cooldown"]
        self._shorten_log()

    def _shorten_log(self) -> None:
        # What was logged after the checkpoint will be done, and logged, again.
        log = self.run / "log.jsonl"
        lines = log.read_text("utf-8").splitlines(keepends=True) if log.exists() else []
        log.write_text("".join(line for line in lines if json.loads(line)["seen"] <= self.seen), "utf-8")

    def save(self, name: str) -> None:
        """Write everything that is needed to go on, under a temporary name first."""
        saved = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state(),
            "chance": self.chance.bit_generator.state,
            "torch chance": torch.get_rng_state(),
            "seen": self.seen,
            "steps": self.steps,
            "best": self.best,
            "started cooldown": self.started_cooldown,
        }
        torch.save(saved, self.run / f"{name}.tmp")
        (self.run / f"{name}.tmp").replace(self.run / name)

    def rate_now(self) -> float:
        """Return the share of the full learning rate: up in a line, level, and down in a line at last."""
        share = min(1.0, (self.seen + 1) / self.options.warm_up)
        if self.options.cooldown:
            share *= max(0.0, 1 - (self.seen - self.started_cooldown) / self.options.cooldown)
        return share

    def step(self) -> float:
        """Learn from one batch; return its loss."""
        options = self.options
        batch: Batch = self.emoji.draw(options.texts, options.pictures_each, self.chance)
        side = side_at(self.seen, options.sides)
        pixels = augment(batch.drawings, side, batch.may_mirror, batch.keep_hue)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat16):
            images = self._images(pixels, interpolate_pos_encoding=True).pooler_output
            texts = self._texts(input_ids=batch.tokens).pooler_output
        loss = sigmoid_loss(
            images.float(), texts.float(), batch.belongs, self.model.logit_scale, self.model.logit_bias
        )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step(self.rate_now())
        self._follow()
        self.seen += len(pixels)
        self.steps += 1
        return loss.item()

    @torch.no_grad()
    def _follow(self) -> None:
        # The average looks back over a tenth of the run, at most a thousand steps or so.
        keep = min(self.options.average, self.steps / (self.steps + 9))
        for average, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
            average.lerp_(weight, 1 - keep)

    def evaluate(self) -> dict[str, float]:
        """Measure the average on unseen drawings of known styles, and on the style never seen."""
        side = side_at(self.seen, self.options.sides)
        validation = accuracy(ranks(self.average, self.emoji, self._validation, self._everything, side))
        names = np.unique(self.emoji.concept_of[self._held_out])
        held_out = accuracy(ranks(self.average, self.emoji, self._held_out, names, side))
        return {
            "validation top1": validation.top1,
            "validation top5": validation.top5,
            "held out top1": held_out.top1,
            "held out top5": held_out.top5,
        }


def write_line(run: Path, facts: dict[str, Any]) -> None:
    """Append to the run's log and to the screen."""
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in facts.items()}
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(rounded) + "\n")
    print(" ".join(f"{key} {value}" for key, value in rounded.items()), flush=True)


def train(training: Training, until: int) -> None:
    """Train until so many pictures were seen, with evaluations and checkpoints on the way."""
    options = training.options
    losses: list[float] = []
    began, saved = time.time(), time.time()
    first = training.seen
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    while training.seen < until and not told_to_stop:
        before = training.seen
        losses.append(training.step())
        speed = (training.seen - first) / (time.time() - began)
        if training.steps % 10 == 0:
            print(f"{training.seen} seen  loss {np.mean(losses):.3f}  {speed:.0f}/s", flush=True)
        last = training.seen >= until
        if last or training.seen // options.evaluate_every > before // options.evaluate_every:
            measured = training.evaluate()
            facts = {"seen": training.seen, "loss": float(np.mean(losses)), **measured, "per second": speed}
            facts["side"] = side_at(training.seen, options.sides)
            facts["scale"] = training.model.logit_scale.exp().item()
            facts["bias"] = training.model.logit_bias.item()
            write_line(training.run, facts)
            losses.clear()
            if measured["validation top1"] >= training.best:
                training.best = measured["validation top1"]
                training.save("best.pt")
        if last or told_to_stop or time.time() - saved > options.save_every:
            training.save("last.pt")
            saved = time.time()


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--run", type=Path, default=HERE / "run")
    parser.add_argument("--until", type=int, default=10**9, help="stop after so many pictures")
    parser.add_argument("--cooldown", type=int, default=0, help="lower the rate to 0 over so many pictures")
    parser.add_argument("--texts", type=int, default=TEXTS_IN_BATCH, help="concepts in a batch")
    parser.add_argument("--pictures-each", type=int, default=2, help="drawings of each concept in a batch")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--warm-up", type=int, default=20_000, help="pictures until the full rate")
    parser.add_argument("--average", type=float, default=0.998, help="weight of the past in the average")
    parser.add_argument("--sides", type=json.loads, default=[[0, 32], [600_000, 48], [1_000_000, 64]])
    parser.add_argument("--evaluate-every", type=int, default=20_000)
    parser.add_argument("--save-every", type=int, default=240, help="seconds between checkpoints")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--no-bfloat16", dest="bfloat16", action="store_false")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> Training:
    """Train from the newest checkpoint of the run, or from nothing."""
    options.run.mkdir(parents=True, exist_ok=True)
    (options.run / "pid").write_text(str(os.getpid()))
    training = Training(Emoji(options.data), options.run, options)
    until = options.until
    if (options.run / "last.pt").exists():
        training.load(options.run / "last.pt")
    if options.cooldown:
        if not training.started_cooldown:
            training.started_cooldown, training.best = training.seen, 0.0
        until = training.started_cooldown + options.cooldown
    train(training, until)
    return training


if __name__ == "__main__":
    run(arguments())
