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
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, short_name
from peaks import Peaks
from report import operations_table, operations_tables
from result_files import RESULTS, write_results

from numpy_siglip.kernels.registry import OPS, Op
from numpy_siglip.kernels.runtime import Runtime
from numpy_siglip.kernels.sampling import Sampler
from numpy_siglip.kernels.threads import available_threads

DEFAULT_ROUNDS = 15
TOLERANCE = 1e-5
"""Largest difference from the reference that is still called equal, relative to the largest magnitude."""

_PAUSE = 0.15
"""Seconds between turns: threads of torch and of NumPy's BLAS go on spinning for a while after a call, and
whoever comes next would run on what they leave."""

_TURN = 0.03
"""Seconds that a turn lasts at least; the shortest of its calls counts."""

_MEMORY_BOUND_INTENSITY = 4
"""Flops a byte below which an operation is set against the copy loop and not against multiply-adds."""


def measure(op: Op, name: str, runtime: Runtime, peaks: Peaks, rounds: int) -> dict[str, Any]:
    """Check one operation at the shape of one model, and time it in turns with others.

    Parameters
    ----------
    op : Op
    name : str
        A key of ``op.model_shapes``.
    runtime : Runtime
    peaks : Peaks
    rounds : int

    Returns
    -------
    dict
        As `report.operations_table` reads it: seconds and peaks of each round, and what follows from them.
    """
    shape = op.model_shapes[name]
    cost = op.cost(**shape)
    plain = op.operands(Sampler(seed=0), **shape)
    operands = op.operands(Sampler(seed=0, runtime=runtime), **shape)
    error = _difference(op.compiled(runtime, **operands), op.reference(**plain))
    contestants: dict[str, Callable[[], Any]] = {"ours": lambda: op.compiled(runtime, **operands)}
    torch_call = _torch(op.name, plain, runtime.threads)
    if torch_call is not None:
        contestants["torch"] = torch_call
    if op.name == "linear":
        x, transposed = plain["x"], plain["weights"].weight.T
        contestants["numpy"] = lambda: x @ transposed
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    peak: list[float] = []
    memory_bound = cost.flops < _MEMORY_BOUND_INTENSITY * cost.bytes
    for _ in range(rounds):
        time.sleep(_PAUSE)
        peak.append(peaks.gigabytes() if memory_bound else peaks.gflops())
        for who, call in contestants.items():
            time.sleep(_PAUSE)
            seconds[who].append(_turn(call))
    rates = [(cost.bytes if memory_bound else cost.flops) / each / 1e9 for each in seconds["ours"]]
    return {
        "operation": op.name,
        "shape": name,
        "flops": cost.flops,
        "bytes": cost.bytes,
        "error": error,
        "unit": "GB/s" if memory_bound else "GFLOP/s",
        "median_seconds": float(np.median(seconds["ours"])),
        "least_seconds": min(seconds["ours"]),
        "rate": float(np.median(rates)),
        "share_of_peak": float(np.median(np.divide(rates, peak))),
        "ratios": {
            who: float(np.median(np.divide(seconds["ours"], times)))
            for who, times in seconds.items()
            if who != "ours"
        },
        "rounds": {"peak": peak, "seconds": seconds},
    }


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
    results: dict[str, Any] = {
        "benchmark": "operations",
        "complete": not (options.operations or options.shapes),
        **describe_machine(),
        "threads": runtime.threads,
        "compile_seconds": _compile_seconds(),
        "operations": [],
    }
    peaks = Peaks(runtime)
    for op in OPS:
        if options.operations and op.name not in options.operations:
            continue
        for name in op.model_shapes:
            if options.shapes in name:
                row = measure(op, name, runtime, peaks, options.rounds)
                results["operations"].append(row)
                print(operations_table([row]).splitlines()[-1], file=sys.stderr)
    print(operations_tables(results))
    if results["complete"] or options.output:
        folder = options.output or RESULTS
        name = f"{results['date'][:10]}-operations-{short_name(results['machine'])}.json"
        folder.mkdir(parents=True, exist_ok=True)
        write_results(folder / name, results)
        print(f"written to {folder / name}", file=sys.stderr)
    rows = results["operations"]
    wrong = [f"{row['operation']} at {row['shape']}" for row in rows if not row["error"] <= TOLERANCE]
    if wrong:
        print(f"beyond {TOLERANCE:g} of the reference: {', '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


def _compile_seconds() -> float:
    """Time to compile every kernel, in a process that finds nothing on disk."""
    code = (
        "from numpy_siglip.kernels.runtime import Runtime\n"
        "from numpy_siglip.kernels.warmup import warm_up\n"
        "print(warm_up(Runtime()).seconds)"
    )
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    return float(process.stdout)


if __name__ == "__main__":
    sys.exit(main())
