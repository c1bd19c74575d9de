"""The whole vision tower against torch, onnxruntime and OpenVINO: speed, start-up and memory.

    python benchmarks/models.py            all shapes, about half an hour on two cores
    python benchmarks/models.py --quick    one shape, about two minutes

Every contestant runs in a process of its own, in float32, with the same number of threads. README.md in this
folder tells how it is measured.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contestants.field import FIELD
from contestants.random_checkpoint import find_configuration, random_pixels, write_random_checkpoint
from contestants.runners import ONNX_FILE, RUNNERS, Ours
from contestants.worker import pixels_file
from measuring.machine import describe_machine, short_name
from measuring.measurement import measure_speed, measure_start_up, start_once
from measuring.result_files import RESULTS, anonymous, counted, write_results
from measuring.worker_process import ContestantError, run_script, say
from numpy_siglip.common.atomic_write import check_writable
from numpy_siglip.kernels.machine.threads import available_threads
from numpy_siglip.tools.vision_cost import total_cost, vision_costs
from reporting.tables import models_tables

MODELS = ("base-patch16-224", "base-patch16-384", "base-patch16-512", "so400m-patch14-384")
BATCHES = (1, 8)
_ALONE = ("so400m-patch14-384",)
"""Measured with one image unless batches are named: with eight, a single round takes minutes."""
_EXPORT = Path(__file__).parent / "contestants" / "export_onnx.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.quick:
        options.models, options.batches = options.models or [MODELS[0]], options.batches or [1]
        options.rounds, options.starts = options.rounds or 5, options.starts or 2
    options.models = options.models or [*MODELS]
    options.rounds, options.starts = options.rounds or 15, options.starts or 5
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("\ninterrupted; what was measured by then is in a file that ends in .partial", file=sys.stderr)
        return 130
    except (ContestantError, OSError) as error:
        print(f"models.py: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    names, missing = _present([Ours.name, *(name for name in options.peers if name != Ours.name)])
    for name, packages in missing.items():
        print(f"{RUNNERS[name].title} is left out: pip install {' '.join(packages)}")
    if Ours.name not in names:
        return 1

    description = describe_machine()
    results: dict[str, Any] = {
        "benchmark": "models",
        **description,
        "quick": options.quick,
        "complete": False,
        "threads": options.threads,
        "missing": missing,
        "start_up": [],
        "speed": [],
        "cold_cache": None,
    }
    label = "models-quick" if options.quick else "models"
    date = description["date"][:10]
    output = options.output / f"{date}-{label}-{short_name(description['machine'])}.json"
    partial = output.with_suffix(".partial")  # an earlier run of the same day stays until this one is done
    options.output.mkdir(parents=True, exist_ok=True)
    check_writable(partial)
    with tempfile.TemporaryDirectory(prefix="siglip-benchmark-") as temporary:
        for model in options.models:
            with tempfile.TemporaryDirectory(prefix=f"{model.replace('/', '-')}-", dir=temporary) as folder:
                _measure_model(model, Path(folder), names, options, results, partial)
    results["complete"] = True
    write_results(output, results)
    partial.unlink(missing_ok=True)

    print(f"\n{models_tables(results)}\n\nwritten to {output}")
    try:
        from reporting.plots import plot_models
    except ImportError as error:
        print(f"no plot: pip install {error.name}")
    else:
        plot_models(results, output.with_suffix(".png"))
    rows = [row for case in results["speed"] for row in case["contestants"].values()]
    return 0 if all(row["correct"] for row in rows) else 1


def _measure_model(
    model: str,
    folder: Path,
    names: list[str],
    options: argparse.Namespace,
    results: dict[str, Any],
    partial: Path,
) -> None:
    """Add the measurements of one shape to the results, and write them down after each."""
    config = find_configuration(model)
    say(f"{model}: writing a random checkpoint")
    write_random_checkpoint(folder, config)
    for batch in {1, *_batches(options, model)}:
        np.save(pixels_file(folder, batch), random_pixels(config, batch))
    failed: dict[str, str] = {}
    if any(RUNNERS[name].needs_onnx for name in names):
        reason = _export(folder, model)
        failed = {name: reason for name in names if RUNNERS[name].needs_onnx} if reason else {}
    names = [name for name in names if name not in failed]

    if results["cold_cache"] is None:
        say(f"{model}: starting once with an empty cache of compiled code")
        with tempfile.TemporaryDirectory(prefix="empty-cache-", dir=folder) as cache:
            start = start_once(FIELD, Ours.name, folder, options.threads, {"NUMBA_CACHE_DIR": cache})
        results["cold_cache"] = {"model": model, **start}

    say(f"{model}: starting each contestant {options.starts} times")
    start_up = measure_start_up(FIELD, names, folder, options.threads, options.starts, say)
    results["start_up"].append(
        anonymous({"model": model, **start_up, "failed": {**failed, **start_up["failed"]}})
    )
    write_results(partial, results)

    flops = total_cost(vision_costs(config)).flops
    for batch in _batches(options, model):
        say(f"{model}: {counted(batch, 'image')}, {options.rounds} rounds")
        speed = measure_speed(
            FIELD,
            [name for name in names if name not in start_up["failed"]],
            folder,
            batch,
            options.threads,
            flops=flops,
            rounds=options.rounds,
            budget=options.budget,
            report=say,
        )
        for name, row in speed["contestants"].items():
            ratio = f"   ours / theirs {row['ratio']:.2f}" if row["ratio"] else ""
            milliseconds = f"{row['median_seconds'] * 1e3:9.1f} ms"
            print(f"    {RUNNERS[name].title:30}{milliseconds}{row['gflops_per_second']:8.0f} GFLOP/s{ratio}")
        case = {"model": model, "batch": batch, "gflop_per_image": flops / 1e9, **speed}
        results["speed"].append(
            anonymous({**case, "failed": {**failed, **start_up["failed"], **speed["failed"]}})
        )
        write_results(partial, results)


def _batches(options: argparse.Namespace, model: str) -> list[int]:
    return options.batches or ([1] if model in _ALONE else [*BATCHES])


def _present(names: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Those whose packages are installed, and what the others lack."""
    missing = {name: RUNNERS[name].missing_packages() for name in names}
    return [name for name in names if not missing[name]], {n: lacks for n, lacks in missing.items() if lacks}


