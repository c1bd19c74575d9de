"""How often each way of computing names a drawing rightly: accuracy, agreement, size and speed.

    python benchmarks/accuracy.py                   the model shipped with numpy_siglip, about a minute
    python benchmarks/accuracy.py --model FOLDER    another with the same sample beside it

The shipped model is asked for the names of drawings of a style it was not trained on, by each backend and by
transformers, from the same files, each in a process of its own. Accuracy is measured over all names of the
style. Retrieval asks the other way round: which picture fits a name best. Speeds are measured in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import numpy_siglip
from contestants.accuracy_contestants import CONTESTANTS, Contestant
from measuring.machine import describe_machine, short_name
from measuring.result_files import RESULTS, write_results
from measuring.worker_process import ContestantError, WorkerProcess
from numpy_siglip.commands.arguments import positive_number
from numpy_siglip.kernels.machine.threads import available_threads
from reporting.tables import accuracy_tables

SHIPPED = Path(numpy_siglip.__file__).parent / "emoji"
_WORKER = Path(__file__).parent / "contestants" / "accuracy_contestants.py"

Embeddings = tuple[np.ndarray, np.ndarray]
"""Of pictures and of labels"""
Turn = dict[str, float]
"""Seconds for all ``images`` and all ``texts``"""


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
    present = [contestant for contestant in CONTESTANTS.values() if _is_installed(contestant)]
    try:
        with ExitStack() as stack:
            workers = {}
            for contestant in present:
                name, environment = contestant.runner.name, contestant.runner.environment(options.threads)
                words = [name, str(options.model), str(options.threads)]
                workers[name] = stack.enter_context(WorkerProcess(_WORKER, words, environment))
                workers[name].answer()
            embeddings = {name: _embed(worker) for name, worker in workers.items()}
            turns = _take_turns(workers, options.rounds)
    except ContestantError as error:
        print(f"accuracy.py: {name}: {error}", file=sys.stderr)
        return 1
    reference = next((contestant.runner.name for contestant in present if contestant.is_reference), None)
    rows = []
    for contestant in present:
        name = contestant.runner.name
        rows.append(
            {
                "name": name,
                "title": contestant.runner.title,
                "weights": contestant.weights_size(options.model),
                **judge(*embeddings[name], sample),
                **_speed(turns, name, reference),
                "difference": _difference(embeddings[name], embeddings[reference]) if reference else None,
            }
        )
    description = describe_machine()
    results = {
        "benchmark": "accuracy",
        **description,
        "complete": True,
        "threads": options.threads,
        "rounds": options.rounds,
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


def _is_installed(contestant: type[Contestant]) -> bool:
    lacking = contestant.runner.missing_packages()
    if lacking:
        print(f"{contestant.runner.title} is left out: pip install {' '.join(lacking)}")
    return not lacking


def _embed(worker: WorkerProcess) -> Embeddings:
    """Embeddings of pictures and labels."""
    with tempfile.TemporaryDirectory(prefix="siglip-accuracy-") as folder:
        file = Path(folder) / "answer.npz"
        worker.ask({"command": "embed", "file": str(file)})
        with np.load(file) as answer:
            return answer["images"], answer["texts"]


def _take_turns(workers: Mapping[str, WorkerProcess], rounds: int) -> list[dict[str, Turn]]:
    """Seconds that each took in each round; another one begins every time."""
    names, turns = list(workers), []
    for number in range(rounds):
        first = number % len(names)
        order = names[first:] + names[:first]
        turns.append({name: workers[name].ask({"command": "turn"}) for name in order})
    return turns


def _speed(turns: list[dict[str, Turn]], name: str, reference: str | None) -> dict[str, Any]:
    """Median seconds for the sample, and the median ratio of the reference's in the same round to them."""
    speed: dict[str, Any] = {}
    for kind in ("images", "texts"):
        speed[f"{kind}_seconds"] = statistics.median(turn[name][kind] for turn in turns)
        ratios = [turn[reference][kind] / turn[name][kind] for turn in turns] if reference else None
        speed[f"{kind}_ratio"] = statistics.median(ratios) if ratios else None
    return speed


def _difference(embeddings: Embeddings, reference: Embeddings) -> float:
    """The largest distance of an embedding, whose length is 1, from that of transformers."""
    pairs = zip(embeddings, reference, strict=True)
    return max(float(np.linalg.norm(ours - theirs, axis=1).max()) for ours, theirs in pairs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="accuracy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SHIPPED, help="folder; default: the shipped model")
    parser.add_argument("--threads", type=int, default=available_threads(), help="default: %(default)s")
    parser.add_argument("--rounds", type=positive_number, default=5, help="turns of each (5)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
