"""Write transformers' model of a checkpoint as an ONNX file, for the runtimes that read nothing else.

`export_onnx.py FOLDER` runs in a process of its own, so that the command that measures
never imports torch.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from contestants.runners import ONNX_FILE, OUTPUT, load_transformers

_OPSET = 20
"""The first in which GELU is one operator, tanh form included; onnxruntime is faster for it."""


def export(folder: Path) -> None:
    """Write ``model.onnx`` beside the weights, with a batch of any size."""
    import torch

    model = load_transformers(folder)
    config = model.config

    class Tower(torch.nn.Module):
        """The model with its outputs as a tuple, which is what can be exported."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model  # as a part of this module, so that weights are exported as weights

        def forward(self, pixel_values: Any) -> tuple[Any, Any]:
            output = self.model(pixel_values=pixel_values)
            return output.last_hidden_state, output.pooler_output

    # Two images: with one, sizes of one could be taken for constants.
    example = torch.zeros(2, config.num_channels, config.image_size, config.image_size)
    names = ["last_hidden_state", OUTPUT]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is called old; the new one needs one package more
        torch.onnx.export(
            Tower().eval(),
            (example,),
            folder / ONNX_FILE,
            dynamo=False,
            opset_version=_OPSET,
            input_names=["pixel_values"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ("pixel_values", *names)},
        )


if __name__ == "__main__":
    export(Path(sys.argv[1]))