def _export(folder: Path, model: str) -> str:
    """Write the ONNX file; the reason if that fails."""
    say(f"{model}: exporting {ONNX_FILE}")
    process = run_script(_EXPORT, str(folder), capture_output=True, check=False)
    if process.returncode == 0:
        return ""
    reason = "the export to ONNX failed: " + (process.stderr.strip().splitlines() or ["no reason given"])[-1]
    say(reason)
    return reason


def _parser() -> argparse.ArgumentParser:
    def model(text: str) -> str:
        try:
            find_configuration(text)
        except KeyError:
            message = f"unknown model {text!r}; see numpy-siglip inspect --published, or use toy"
            raise argparse.ArgumentTypeError(message) from None
        return text

    def peer(text: str) -> str:
        if text not in RUNNERS:
            raise argparse.ArgumentTypeError(f"unknown peer {text!r}; there are: {', '.join(RUNNERS)}")
        return text

    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
        return int(text)

    def several(kind: Any) -> Any:
        def parse(text: str) -> list[Any]:
            return list(dict.fromkeys(kind(part.strip()) for part in text.split(",")))

        return parse

    parser = argparse.ArgumentParser(
        prog="models.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one shape, one image, few rounds")
    parser.add_argument("--models", type=several(model), help=f"default: {','.join(MODELS)}")
    parser.add_argument("--batches", type=several(count), help="images in a call; default: 1,8")
    parser.add_argument("--peers", type=several(peer), default=[*RUNNERS], help=f"of {','.join(RUNNERS)}")
    parser.add_argument("--rounds", type=count, help="rounds of turns; default: 15")
    parser.add_argument(
        "--budget", type=float, default=300.0, help="seconds after which rounds end early, once there are 5"
    )
    parser.add_argument("--starts", type=count, help="starts of each contestant; default: 5")
    parser.add_argument("--threads", type=count, default=available_threads(), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder; default: benchmarks/results")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers are ended then too
    sys.exit(main())
