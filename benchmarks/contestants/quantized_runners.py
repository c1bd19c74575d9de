"""The contestants in int8, beside the float32 ones of `runners`: the same weights, in integers of 8 bits.

What their authors recommend: onnxruntime quantises activations as they come (`quantize_dynamic`), OpenVINO by
ranges that NNCF measured on images before. `prepare` writes their files; `quantized_runners.py FOLDER` does
so in a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from contestants.runners import ONNX_FILE, RUNNERS, OnnxRuntime, OpenVino, Ours, Runner

ONNX_INT8_FILE = "model-int8.onnx"
OPENVINO_INT8_FILE = "model-int8.xml"
CALIBRATION_FILE = "calibration.npy"
"""Pixel values, (images, channels, size, size)."""
OURS_INT8_FOLDER = "numpy_siglip-int8"


class OursInInt8(Ours):
    """numpy_siglip with ``dtype="int8"``, quantised while it is loaded."""

    name = "numpy_siglip-int8"
    title = "numpy_siglip int8"

    def load(self, folder: Path, batch: int) -> None:
        """Load the tower."""
        from numpy_siglip import SiglipVisionModel

        self._model = SiglipVisionModel.from_pretrained(folder, threads=self.threads, dtype="int8")


class OursFromFolder(Ours):
    """numpy_siglip from a folder that ``numpy-siglip quantize`` balanced."""

    name = "numpy_siglip-balanced"
    title = "numpy_siglip int8, balanced"

    def load(self, folder: Path, batch: int) -> None:
        """Load the tower."""
        super().load(folder / OURS_INT8_FOLDER, batch)


class OnnxRuntimeInInt8(OnnxRuntime):
    """onnxruntime with dynamically quantised activations."""

    name = "onnxruntime-int8"
    title = "onnxruntime int8, dynamic"
    file = ONNX_INT8_FILE


class OpenVinoInInt8(OpenVino):
    """OpenVINO with what NNCF quantised."""

    name = "openvino-int8"
    title = "OpenVINO int8, NNCF"
    packages = (*OpenVino.packages, "nncf")
    file = OPENVINO_INT8_FILE


QUANTIZED: dict[str, type[Runner]] = {
    runner.name: runner for runner in (OursInInt8, OursFromFolder, OnnxRuntimeInInt8, OpenVinoInInt8)
}
ALL_RUNNERS = RUNNERS | QUANTIZED


def prepare(folder: Path) -> None:
    """Write the quantised files of contestants that are installed, from ``model.onnx`` and the weights."""
    from numpy_siglip.tools.quantize.quantization import quantize_model

    quantize_model(folder, folder / OURS_INT8_FOLDER)
    if not OnnxRuntimeInInt8.missing_packages():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            folder / ONNX_FILE, folder / ONNX_INT8_FILE, weight_type=QuantType.QInt8, per_channel=True
        )
    if not OpenVinoInInt8.missing_packages():
        import nncf
        import openvino

        model = openvino.Core().read_model(folder / ONNX_FILE)
        images: list[Any] = [image[None] for image in np.load(folder / CALIBRATION_FILE)]
        quantized = nncf.quantize(
            model,
            nncf.Dataset(images, lambda image: {"pixel_values": image}),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
        )
        openvino.save_model(quantized, folder / OPENVINO_INT8_FILE, compress_to_fp16=False)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
