"""One way to compute operations, in a process of its own.

    operation_worker.py compiled | torch | numpy THREADS

Commands and answers are lines of JSON, as in `worker`:

    <- {"ready": true}
    -> {"command": "prepare", "operation": "linear", "shape": "base-patch16-224 fc1"}
    <- {"runs": true, "error": 1.3e-7}      whether it has this operation; compared with the reference by ours
    -> {"command": "turn"}
    <- {"seconds": 0.0031}                  the shortest of some calls
    -> {"command": "gflops"}                the loops of `peaks`, by ours; also "gigabytes", "gops"
    <- {"rate": 391.2}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from measuring.worker_process import answer_channel
from numpy_siglip.kernels.catalogue.registry import OPS
from numpy_siglip.kernels.catalogue.sampling import Sampler
from numpy_siglip.kernels.machine.runtime import Runtime

_WARM_UP, _TURN = 0.1, 0.05
"""Seconds of calls that do not count, in which threads find their processors again after a pause, and
seconds of a turn; the best of its calls counts."""


def serve(kind: str, threads: int, commands: TextIO, answers: TextIO) -> None:
    """Obey until the commands end.

    Parameters
    ----------
    kind : str
        ``compiled``, ``torch`` or ``numpy``.
    threads : int
    commands, answers : text file
    """

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    peaks: Any = None
    runtime = Runtime(threads)
    if kind == "compiled":
        from measuring.integer_peak import IntegerPeak
        from measuring.peaks import Peaks

        loops = Peaks(runtime)
        peaks = {"gflops": loops.gflops, "gigabytes": loops.gigabytes, "gops": IntegerPeak(runtime).gops}
    call: Callable[[], Any] | None = None
    answer(ready=True)
    for line in commands:
        command = json.loads(line)
        if command["command"] == "prepare":
            call, error = _prepare(kind, command["operation"], command["shape"], runtime)
            answer(runs=call is not None, error=error)
        elif command["command"] == "turn":
            assert call is not None
            answer(seconds=min(seconds for _, seconds in _after_warm_up(call)))
        else:
            rates = _after_warm_up(peaks[command["command"]])
            answer(rate=max(rate for rate, _ in rates))


def _prepare(
    kind: str, operation: str, shape: str, runtime: Runtime
) -> tuple[Callable[[], Any] | None, float | None]:
    """A call of the operation, and how far its result is from the reference's, if it is ours."""
    (op,) = (op for op in OPS if op.name == operation)
    plain = op.operands(Sampler(seed=0), **op.model_shapes[shape])
    if kind == "compiled":
        operands = op.operands(Sampler(seed=0, runtime=runtime), **op.model_shapes[shape])
        error = difference(op.compiled(runtime, **operands), op.reference(**plain))
        return (lambda: op.compiled(runtime, **operands)), error
    if kind == "torch":
        import torch

        from contestants.torch_operations import torch_operation

        torch.set_num_threads(runtime.threads)
        return torch_operation(operation, plain), None
    if operation != "linear":
        return None, None
    x, transposed = plain["x"], plain["weights"].weight.T
    return (lambda: x @ transposed), None


def difference(ours: Any, theirs: Any) -> float:
    """Largest difference, relative to the largest magnitude; infinite if something is not finite.

    Examples
    --------
    >>> difference(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    0.5
    """
    if isinstance(ours, tuple):
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None]
        return max(difference(a, b) for a, b in pairs)
    largest = np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max()
    return float(largest) if np.isfinite(largest) else np.inf


def _after_warm_up(call: Callable[[], Any]) -> list[tuple[Any, float]]:
    """Results of the calls of a turn, and seconds that each took."""
    begin = time.perf_counter()
    calls: list[tuple[Any, float]] = []
    while not calls or time.perf_counter() - begin < _WARM_UP + _TURN:
        start = time.perf_counter()
        result = call()
        end = time.perf_counter()
        if end - begin > _WARM_UP:
            calls.append((result, end - start))
    return calls


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), sys.stdin, answer_channel())
