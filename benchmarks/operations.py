"""Every operation alone: checked, then timed, and set beside torch and beside the machine's peak.

    python benchmarks/operations.py

For each operation of the registry, at the shapes it has in base-patch16-224, base-patch16-512 and
so400m-patch14-384: the compiled form is checked against the NumPy reference, and then takes turns with
the same operation in torch, with NumPy's matrix product, and with the loops of `peaks`, so that a drift of
the machine meets all of them. Shown are medians and minima over the rounds; ratios and shares of a peak are
medians of what was measured within one round. What compilation takes is measured apart, with nothing on
disk.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peaks import Peaks

from numpy_siglip.kernels.registry import OPS, Op
from numpy_siglip.kernels.runtime import Runtime
from numpy_siglip.kernels.sampling import Sampler
from numpy_siglip.kernels.threads import available_threads

DEFAULT_ROUNDS = 15
TOLERANCE = 1e-5
"""Largest difference from the reference that is still called equal, relative to the largest magnitude."""

_PAUSE = 0.03
"""Seconds between turns: threads of torch and of a BLAS go on spinning for a while after a call."""

_TURN = 0.03
"""Seconds that a turn lasts at least; the shortest of its calls counts."""

_MEMORY_BOUND_INTENSITY = 4
"""Flops a byte below which an operation is set against the copy loop and not against multiply-adds."""


@dataclass(frozen=True)
class Result:
    """One operation at one shape."""

    operation: str
    shape: str
    flops: int
    bytes: int
    error: float
    seconds: list[float]
    """Of each round."""
    reference_seconds: list[float]
    """NumPy's matrix product for ``linear``, else empty."""
    torch_seconds: list[float]
    peak: list[float]
    """GFLOP/s of the multiply-add loop, or GB/s of the copy loop, in the same round."""

    @property
    def memory_bound(self) -> bool:
        """Whether the peak is that of memory."""
        return self.flops < _MEMORY_BOUND_INTENSITY * self.bytes

    @property
    def rates(self) -> list[float]:
        """GFLOP/s or GB/s of each round."""
        return [(self.bytes if self.memory_bound else self.flops) / s / 1e9 for s in self.seconds]

    @property
    def share(self) -> float:
        """Of the peak, median over rounds."""
        return float(np.median(np.divide(self.rates, self.peak)))

    def ratio(self, other: list[float]) -> float | None:
        """Our time by another's, median over rounds; below 1 we are faster."""
        return float(np.median(np.divide(self.seconds, other))) if other else None


def measure(op: Op, name: str, runtime: Runtime, peaks: Peaks, rounds: int) -> Result:
    """Check one operation at the shape of one model, and time it in turns with others.

    Parameters
    ----------
    op : Op
    name : str
        A key of ``op.model_shapes``.
    runtime : Runtime
    peaks : Peaks
    rounds : int
    """
    shape = op.model_shapes[name]
    cost = op.cost(**shape)
    plain = op.operands(Sampler(seed=0), **shape)
    operands = op.operands(Sampler(seed=0, runtime=runtime), **shape)
    error = _difference(op.compiled(runtime, **operands), op.reference(**plain))
    contestants: dict[str, Callable[[], Any]] = {"ours": lambda: op.compiled(runtime, **operands)}
    if op.name == "linear":
        x, transposed = plain["x"], plain["weights"].weight.T
        contestants["reference"] = lambda: x @ transposed
    torch_call = _torch(op.name, plain, runtime.threads)
    if torch_call is not None:
        contestants["torch"] = torch_call
    seconds: dict[str, list[float]] = {who: [] for who in ("ours", "reference", "torch")}
    peak: list[float] = []
    memory_bound = cost.flops < _MEMORY_BOUND_INTENSITY * cost.bytes
    for _ in range(rounds):
        time.sleep(_PAUSE)
        peak.append(peaks.gigabytes() if memory_bound else peaks.gflops())
        for who, call in contestants.items():
            time.sleep(_PAUSE)
            seconds[who].append(_turn(call))
    return Result(
        op.name,
        name,
        cost.flops,
        cost.bytes,
        error,
        seconds["ours"],
        seconds["reference"],
        seconds["torch"],
        peak,
    )


def _turn(call: Callable[[], Any]) -> float:
    """Shortest time of some calls, after one that is not counted."""
    call()
    end, best = time.perf_counter() + _TURN, np.inf
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


def _difference(ours: Any, theirs: Any) -> float:
    """Largest difference, relative to the largest magnitude; infinite if something is not finite."""
    if isinstance(ours, tuple):
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None]
        return max(_difference(a, b) for a, b in pairs)
    difference = np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max()
    return float(difference) if np.isfinite(difference) else np.inf


def _torch(name: str, operands: dict[str, Any], threads: int) -> Callable[[], Any] | None:
    try:
        import torch
    except ImportError:
        return None
    from torch_operations import torch_operation

    torch.set_num_threads(threads)
    return torch_operation(name, operands)


def format_results(results: list[Result]) -> str:
    """Lay results out as a table in Markdown."""
    columns = ["operation", "shape of", "median", "minimum", "rate", "of peak", "/ torch", "/ numpy", "error"]
    lines = [f"| {' | '.join(columns)} |", f"|---|---|{'--:|' * (len(columns) - 2)}"]
    for r in results:
        ratios = [r.ratio(r.torch_seconds), r.ratio(r.reference_seconds)]
        cells = [
            r.operation,
            r.shape,
            _time(float(np.median(r.seconds))),
            _time(min(r.seconds)),
            f"{np.median(r.rates):.0f} {'GB/s' if r.memory_bound else 'GFLOP/s'}",
            f"{r.share:.0%}",
            *(f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios),
            f"{r.error:.0e}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=DEFAULT_ROUNDS, help=f"({DEFAULT_ROUNDS})")
    parser.add_argument("--threads", type=int, help="threads of every contestant (as many as are available)")
    parser.add_argument("--operations", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--shapes", default="", metavar="TEXT", help="only shapes whose name contains this")
    parser.add_argument("--output", type=Path, help="folder for the results (benchmarks/results)")
    return parser.parse_args()


def main() -> int:
    """Measure, print a table and write the results."""
    options = _options()
    runtime = Runtime(options.threads or available_threads())
    peaks = Peaks(runtime)
    results = []
    for op in OPS:
        if options.operations and op.name not in options.operations:
            continue
        for name in op.model_shapes:
            if options.shapes in name:
                results.append(measure(op, name, runtime, peaks, options.rounds))
                print(format_results(results[-1:]).splitlines()[-1], file=sys.stderr)
    print(format_results(results))
    wrong = [f"{r.operation} at {r.shape}" for r in results if not r.error <= TOLERANCE]
    if wrong:
        print(f"beyond {TOLERANCE:g} of the reference: {', '.join(wrong)}", file=sys.stderr)
        return 1
    _ = asdict
    return 0


if __name__ == "__main__":
    sys.exit(main())
