"""Checkpoints of published shapes with random weights, which cost nothing to download.

Speed does not depend on what the weights are, as long as they stay out of trouble: nothing overflows, no
attention is uniform, and outputs are of order one, so that contestants can also be compared by their results.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from numpy_siglip.checkpoints.file_names import CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE
from numpy_siglip.config.configuration import SiglipVisionConfig
from numpy_siglip.preprocessing.image_processing import SiglipImageProcessor
from numpy_siglip.tools.published import PUBLISHED_CHECKPOINTS
from numpy_siglip.weights.vision_weights import vision_tensor_shapes

TOY = SiglipVisionConfig(
    hidden_size=48,
    intermediate_size=70,
    num_hidden_layers=2,
    num_attention_heads=3,
    image_size=44,
    patch_size=11,
)
"""Runs in no time; measures nothing but the benchmark itself."""


def find_configuration(name: str) -> SiglipVisionConfig:
    """The configuration of a published checkpoint, or ``toy``.

    Parameters
    ----------
    name : str
        A repository of `numpy_siglip.tools.published` with or without the part ``google/siglip-``.

    Raises
    ------
    KeyError
        If there is no such checkpoint, it is a NaFlex one, or it has no head and so no embedding.

    Examples
    --------
    >>> find_configuration("so400m-patch14-384").num_patches
    729
    >>> find_configuration("google/siglip2-base-patch16-512").num_patches
    1024
    """
    if name == "toy":
        return TOY
    for checkpoint in PUBLISHED_CHECKPOINTS:
        config = checkpoint.config
        if not isinstance(config, SiglipVisionConfig) or not config.vision_use_head:
            continue
        if checkpoint.repository in (name, f"google/siglip-{name}"):
            return config
    raise KeyError(name)


def write_random_checkpoint(folder: Path, config: SiglipVisionConfig, seed: int = 0) -> None:
    """Write a checkpoint as transformers would.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    config : SiglipVisionConfig
    seed : int
        The same seed and configuration give the same weights.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_random_checkpoint(folder, TOY)
    >>> sorted(file.name for file in folder.iterdir())
    ['config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {"architectures": ["SiglipVisionModel"], "dtype": "float32", **config.to_dict()}
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2))
    side = {"height": config.image_size, "width": config.image_size}
    processor = {"image_processor_type": "SiglipImageProcessor", **SiglipImageProcessor(size=side).to_dict()}
    (folder / PREPROCESSOR_FILE).write_text(json.dumps(processor, indent=2))
    generator = np.random.default_rng(seed)
    weights = {name: _draw(generator, name, shape) for name, shape in vision_tensor_shapes(config).items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def random_pixels(config: SiglipVisionConfig, batch: int) -> np.ndarray:
    """Pixel values between -1 and 1, as a processor makes them: (batch, channels, size, size).

    Examples
    --------
    >>> random_pixels(TOY, 2).shape
    (2, 3, 44, 44)
    """
    shape = (batch, config.num_channels, config.image_size, config.image_size)
    return np.random.default_rng(batch).uniform(-1, 1, shape).astype(np.float32)


def _draw(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = generator.standard_normal(shape, dtype=np.float32)
    if name.endswith(("norm1.weight", "norm2.weight", "layernorm.weight")):
        return 1 + 0.2 * noise
    if name.endswith("bias"):
        return 0.1 * noise
    if name.endswith("position_embedding.weight"):
        return 0.5 * noise
    if name.endswith("probe"):
        return noise
    # Every map keeps the variance, and queries and keys are twice as large, which makes attention pick.
    sharper = 2.0 if any(part in name for part in ("q_proj", "k_proj", "in_proj")) else 1.0
    noise *= np.float32(sharper / np.sqrt(np.prod(shape[1:])))
    return noise
