"""What contestants are called in tables and pictures, in the order in which they are shown."""

from __future__ import annotations

OURS = "numpy_siglip"
TITLES = {
    OURS: "numpy_siglip",
    "numpy": "numpy_siglip, backend numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
}
"""By the names that results have for them: reporting needs no contestant, only what was written of it."""
