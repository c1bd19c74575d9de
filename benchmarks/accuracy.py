"""How often each way of computing names a drawing rightly: accuracy, agreement, size and speed.

    python benchmarks/accuracy.py                   the model shipped with numpy_siglip, about a minute
    python benchmarks/accuracy.py --model FOLDER    another with the same sample beside it

The shipped model is asked for the names of drawings of a style it was not trained on, by each backend and by
transformers, from the same files, each in a process of its own. Accuracy is measured over all names of the
style. Retrieval asks the other way round: which picture fits a name best.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_contestants import CONTESTANTS, Contestant
from machine import describe_machine, short_name
from report import accuracy_tables
from result_files import write_results

import numpy_siglip
from numpy_siglip.kernels.threads import available_threads

SHIPPED = Path(numpy_siglip.__file__).parent / "emoji"
_WORKER = Path(__file__).parent / "accuracy_contestants.py"


def shares(similarities: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Shares of rows whose own column is the best, and among the best five.

    Parameters
    ----------
    similarities : array of shape (rows, columns)
    own : integer array of shape (rows,)
        The right column of each row. A tie counts as wrong, and so does NaN.

    Examples
    --------
    >>> shares(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([0, 1]))
    {'top1': 0.5, 'top5': 1.0}
    """
    best = similarities[np.arange(len(own)), own]
    rank = (~(similarities < best[:, None])).sum(axis=1) - 1
    return {"top1": float((rank < 1).mean()), "top5": float((rank < 5).mean())}


def judge(images: np.ndarray, texts: np.ndarray, sample: dict[str, Any]) -> dict[str, Any]:
    """Accuracy of embeddings: over all, for each group, and of retrieval.

    Parameters
    ----------
    images : array of shape (pictures, width)
        Of length 1, and so are the texts.
    texts : array of shape (labels, width)
    sample : dict
        ``names`` and ``groups`` of the pictures, and all ``labels``.
    """
    position = {label: index for index, label in enumerate(sample["labels"])}
    own = np.array([position[name] for name in sample["names"]])
    similarities = images @ texts.T
    groups = np.array(sample["groups"])
    by_group = {}
    for group in np.unique(groups):
        members = groups == group
        by_group[str(group)] = {**shares(similarities[members], own[members]), "pictures": int(members.sum())}
    return {
        **shares(similarities, own),
        "groups": by_group,
        "retrieval": shares(similarities[:, own].T, np.arange(len(own))),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        sample = json.loads((options.model / "sample.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        print(f"accuracy.py: {error}", file=sys.stderr)
        return 1
    rows: list[dict[str, Any]] = []
    reference: tuple[np.ndarray, np.ndarray] | None = None
    for contestant in CONTESTANTS.values():
        lacking = contestant.runner.missing_packages()
        if lacking:
            print(f"{contestant.runner.title} is left out: pip install {' '.join(lacking)}")
            continue
        answer = _ask(contestant, options)
        if answer is None:
            return 1
        images, texts, facts = answer
        if contestant.is_reference:
            reference = images, texts
        judged = judge(images, texts, sample)
        described = {"name": contestant.runner.name, "title": contestant.runner.title}
        size = contestant.weights_size(options.model)
        rows.append({**described, "weights": size, **judged, **facts, "arrays": (images, texts)})
    for row in rows:
        row["difference"] = _difference(row.pop("arrays"), reference)
    description = describe_machine()
    results = {
        "benchmark": "accuracy",
        **description,
        "complete": True,
        "threads": options.threads,
        "style": sample["style"],
        "pictures": len(sample["names"]),
        "labels": len(sample["labels"]),
        "contestants": rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{description['date'][:10]}-accuracy-{short_name(description['machine'])}.json"
    write_results(options.output / name, results)
    print(f"\n{accuracy_tables(results)}\n\nwritten to {options.output / name}")
    return 0


def _ask(
    contestant: type[Contestant], options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """Embeddings of pictures and labels by one contestant, and its speed; None if it failed."""
    with tempfile.TemporaryDirectory(prefix="siglip-accuracy-") as folder:
        file = Path(folder) / "answer.npz"
        name, threads = contestant.runner.name, options.threads
        command = [sys.executable, str(_WORKER), name, str(options.model), str(threads), str(file)]
        environment = {**os.environ, **contestant.runner.environment(threads)}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if process.returncode:
            print(f"{name} failed:\n{process.stderr.strip()}", file=sys.stderr)
            return None
        with np.load(file) as answer:
            facts = {key: float(answer[key]) for key in ("images_per_second", "texts_per_second")}
            return answer["images"], answer["texts"], facts


def _difference(
    arrays: tuple[np.ndarray, np.ndarray], reference: tuple[np.ndarray, np.ndarray] | None
) -> float | None:
    """The largest distance of an embedding, whose length is 1, from that of transformers."""
    if reference is None:
        return None
    return max(
        float(np.linalg.norm(ours - theirs, axis=1).max())
        for ours, theirs in zip(arrays, reference, strict=True)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="accuracy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="folder; default: the shipped model")
    parser.add_argument("--threads", type=int, default=available_threads(), help="default: %(default)s")
    results = Path(__file__).parent / "results"
    parser.add_argument("--output", type=Path, default=results, help="folder; default: benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
