"""What happens around the arithmetic: folders of pictures, several processes at once, and the first second.

    python benchmarks/workloads.py            about fifteen minutes on two cores

Folders of pictures of three sizes go from file to row, and are set against the sum of what decoding and
arithmetic take alone, each on all cores, which somebody who does one after the other needs at least.
Several processes share the machine. And the first embedding is timed with compiled code in three states:
none, a pack, and a cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from contestants.field import FIELD, start
from contestants.quantized_runners import ALL_RUNNERS
from contestants.random_checkpoint import find_configuration, random_pixels, write_random_checkpoint
from contestants.runners import Ours
from contestants.worker import pixels_file
from contestants.workload_worker import READERS, missing_packages
from measuring.contestant import Contestant
from measuring.machine import describe_machine, short_name
from measuring.measurement import start_once
from measuring.ratios import median_ratio
from measuring.result_files import RESULTS, write_results
from measuring.worker_process import ContestantError, WorkerProcess, run_script, say
from numpy_siglip.kernels.machine.threads import available_threads
from reporting.workload_tables import workloads_tables

PICTURES = {(640, 480): 64, (1920, 1280): 32, (4000, 3000): 16}
"""How many of each size make a folder."""
PEERS = ("numpy_siglip", "torch", "onnxruntime", "openvino")
_SCRIPTS = Path(__file__).parent / "contestants"
_PAUSE = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    options = _parser().parse_args(arguments)
    results: dict[str, Any] = {
        "benchmark": "workloads",
        **describe_machine(),
        "complete": True,
        "model": options.model,
        "threads": options.threads,
        "folders": [],
        "contention": [],
        "first_embedding": {},
    }
    try:
        with tempfile.TemporaryDirectory(prefix="siglip-benchmark-") as temporary:
            model = Path(temporary) / "model"
            say(f"writing a random checkpoint of {options.model}")
            config = find_configuration(options.model)
            write_random_checkpoint(model, config)
            np.save(pixels_file(model, 1), random_pixels(config, 1))
            results["first_embedding"] = _measure_first_embedding(model, Path(temporary), options)
            results["folders"] = _measure_folders(model, Path(temporary), options)
            results["contention"] = _measure_contention(model, options)
    except (ContestantError, subprocess.CalledProcessError, OSError) as error:
        print(f"workloads.py: {error}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    output = options.output / f"{results['date'][:10]}-workloads-{short_name(results['machine'])}.json"
    write_results(output, results)
    print(f"\n{workloads_tables(results)}\n\nwritten to {output}")
    return 0


def _measure_first_embedding(model: Path, temporary: Path, options: argparse.Namespace) -> dict[str, float]:
    """Seconds from the start of a process to its first embedding, by the state of its compiled code."""
    if options.skip_compiling:
        return {}
    pack, cache = temporary / "pack", temporary / "cache"
    states = {
        "nothing compiled": {"NUMBA_CACHE_DIR": str(cache)},
        "a pack": {"NUMPY_SIGLIP_KERNELS": str(pack), "NUMBA_CACHE_DIR": str(temporary / "none")},
        "a cache": {"NUMBA_CACHE_DIR": str(cache)},
    }
    say("making a pack of compiled code")
    warmup = [sys.executable, "-m", "numpy_siglip", "warmup", "--quiet", "--output", str(pack)]
    subprocess.run(warmup, check=True)
    found = {}
    for state, environment in states.items():
        say(f"first embedding with {state}")
        starts = [
            start_once(FIELD, Ours.name, model, options.threads, environment)["start_up_seconds"]
            for _ in range(1 if state == "nothing compiled" else 3)
        ]
        found[state] = median(starts)
    return found


def _measure_folders(model: Path, temporary: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every reader through a folder of every size, in turns; and what decoding and arithmetic take alone."""
    names = [name for name in READERS if not missing_packages(name)]
    cases = []
    with ExitStack() as stack:
        running = {}
        for name in names:
            arguments = [name, str(model), str(options.threads)]
            worker = WorkerProcess(_SCRIPTS / "workload_worker.py", arguments, {})
            running[name] = stack.enter_context(worker)
            running[name].answer()
        for size, count in PICTURES.items():
            folder = temporary / "{}x{}".format(*size)
            _write_pictures(folder, size, max(1, count // options.fewer))
            say(f"{len(list(folder.iterdir()))} pictures of {size[0]} x {size[1]}, {options.rounds} rounds")
            times: dict[str, list[float]] = {}
            alone: dict[str, list[float]] = {}
            for number in range(options.rounds + 1):
                shift = number % len(names)
                for name in names[shift:] + names[:shift]:
                    time.sleep(_PAUSE)
                    turn = running[name].ask({"command": "pictures", "folder": str(folder)})
                    times.setdefault(name, []).append(turn["seconds"] / turn["images"])
                    if name.startswith(Ours.name):
                        alone.setdefault(name, []).append(_alone(running[name], folder, turn["images"]))
            cases.append(
                {
                    "size": list(size),
                    "pictures": len(list(folder.iterdir())),
                    "contestants": {
                        name: {
                            "title": READERS[name].title,
                            "median_seconds": median(times[name][1:]),  # the first round filled caches
                            "ratio_to_parts": median_ratio(times[name][1:], alone[name][1:])
                            if name in alone
                            else None,
                            "ratio": median_ratio(times[Ours.name][1:], times[name][1:]),
                        }
                        for name in names
                    },
                }
            )
    return cases


def _alone(worker: WorkerProcess, folder: Path, images: int) -> float:
    """Seconds a picture of decoding alone and of arithmetic alone, together; both by the exact way."""
    decoding = worker.ask({"command": "decoding", "folder": str(folder)})
    arithmetic = worker.ask({"command": "arithmetic", "images": images})
    return sum(part["seconds"] / part["images"] for part in (decoding, arithmetic))


def _measure_contention(model: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Images a second of several processes together, which all call at once."""
    names = [name for name in PEERS if not ALL_RUNNERS[name].missing_packages()]
    if any(ALL_RUNNERS[name].needs_onnx for name in names):
        say("exporting to ONNX")
        run_script(_SCRIPTS / "export_onnx.py", str(model), check=True, stdout=sys.stderr)
    cores = options.threads
    cases = []
    for processes, threads in ((1, 1), (1, cores), (cores, 1), (2 * cores, cores)):
        say(f"{processes} processes of {threads} threads")
        rates = {}
        for name in names:
            with ExitStack() as stack:
                workers = [stack.enter_context(start(name, model, 1, threads)) for _ in range(processes)]
                for worker in workers:
                    worker.loaded()
                    worker.time(1)
                rates[name] = [_rate(workers, options.seconds) for _ in range(options.rounds)]
        cases.append(
            {
                "processes": processes,
                "threads": threads,
                "images_per_second": {name: median(rate) for name, rate in rates.items()},
            }
        )
    return cases


def _rate(workers: list[Contestant], seconds: float) -> float:
    with ThreadPoolExecutor(len(workers)) as pool:
        return sum(pool.map(lambda worker: worker.repeat(seconds), workers))


def _write_pictures(folder: Path, size: tuple[int, int], count: int) -> None:
    """JPEG files with shapes of every width, and the noise of a sensor."""
    folder.mkdir()
    x, y = np.meshgrid(*(np.linspace(0, 1, side, dtype=np.float32) for side in size))
    for number in range(count):
        draw = np.random.default_rng(number)
        waves = [np.sin(draw.uniform(3, 90) * x + draw.uniform(3, 90) * y * x) for _ in range(3)]
        pixels = np.stack(waves, axis=-1) * 90 + 128 + draw.integers(-6, 7, (size[1], size[0], 3))
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        picture.save(folder / f"{number:03}.jpg", quality=90)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workloads.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="base-patch16-224", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of turns; default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=4, help="of several processes at once; default: %(default)s"
    )
    parser.add_argument("--fewer", type=int, default=1, help="divides the number of pictures")
    parser.add_argument("--skip-compiling", action="store_true", help="leave out the first embedding")
    parser.add_argument("--threads", type=int, default=available_threads(), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
