"""One contestant in a process of its own, which does what it is told and sleeps in between.

    worker.py NAME FOLDER BATCH THREADS

`field` starts it. It imports, loads, and then reads commands from standard input and answers on standard
output, each a line of JSON:

    <- {"import_seconds": 0.4, "load_seconds": 0.2}
    -> {"command": "embed"}
    <- {"seconds": 0.3, "pooler_output": [[...], ...], "peak_memory": 1234567}
    -> {"command": "time", "calls": 3}
    <- {"seconds": [0.15, 0.14, 0.14], "peak_memory": 1234567}
    -> {"command": "repeat", "seconds": 3}
    <- {"calls": 21, "seconds": 3.1}

It ends at the end of its input.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from contestants.quantized_runners import ALL_RUNNERS as RUNNERS
from measuring.worker_process import answer_channel


def serve(name: str, folder: Path, batch: int, threads: int, commands: TextIO, answers: TextIO) -> None:
    """Load a contestant and obey.

    Parameters
    ----------
    name : str
        A key of ``RUNNERS``.
    folder : Path
        A checkpoint, with the pixel values to embed in `pixels_file`.
    batch : int
    threads : int
    commands, answers : text file
    """

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    runner = RUNNERS[name](threads)
    begin = time.perf_counter()
    runner.import_library()
    imported = time.perf_counter()
    runner.load(folder, batch)
    answer(import_seconds=imported - begin, load_seconds=time.perf_counter() - imported)

    import numpy as np

    pixel_values = np.load(pixels_file(folder, batch))
    for line in commands:
        command = json.loads(line)
        if command["command"] == "embed":
            begin = time.perf_counter()
            embeddings = runner.embed(pixel_values)
            seconds = time.perf_counter() - begin
            answer(seconds=seconds, peak_memory=peak_memory(), pooler_output=embeddings.tolist())
        elif command["command"] == "repeat":
            calls, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < command["seconds"]:
                runner.embed(pixel_values)
                calls += 1
            answer(calls=calls, seconds=time.perf_counter() - begin)
        else:
            times = []
            for _ in range(command["calls"]):
                begin = time.perf_counter()
                runner.embed(pixel_values)
                times.append(time.perf_counter() - begin)
            answer(seconds=times, peak_memory=peak_memory())


def pixels_file(folder: Path, batch: int) -> Path:
    """Where the pixel values of a batch of this size lie."""
    return folder / f"pixel_values_{batch}.npy"


def peak_memory() -> int:
    """Bytes of memory this process has occupied at most, pages of mapped files included."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.stdin, answer_channel())
