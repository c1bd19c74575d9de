"""How long contestants take to start, and how long they take to embed, measured in turn.

Both functions leave out a contestant that fails, and say so among their results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from measuring.contestant import Contestant
from measuring.ratios import calls_in_a_turn, median_ratio, median_ratio_to_best, relative_difference
from measuring.worker_process import ContestantError

TOLERANCE = 1e-4
"""Largest difference from the reference, relative to its largest value, that is not called wrong."""

LEAST_ROUNDS = 5
_PAUSE = 0.1
"""Seconds between turns. Threads that wait for more work spin for some milliseconds before they sleep."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Field:
    """Who can be measured, by name."""

    start: Callable[..., Contestant]
    """Of name, folder, batch, threads and, optionally, environment variables."""
    ours: str
    """With whom the others are compared."""
    is_peer: Callable[[str], bool]
    """Whether a contestant is someone else's."""
    references: Callable[[], Sequence[str]]
    """Those that are installed and whose output can be taken for right, the best first."""


def measure_start_up(
    field: Field, names: Sequence[str], folder: Path, threads: int, repeats: int, report: Report
) -> dict[str, Any]:
    """Time from the start of a process to its first embedding of one image.

    Parameters
    ----------
    field : Field
    names : sequence of str
        Who of the field.
    folder : Path
        A checkpoint with pixel values for a batch of one.
    threads : int
    repeats : int
        One more is done, and discarded: it brings files into memory and fills caches.
    report : callable
        Called with a line to be shown.

    Returns
    -------
    dict
        ``contestants``: for each name, ``seconds`` of every start, and medians; ``failed``: reasons by name.
    """
    starts: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    for repeat in range(repeats + 1):
        for name in names:
            if name in failed:
                continue
            time.sleep(_PAUSE)
            try:
                start = start_once(field, name, folder, threads)
            except ContestantError as error:
                failed[name] = str(error)
                report(f"{name} failed to start: {error}")
                continue
            if repeat:
                starts[name].append(start)
    return {
        "contestants": {
            name: {
                "seconds": [start["start_up_seconds"] for start in starts[name]],
                **{key: median(start[key] for start in starts[name]) for key in starts[name][0]},
            }
            for name in names
            if name not in failed
        },
        "failed": failed,
    }


def start_once(
    field: Field, name: str, folder: Path, threads: int, environment: dict[str, str] | None = None
) -> dict[str, float]:
    """Start a contestant, let it embed one image, and end it.

    Returns
    -------
    dict of str to float
        Seconds in all, and of its import, loading and first embedding; bytes of peak memory.
    """
    with field.start(name, folder, 1, threads, environment) as contestant:
        loaded = contestant.loaded()
        first = contestant.embed()
        return {
            "start_up_seconds": time.perf_counter() - contestant.started,
            **loaded,
            "first_embedding_seconds": first["seconds"],
            "peak_memory": first["peak_memory"],
        }


