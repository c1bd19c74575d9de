"""A process that embeds folders of pictures, as `workloads` tells it.

    workload_worker.py NAME FOLDER THREADS

It loads the model in FOLDER, answers with a line of JSON, and then obeys lines of JSON:

    -> {"command": "pictures", "folder": "..."}     every picture in it, from file to row
    -> {"command": "decoding", "folder": "..."}     decoding and preprocessing alone, on all threads
    -> {"command": "arithmetic", "images": 16}      so many images that are preprocessed, in batches
    <- {"images": 16, "seconds": 2.5}
"""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from contestants.quantized_runners import ALL_RUNNERS
from contestants.runners import Ours, load_transformers
from measuring.worker_process import answer_channel

BATCH = 8


class FolderReader(ABC):
    """One way from the pictures of a folder to rows."""

    title: str
    needs: tuple[str, ...]
    """Runners whose packages it takes"""

    def __init__(self, model: Path, threads: int) -> None:
        self.model, self.threads = model, threads

    @abstractmethod
    def embed(self, folder: Path) -> np.ndarray:
        """Embed every picture in a folder."""


class OurReader(FolderReader):
    """`Embedder.embed_images`."""

    title, needs = "numpy_siglip", (Ours.name,)
    dtype, decode = "float32", "exact"

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        from numpy_siglip import Embedder

        self.embedder = Embedder.from_pretrained(model, dtype=self.dtype, threads=threads)

    def embed(self, folder: Path) -> np.ndarray:
        """Embed every picture in a folder."""
        return self.embedder.embed_images(folder, batch_size=BATCH, decode=self.decode)

    def decode_all(self, folder: Path) -> int:
        """Decode and preprocess every picture, on all threads; how many there were."""
        files = sorted(folder.iterdir())
        with ThreadPoolExecutor(self.threads) as pool:
            return len(list(pool.map(self.embedder.processor, files)))

    def compute(self, images: int) -> int:
        """Embed so many images that are preprocessed."""
        size = self.embedder.model.config.image_size
        pixel_values = np.random.default_rng(0).uniform(-1, 1, (BATCH, 3, size, size)).astype(np.float32)
        for _ in range(-(-images // BATCH)):
            self.embedder.embed_inputs({"pixel_values": pixel_values})
        return -(-images // BATCH) * BATCH


class OurReaderInInt8(OurReader):
    """The same in int8."""

    title, dtype = "numpy_siglip int8", "int8"


class OurFastReader(OurReaderInInt8):
    """The same in int8, with JPEG decoded at a fraction of its size."""

    title, decode = "numpy_siglip int8, decode fast", "fast"


class TorchReader(FolderReader):
    """transformers' image processor in the workers of torch's loader, and its model on torch."""

    title, needs = "torch, workers of its loader", ("torch",)

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        import torch
        from transformers import SiglipImageProcessorPil

        torch.set_num_threads(threads)
        self.module = load_transformers(model)
        self.processor = SiglipImageProcessorPil.from_pretrained(model)

    def embed(self, folder: Path) -> np.ndarray:
        """Embed every picture in a folder."""
        import torch
        from torch.utils.data import DataLoader

        files = sorted(folder.iterdir())
        read = partial(_read_for_torch, self.processor)
        loader = DataLoader(files, batch_size=BATCH, num_workers=self.threads, collate_fn=read)
        with torch.inference_mode():
            rows = [self.module(pixel_values=batch).pooler_output for batch in loader]
        return torch.cat(rows).numpy()


def _read_for_torch(processor: Any, files: list[Path]) -> Any:
    from PIL import Image

    images = [Image.open(file).convert("RGB") for file in files]
    return processor(images=images, return_tensors="pt").pixel_values


READERS: dict[str, type[FolderReader]] = {
    "numpy_siglip": OurReader,
    "numpy_siglip-int8": OurReaderInInt8,
    "numpy_siglip-int8-fast": OurFastReader,
    "torch": TorchReader,
}
"""By the names that `workloads` and its results have for them."""


def missing_packages(name: str) -> list[str]:
    """What a reader lacks.

    Examples
    --------
    >>> missing_packages("numpy_siglip")
    []
    """
    return [package for runner in READERS[name].needs for package in ALL_RUNNERS[runner].missing_packages()]


def serve(name: str, model: Path, threads: int, commands: TextIO, answers: TextIO) -> None:
    """Load a model and obey."""

    def answer(images: int, begin: float) -> None:
        seconds = time.perf_counter() - begin
        answers.write(json.dumps({"images": images, "seconds": seconds}) + "\n")
        answers.flush()

    begin = time.perf_counter()
    reader: Any = READERS[name](model, threads)
    answer(0, begin)
    for line in commands:
        command = json.loads(line)
        begin = time.perf_counter()
        if command["command"] == "pictures":
            images = len(reader.embed(Path(command["folder"])))
        elif command["command"] == "decoding":
            images = reader.decode_all(Path(command["folder"]))
        else:
            images = reader.compute(command["images"])
        answer(images, begin)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.stdin, answer_channel())
