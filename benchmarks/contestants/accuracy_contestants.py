"""Who embeds the sample of `accuracy`, and the process each one has of its own.

    accuracy_contestants.py NAME FOLDER THREADS

loads a model, and then reads commands from standard input and answers on standard output, each a line of
JSON:

    <- {"ready": true}
    -> {"command": "embed", "file": "a.npz"}
    <- {"done": true}
    -> {"command": "turn"}
    <- {"images": 0.91, "texts": 0.43}

The latter are seconds for all of the sample. All contestants start from the same pictures and strings, so
that preprocessing and tokenizer are measured too, and compute in float32 unless their names say int8. A
way to compute that is added to ``CONTESTANTS`` has a row in the table.
"""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from contestants.quantized_runners import OursInInt8
from contestants.runners import Ours, OursInNumpy, Runner, Torch
from measuring.worker_process import answer_channel

BATCH = 64


class Contestant(ABC):
    """One way to embed pictures and texts, to embeddings of length 1."""

    runner: ClassVar[type[Runner]]
    """Of whom it is: name, title, packages and environment."""
    is_reference: ClassVar[bool] = False
    """Whether the others are compared with it."""

    @classmethod
    def weights_size(cls, folder: Path) -> int:
        """Bytes of the weights as they lie on disk."""
        return sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    @abstractmethod
    def load(self, folder: Path, threads: int) -> None:
        """Read the model."""

    @abstractmethod
    def embed_images(self, images: list[Any]) -> np.ndarray:
        """Embed pictures of PIL."""

    @abstractmethod
    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Embed strings."""


class Compiled(Contestant):
    """numpy_siglip, compiled."""

    runner = Ours

    def load(self, folder: Path, threads: int) -> None:
        """Read both towers."""
        from numpy_siglip import Embedder

        self._embedder = Embedder.from_pretrained(folder, threads=threads)

    def embed_images(self, images: list[Any]) -> np.ndarray:
        """Embed pictures of PIL."""
        return self._embedder.embed_images(images, batch_size=BATCH)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Embed strings."""
        return self._embedder.embed_texts(texts, batch_size=BATCH)


class InInt8(Compiled):
    """numpy_siglip in integers of 8 bits, both towers, quantised while they are loaded."""

    runner = OursInInt8

    def load(self, folder: Path, threads: int) -> None:
        """Read both towers."""
        from numpy_siglip import Embedder

        self._embedder = Embedder.from_pretrained(folder, threads=threads, dtype="int8")


class InNumpy(Compiled):
    """The plain references of numpy_siglip."""

    runner = OursInNumpy

    def load(self, folder: Path, threads: int) -> None:
        """Read both towers; the threads are set by the environment."""
        from numpy_siglip import Embedder

        self._embedder = Embedder.from_pretrained(folder, backend="numpy")


class Transformers(Contestant):
    """transformers on torch."""

    runner = Torch
    is_reference = True

    def load(self, folder: Path, threads: int) -> None:
        """Read the model, its image processor and its tokenizer."""
        import torch
        from transformers import AutoProcessor, SiglipModel

        torch.set_num_threads(threads)
        self._processor = AutoProcessor.from_pretrained(folder)
        self._model = SiglipModel.from_pretrained(folder, dtype=torch.float32).eval()

    def embed_images(self, images: list[Any]) -> np.ndarray:
        """Embed pictures of PIL."""

        def embed(batch: list[Any]) -> Any:
            inputs = self._processor(images=batch, return_tensors="pt")
            return self._model.get_image_features(**inputs).pooler_output

        return self._in_batches(embed, images)

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """Embed strings."""

        def embed(batch: list[str]) -> Any:
            inputs = self._processor(text=batch, padding="max_length", truncation=True, return_tensors="pt")
            return self._model.get_text_features(input_ids=inputs["input_ids"]).pooler_output

        return self._in_batches(embed, texts)

    def _in_batches(self, embed: Callable[[list[Any]], Any], items: list[Any]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            parts = [embed(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
            return torch.nn.functional.normalize(torch.cat(parts), dim=-1).numpy()


CONTESTANTS: dict[str, type[Contestant]] = {
    contestant.runner.name: contestant for contestant in (Compiled, InInt8, InNumpy, Transformers)
}


def read_sample(folder: Path) -> tuple[list[Any], list[str]]:
    """The pictures cut out of ``sample.png``, as PIL's, and the labels of ``sample.json``."""
    from PIL import Image

    sample = json.loads((folder / "sample.json").read_text("utf-8"))
    side, columns = sample["side"], sample["columns"]
    with Image.open(folder / "sample.png") as file:
        sheet = file.convert("RGB")
    pictures = []
    for index in range(len(sample["names"])):
        top, left = (side * place for place in divmod(index, columns))
        pictures.append(sheet.crop((left, top, left + side, top + side)))
    return pictures, sample["labels"]


def serve(name: str, folder: Path, threads: int, commands: TextIO, answers: TextIO) -> None:
    """Load a contestant and obey; see the top of this file.

    Parameters
    ----------
    name : str
        A key of ``CONTESTANTS``.
    folder : Path
        The model, with the sample beside it.
    threads : int
    commands, answers : text file
    """

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    contestant = CONTESTANTS[name]()
    contestant.load(folder, threads)
    pictures, labels = read_sample(folder)
    answer(ready=True)
    for line in commands:
        command = json.loads(line)
        if command["command"] == "embed":
            images, texts = contestant.embed_images(pictures), contestant.embed_texts(labels)
            np.savez(command["file"], images=images, texts=texts)
            answer(done=True)
        else:
            answer(
                images=_seconds(contestant.embed_images, pictures),
                texts=_seconds(contestant.embed_texts, labels),
            )


def _seconds(embed: Callable[[list[Any]], np.ndarray], items: list[Any]) -> float:
    embed(items[:BATCH])  # threads that slept find their processors
    begin = time.perf_counter()
    embed(items)
    return time.perf_counter() - begin


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.stdin, answer_channel())