def measure_speed(
    field: Field,
    names: Sequence[str],
    folder: Path,
    batch: int,
    threads: int,
    *,
    flops: int,
    rounds: int,
    budget: float,
    report: Report,
) -> dict[str, Any]:
    """Let contestants embed the same batch in turn, and compare times within each round.

    Parameters
    ----------
    field : Field
    names : sequence of str
        Who of the field.
    folder : Path
        A checkpoint with pixel values for this batch.
    batch : int
    threads : int
    flops : int
        Floating-point operations of one image.
    rounds : int
    budget : float
        Seconds after which no further round begins, once there are ``LEAST_ROUNDS``.
    report : callable
        Called with a line to be shown.

    Returns
    -------
    dict
        ``contestants``: for each name its times and what follows from them; ``ratio_to_best_peer``;
        ``calls`` of a turn;
        ``idle_share``: processor time that the others used during a turn, relative to the turn;
        ``reference``: whose output is taken for right; ``failed``: reasons by name.
    """
    failed: dict[str, str] = {}

    def fail(name: str, error: ContestantError) -> None:
        failed[name] = str(error)
        report(f"{name} failed: {error}")

    with ExitStack() as stack:
        running: dict[str, Contestant] = {}
        outputs: dict[str, np.ndarray] = {}
        fastest = float("inf")
        for name in names:  # one after the other: their load times and warm-up calls must not overlap
            try:
                contestant = stack.enter_context(field.start(name, folder, batch, threads))
                contestant.loaded()
                first = contestant.embed()
                outputs[name] = first["pooler_output"]
                again = contestant.time(3 if first["seconds"] < 1 else 1)
                fastest = min(fastest, *again["seconds"])
                running[name] = contestant
            except ContestantError as error:
                fail(name, error)
        if not running:
            return {"contestants": {}, "ratio_to_best_peer": None, "failed": failed}
        reference, expected = _reference(field, outputs, folder, batch, threads)
        # The first call of a turn is slower than the next, so everyone makes as many.
        calls = calls_in_a_turn(fastest)

        times: dict[str, list[float]] = {name: [] for name in running}
        memory: dict[str, int] = {}
        idle = busy = 0.0
        begin = time.perf_counter()
        for number in range(rounds):
            if number >= min(rounds, LEAST_ROUNDS) and time.perf_counter() - begin > budget:
                break
            for name in _order(list(running), number):
                time.sleep(_PAUSE)
                others = [other for key, other in running.items() if key != name]
                before = sum(other.processor_seconds() for other in others)
                try:
                    turn = running[name].time(calls)
                except ContestantError as error:
                    fail(name, error)
                    del running[name]
                    continue
                idle += sum(other.processor_seconds() for other in others) - before
                busy += sum(turn["seconds"])
                times[name].append(median(turn["seconds"]) / batch)
                memory[name] = turn["peak_memory"]

    results = _evaluate(field, {name: times[name] for name in running}, flops)
    for name, result in results["contestants"].items():
        difference = relative_difference(outputs[name], expected)
        correct = difference <= TOLERANCE
        result.update(
            peak_memory=memory[name],
            difference=difference if np.isfinite(difference) else None,  # JSON has no infinity
            correct=correct,
        )
        if not correct:
            report(f"{name} is WRONG: its output differs from that of {reference} by {difference:.1e}")
    return {
        **results,
        "calls": calls,
        "reference": reference,
        "idle_share": idle / busy if busy else 0.0,
        "failed": failed,
    }


def _order(names: list[str], number: int) -> list[str]:
    """Who comes after whom in this round: another one begins each time."""
    shift = number % len(names) if names else 0
    return names[shift:] + names[:shift]


def _reference(
    field: Field, outputs: Mapping[str, np.ndarray], folder: Path, batch: int, threads: int
) -> tuple[str, np.ndarray]:
    """The output taken for right: of the best reference that took part, or of the best one there is."""
    references = field.references()
    for name in references:
        if name in outputs:
            return name, outputs[name]
    name = references[0]
    with field.start(name, folder, batch, threads) as contestant:
        contestant.loaded()
        return name, contestant.embed()["pooler_output"]


def _evaluate(field: Field, times: Mapping[str, list[float]], flops: int) -> dict[str, Any]:
    """What follows from seconds per image, one a round, of every contestant that went all the way."""
    ours = times.get(field.ours)
    contestants: dict[str, Any] = {}
    for name, seconds in times.items():
        contestants[name] = {
            "seconds": seconds,
            "median_seconds": median(seconds),
            "minimum_seconds": min(seconds),
            "images_per_second": 1 / median(seconds),
            "gflops_per_second": flops / median(seconds) / 1e9,
            "ratio": median_ratio(ours, seconds) if ours and name != field.ours else None,
        }
    peers = {name: seconds for name, seconds in times.items() if field.is_peer(name)}
    best = median_ratio_to_best(ours, peers) if ours else None
    return {"contestants": contestants, "ratio_to_best_peer": best}
