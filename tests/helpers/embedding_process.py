"""Python in a process of its own, with a compiled model at hand."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from helpers.toy_models import TOY

PATIENCE = 1800
"""Seconds after which a process counts as hung, however loaded the machine is and whatever it compiles."""

# Begins programs whose first argument is the folder of a model.
START = """
import sys, os
import numpy as np
from numpy_siglip import SiglipVisionModel
model = SiglipVisionModel.from_pretrained(sys.argv[1], threads=2)
size = model.config.image_size
images = np.random.default_rng(5).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)
def embed(_=None):
    return model(images).pooler_output.tobytes()
"""

# The same for what is asked of any compiled code: two operations instead of a model, compiled in seconds.
START_OF_OPERATIONS = """
import sys, os
import numpy as np
from numpy_siglip.kernels.machine.runtime import Runtime
from numpy_siglip.kernels.rows.activations import activation
from numpy_siglip.kernels.rows.layer_norm import layer_norm
runtime = Runtime(threads=2)
x = np.random.default_rng(5).standard_normal((9, 37)).astype(np.float32)
def compute():
    normed = layer_norm(runtime, x, np.ones(37, np.float32), np.zeros(37, np.float32), 1e-6)
    return activation(runtime, normed, "gelu_pytorch_tanh").tobytes()
"""


def run_python(code: str, *arguments, environment: dict[str, str] | None = None, **options):
    """Run a program, whatever becomes of it."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        **{"timeout": PATIENCE, **options},
    )


def output_of(code: str, *arguments, start: str = START, **options) -> str:
    """What a program prints that begins like this, and that must succeed."""
    result = run_python(start + code, *arguments, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def toy_images(count: int = 2) -> np.ndarray:
    """Pixel values; two are those that ``START`` draws for the toy model."""
    size = TOY["image_size"]
    return np.random.default_rng(5).uniform(-1, 1, (count, 3, size, size)).astype(np.float32)
