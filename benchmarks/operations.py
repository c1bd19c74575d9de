"""Every operation alone: checked, then timed, and set beside torch and beside the machine's peak.

    python benchmarks/operations.py

For each operation of the registry, at the shapes it has in base-patch16-224, base-patch16-512 and
so400m-patch14-384: the compiled form is checked against the NumPy reference, and then takes turns with
the same operation in torch, with NumPy's matrix product, each in a process of its own, and with the loops
of `peaks`, so that a drift of the machine meets all of them. Shown are medians and minima over the rounds;
ratios and shares of a peak are medians of what was measured within one round. What compilation takes is
measured apart, with nothing on disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from measuring.machine import describe_machine, short_name
from measuring.result_files import RESULTS, write_results
from measuring.worker_process import WorkerProcess
from numpy_siglip.kernels.catalogue.operation import Op
from numpy_siglip.kernels.catalogue.registry import OPS
from numpy_siglip.kernels.machine.threads import available_threads
from reporting.tables import operations_table, operations_tables

DEFAULT_ROUNDS = 7
TOLERANCE = 1e-5
"""Largest difference from the reference that is still called equal, relative to the largest magnitude."""

_PAUSE = 0.15
"""Seconds between turns: threads of torch and of NumPy's BLAS go on spinning for a while after a call, and
whoever comes next would run on what they leave."""

_IN_INTEGERS = ("quantized_linear",)
"""Operations that are set against what the processor does with integers."""

_MEMORY_BOUND_INTENSITY = 4
"""Flops a byte below which an operation is set against the copy loop and not against multiply-adds."""


def measure(op: Op, name: str, workers: Mapping[str, WorkerProcess], rounds: int) -> dict[str, Any]:
    """Check one operation at the shape of one model, and time it in turns with others.

    Parameters
    ----------
    op : Op
    name : str
        A key of ``op.model_shapes``.
    workers : mapping of str to WorkerProcess
        ``compiled`` and, as far as they are installed, ``torch`` and ``numpy``.
    rounds : int

    Returns
    -------
    dict
        As `operations_table` reads it: seconds and peaks of each round, and what follows from them.
    """
    cost = op.compiled_cost(**op.model_shapes[name])
    memory_bound = cost.flops < _MEMORY_BOUND_INTENSITY * cost.bytes
    prepare = {"command": "prepare", "operation": op.name, "shape": name}
    prepared = {who: worker.ask(prepare) for who, worker in workers.items()}
    error = prepared["compiled"]["error"]
    seconds: dict[str, list[float]] = {who: [] for who, answer in prepared.items() if answer["runs"]}
    peak: list[float] = []
    for _ in range(rounds):
        time.sleep(_PAUSE)
        loop = "gigabytes" if memory_bound else "gops" if op.name in _IN_INTEGERS else "gflops"
        peak.append(workers["compiled"].ask({"command": loop})["rate"])
        for who in seconds:
            time.sleep(_PAUSE)
            seconds[who].append(workers[who].ask({"command": "turn"})["seconds"])
    ours = seconds["compiled"]
    rates = [(cost.bytes if memory_bound else cost.flops) / each / 1e9 for each in ours]
    return {
        "operation": op.name,
        "shape": name,
        "flops": cost.flops,
        "bytes": cost.bytes,
        "error": error,
        "unit": "GB/s" if memory_bound else "GFLOP/s",
        "median_seconds": float(np.median(ours)),
        "least_seconds": min(ours),
        "rate": float(np.median(rates)),
        "share_of_peak": float(np.median(np.divide(rates, peak))),
        "ratios": {
            who: float(np.median(np.divide(ours, times)))
            for who, times in seconds.items()
            if who != "compiled"
        },
        "rounds": {"peak": peak, "seconds": seconds},
    }


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
    threads = options.threads or available_threads()
    kinds = ["compiled", *(kind for kind in ("torch", "numpy") if importlib.util.find_spec(kind))]
    if "torch" not in kinds:
        print("torch is left out: pip install torch", file=sys.stderr)
    results: dict[str, Any] = {
        "benchmark": "operations",
        "complete": not (options.operations or options.shapes),
        **describe_machine(),
        "threads": threads,
        "own_ceilings": True,
        "compile_seconds": _compile_seconds(),
        "operations": [],
    }
    with ExitStack() as stack:
        workers = {kind: stack.enter_context(_worker(kind, threads)) for kind in kinds}
        for worker in workers.values():
            worker.answer()  # that it is ready
        for op in OPS:
            if options.operations and op.name not in options.operations:
                continue
            for name in op.model_shapes:
                if options.shapes in name:
                    row = measure(op, name, workers, options.rounds)
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


def _worker(kind: str, threads: int) -> WorkerProcess:
    # What a BLAS library takes for the number of its threads has to be set before it is loaded.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    script = Path(__file__).parent / "contestants" / "operation_worker.py"
    return WorkerProcess(script, [kind, str(threads)], dict.fromkeys(names, str(threads)))


def _compile_seconds() -> float:
    """Time to compile every kernel, in a process that finds nothing on disk."""
    code = (
        "from numpy_siglip.kernels.machine.runtime import Runtime\n"
        "from numpy_siglip.kernels.catalogue.warmup import warm_up\n"
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
