"""The vision tower in int8 against onnxruntime and OpenVINO in int8: speed, memory and accuracy.

    python benchmarks/quantized.py            one image and eight, about ten minutes on two cores

All are given the same weights, and are compared with transformers in float32 on the same images. Times are
taken in turns, ratios within a round, as README.md in this folder tells. The product of integers alone is set
against what the processor can do at most.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from contestants.field import start
from contestants.quantized_runners import ALL_RUNNERS, CALIBRATION_FILE, QUANTIZED, OursInInt8
from contestants.random_checkpoint import find_configuration, write_random_checkpoint
from contestants.runners import Ours
from contestants.worker import pixels_file
from measuring.contestant import Contestant
from measuring.integer_peak import measure_integer_products
from measuring.machine import describe_machine, short_name
from measuring.ratios import median_ratio, median_ratio_to_best
from measuring.result_files import RESULTS, write_results
from measuring.worker_process import ContestantError, run_script, say
from numpy_siglip import SiglipImageProcessor
from numpy_siglip.kernels.machine.threads import available_threads
from numpy_siglip.tools.quantize.calibration import drawn_images
from reporting.tables import quantized_tables

_SCRIPTS = Path(__file__).parent / "contestants"
_PAUSE = 0.1
_CALIBRATION_SEED, _SEED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    options = _parser().parse_args(arguments)
    description = describe_machine()
    names = [name for name in (Ours.name, *QUANTIZED) if not ALL_RUNNERS[name].missing_packages()]
    results: dict[str, Any] = {
        "benchmark": "quantized",
        **description,
        "complete": True,
        "model": options.model,
        "threads": options.threads,
        "missing": {name: ALL_RUNNERS[name].missing_packages() for name in QUANTIZED if name not in names},
        "products": measure_integer_products(options.threads),
        "speed": [],
    }
    try:
        with tempfile.TemporaryDirectory(prefix="siglip-benchmark-") as temporary:
            folder = Path(temporary)
            _prepare(folder, options.model)
            for batch in options.batches:
                say(f"{options.model}: {batch} images, {options.rounds} rounds")
                results["speed"].append(_measure(names, folder, batch, options))
    except (ContestantError, subprocess.CalledProcessError, OSError) as error:
        print(f"quantized.py: {error}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    output = options.output / f"{results['date'][:10]}-quantized-{short_name(results['machine'])}.json"
    write_results(output, results)
    print(f"\n{quantized_tables(results)}\n\nwritten to {output}")
    return 0


def _prepare(folder: Path, model: str) -> None:
    """Write the checkpoint, images, and what peers make of them."""
    say(f"{model}: writing a random checkpoint, exporting and quantising it")
    write_random_checkpoint(folder, find_configuration(model))
    processor = SiglipImageProcessor.from_pretrained(folder)
    for batch in (1, 8):
        np.save(pixels_file(folder, batch), processor(images=drawn_images(batch, _SEED)).pixel_values)
    np.save(folder / CALIBRATION_FILE, processor(images=drawn_images(16, _CALIBRATION_SEED)).pixel_values)
    for script in ("export_onnx.py", "quantized_runners.py"):
        run_script(_SCRIPTS / script, str(folder), check=True, stdout=sys.stderr)


def _measure(names: list[str], folder: Path, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Turns of all contestants, and what their embeddings have in common with those of float32."""
    with ExitStack() as stack:
        running: dict[str, Contestant] = {}
        outputs: dict[str, np.ndarray] = {}
        for name in names:
            contestant = stack.enter_context(start(name, folder, batch, options.threads))
            contestant.loaded()
            outputs[name] = contestant.embed()["pooler_output"]
            contestant.time(2)
            running[name] = contestant
        times: dict[str, list[float]] = {name: [] for name in names}
        memory: dict[str, int] = {}
        for number in range(options.rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                time.sleep(_PAUSE)
                turn = running[name].time(options.calls)
                times[name].append(median(turn["seconds"]) / batch)
                memory[name] = turn["peak_memory"]
    exact = outputs[Ours.name]
    ours = times[OursInInt8.name]
    peers = {name: seconds for name, seconds in times.items() if ALL_RUNNERS[name].is_peer}
    return {
        "batch": batch,
        "ratio_to_best_peer": median_ratio_to_best(ours, peers) if peers else None,
        "ratio_to_float32": median_ratio(ours, times[Ours.name]),
        "contestants": {
            name: {
                "title": ALL_RUNNERS[name].title,
                "seconds": times[name],
                "median_seconds": median(times[name]),
                "peak_memory": memory[name],
                "cosine": float(_cosine(outputs[name], exact).min()),
                "ratio": median_ratio(ours, times[name]),
            }
            for name in names
        },
    }


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x * y).sum(axis=-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quantized.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="base-patch16-224", help="default: %(default)s")
    parser.add_argument("--batches", type=int, nargs="+", choices=(1, 8), default=[1, 8])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of turns; default: %(default)s")
    parser.add_argument("--calls", type=int, default=5, help="calls of a turn; default: %(default)s")
    parser.add_argument("--threads", type=int, default=available_threads(), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
