"""The contestants: how each one is loaded and called, as fast as its own documentation says it can be.

All compute in float32 with the same number of threads. None is imported before its worker asks for it.
"""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

ONNX_FILE = "model.onnx"
OUTPUT = "pooler_output"


class Runner(ABC):
    """One contestant.

    Parameters
    ----------
    threads : int
        Threads of one call.
    """

    name: ClassVar[str]
    """What the command line and the results call it."""
    title: ClassVar[str]
    """What tables call it."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What must be installed, named alike for pip and for import."""
    is_peer: ClassVar[bool] = True
    """Whether it is someone else's."""
    needs_onnx: ClassVar[bool] = False
    """Whether it reads the file that `export_onnx` writes."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @classmethod
    def missing_packages(cls) -> list[str]:
        """The packages that are not installed."""
        return [package for package in cls.packages if importlib.util.find_spec(package) is None]

    @classmethod
    def environment(cls, threads: int) -> dict[str, str]:
        """Environment variables that must be set before the process starts."""
        return {}

    @abstractmethod
    def import_library(self) -> None:
        """Import what is needed, so that its time can be told apart from loading."""

    @abstractmethod
    def load(self, folder: Path, batch: int) -> None:
        """Load the checkpoint, and prepare for batches of this many images."""

    @abstractmethod
    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch: (batch, channels, size, size) -> (batch, width)."""


class Ours(Runner):
    """numpy_siglip, compiled."""

    name = "numpy_siglip"
    title = "numpy_siglip"
    packages = ("numba",)
    is_peer = False
    backend: ClassVar[str] = "numba"

    def import_library(self) -> None:
        """Import the package, and Numba, which it would otherwise import while loading."""
        import numba  # noqa: F401

        import numpy_siglip.model.vision  # noqa: F401

    def load(self, folder: Path, batch: int) -> None:
        """Load the tower."""
        from numpy_siglip import SiglipVisionModel

        self._model = SiglipVisionModel.from_pretrained(folder, backend=self.backend, threads=self.threads)

    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        return self._model(pixel_values).pooler_output


class OursInNumpy(Runner):
    """The plain references of numpy_siglip, over the BLAS library that NumPy brings."""

    name = "numpy"
    title = "numpy_siglip, backend numpy"
    is_peer = False

    @classmethod
    def environment(cls, threads: int) -> dict[str, str]:
        """BLAS libraries fix their number of threads when they are loaded."""
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        return {name: str(threads) for name in names}

    def import_library(self) -> None:
        """Import the package."""
        import numpy_siglip.model.vision  # noqa: F401

    def load(self, folder: Path, batch: int) -> None:
        """Load the tower."""
        from numpy_siglip import SiglipVisionModel

        self._model = SiglipVisionModel.from_pretrained(folder, backend="numpy")

    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        return self._model(pixel_values).pooler_output


class Torch(Runner):
    """transformers' own model on torch, with scaled-dot-product attention."""

    name = "torch"
    title = "torch"
    packages = ("torch", "transformers")

    def import_library(self) -> None:
        """Import both."""
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the checkpoint is a folder: nothing to look up
        import torch
        import transformers
        from transformers import SiglipVisionModel  # noqa: F401  (transformers imports its parts lazily)

        transformers.logging.disable_progress_bar()
        transformers.logging.set_verbosity_error()
        torch.set_num_threads(self.threads)
        torch.set_num_interop_threads(1)

    def load(self, folder: Path, batch: int) -> None:
        """Load the tower."""
        self.module = load_transformers(folder)

    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        import torch

        with torch.inference_mode():
            return self.module(pixel_values=torch.from_numpy(pixel_values)).pooler_output.numpy()


class OnnxRuntime(Runner):
    """onnxruntime on the CPU, with all graph optimisations."""

    name = "onnxruntime"
    title = "onnxruntime"
    packages = ("onnxruntime", "onnx", "torch", "transformers")  # all but the first for the export
    needs_onnx = True
    file: ClassVar[str] = ONNX_FILE

    def import_library(self) -> None:
        """Import it."""
        import onnxruntime  # noqa: F401

    def load(self, folder: Path, batch: int) -> None:
        """Make a session whose batch size is known to the optimiser."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_free_dimension_override_by_name("batch", batch)
        self._session = onnxruntime.InferenceSession(
            folder / self.file, options, providers=["CPUExecutionProvider"]
        )

    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        return self._session.run([OUTPUT], {"pixel_values": pixel_values})[0]


class OpenVino(Runner):
    """OpenVINO's CPU plugin, kept to float32."""

    name = "openvino"
    title = "OpenVINO"
    packages = ("openvino", "onnx", "torch", "transformers")  # all but the first for the export
    needs_onnx = True
    file: ClassVar[str] = ONNX_FILE

    def import_library(self) -> None:
        """Import it."""
        import openvino  # noqa: F401

    def load(self, folder: Path, batch: int) -> None:
        """Compile the model for this batch size."""
        import openvino

        core = openvino.Core()
        model = core.read_model(folder / self.file)
        model.reshape([batch, *list(model.inputs[0].partial_shape)[1:]])
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",  # on processors with AMX the default is bfloat16
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = core.compile_model(model, "CPU", settings)

    def embed(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed a batch."""
        return np.array(self._compiled(pixel_values)[OUTPUT])  # a copy: the original is written to again


RUNNERS: dict[str, type[Runner]] = {
    runner.name: runner for runner in (Ours, OursInNumpy, Torch, OnnxRuntime, OpenVino)
}


def load_transformers(folder: Path) -> Any:
    """The model of transformers, from a checkpoint folder, in float32.

    Raises
    ------
    ValueError
        If the checkpoint left any weight at its random start, which transformers only warns about.
    """
    import torch
    from transformers import SiglipVisionModel

    module, report = SiglipVisionModel.from_pretrained(
        folder, attn_implementation="sdpa", dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"] or report["unexpected_keys"]:
        raise ValueError(f"transformers does not know this checkpoint: {report}")
    return module.eval()
