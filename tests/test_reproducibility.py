"""The same image and the same checkpoint give the same bits: in any batch, with any threads, on any CPU."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.embedding_process import PATIENCE
from helpers.toy_models import AWKWARD, TOY
from safetensors.numpy import save_file

from numpy_siglip import SiglipModel, SiglipVisionConfig, SiglipVisionModel
from numpy_siglip.kernels.machine.instruction_level import LEVELS
from numpy_siglip.kernels.machine.processor import architecture, features_of_the_processor
from numpy_siglip.weights.vision_weights import vision_tensor_shapes


def _images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (count, 3, size, size)).astype(np.float32)


def _bits(output) -> list[bytes]:
    """Bytes of every array, so that 0 and -0 differ and NaN equals itself."""
    arrays = [output.last_hidden_state, output.pooler_output, *output.hidden_states, *output.attentions]
    return [array.tobytes() for array in arrays]


def _run(model, pixel_values):
    return model(pixel_values, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("which", ["toy", "awkward"])
def test_an_image_has_the_same_bits_at_every_place_of_every_batch(which, dtype, toy_folder, awkward_folder):
    folder, size = (toy_folder, TOY["image_size"]) if which == "toy" else (awkward_folder, 70)
    model = SiglipVisionModel.from_pretrained(folder, threads=2, dtype=dtype)
    images = _images(9, size)
    alone = _bits(_run(model, images[:1]))
    for batch in (2, 3, 8):
        for place in range(batch):
            together = np.concatenate([images[1 : place + 1], images[:1], images[place + 1 : batch]])
            assert len(together) == batch
            output = _run(model, together)
            own = [
                a[place : place + 1]
                for a in (
                    output.last_hidden_state,
                    output.pooler_output,
                    *output.hidden_states,
                    *output.attentions,
                )
            ]
            assert [array.tobytes() for array in own] == alone, f"place {place} of {batch}"


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("which", ["toy", "awkward"])
def test_any_number_of_threads_gives_the_same_bits(which, dtype, toy_folder, awkward_folder):
    folder, size = (toy_folder, TOY["image_size"]) if which == "toy" else (awkward_folder, 70)
    images = _images(3, size)
    expected = None
    for threads in (1, 2, 3, 2 * (os.cpu_count() or 1) + 3):
        model = SiglipVisionModel.from_pretrained(folder, threads=threads, dtype=dtype)
        for _ in range(3):  # each call shares its work out anew
            bits = _bits(_run(model, images))
            expected = expected or bits
            assert bits == expected, f"{threads} threads"


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_optional_outputs_do_not_change_the_others(dtype, toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder, dtype=dtype)
    images = _images(2, TOY["image_size"])
    plain, full = model(images), _run(model, images)
    assert plain.pooler_output.tobytes() == full.pooler_output.tobytes()
    assert plain.last_hidden_state.tobytes() == full.last_hidden_state.tobytes()


SCRIPT = """
import hashlib, sys
import numpy as np
from numpy_siglip import Siglip2VisionModel, SiglipModel, SiglipVisionModel
from numpy_siglip.kernels.machine.compilation import KERNELS
model = SiglipVisionModel.from_pretrained(sys.argv[1])
size = model.config.image_size
images = np.random.default_rng(5).uniform(-1, 1, (3, 3, size, size)).astype(np.float32)
output = model(images, output_hidden_states=True, output_attentions=True)
stretched = np.random.default_rng(6).uniform(-1, 1, (1, 3, size + 30, size)).astype(np.float32)
other = model(stretched, interpolate_pos_encoding=True)
naflex = Siglip2VisionModel.from_pretrained(sys.argv[2])
patches = np.random.default_rng(7).uniform(-1, 1, (3, 24, naflex.config.patch_features)).astype(np.float32)
any_aspect = naflex(patches, None, [[4, 6], [23, 1], [5, 3]])
integers = SiglipVisionModel.from_pretrained(sys.argv[1], dtype="int8")(images)
texts = SiglipModel.from_pretrained(sys.argv[3])
ids = np.random.default_rng(8).integers(texts.config.text_config.vocab_size, size=(3, 16))
side = texts.config.vision_config.image_size
pixels = np.random.default_rng(9).uniform(-1, 1, (3, 3, side, side)).astype(np.float32)
pairs = texts(ids, pixels, return_loss=True)
digest = hashlib.sha256()
for array in (integers.last_hidden_state, integers.pooler_output,
              output.last_hidden_state, output.pooler_output, *output.hidden_states, *output.attentions,
              other.last_hidden_state, other.pooler_output,
              any_aspect.last_hidden_state, any_aspect.pooler_output,
              pairs.text_embeds, pairs.logits_per_image, pairs.loss,
              texts.probabilities(pairs.logits_per_image)):
    digest.update(array.tobytes())
read, compiled = (sum(k.cache_statistics()[i] for k in KERNELS) for i in (0, 1))
print(digest.hexdigest(), read, compiled)
"""


def _in_a_process(*folders, **environment: str) -> tuple[str, int, int]:
    """SHA-256 of all outputs, and how many kernels were read from disk and compiled."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *folders],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    digest, read, compiled = result.stdout.split()
    return digest, int(read), int(compiled)


ZEN_3 = {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+avx2,+fma"}


def _levels() -> dict[str, dict[str, str]]:
    """The levels that this processor can run, its own without a word, and a processor by its name."""
    possible = [level for level in LEVELS[architecture()] if level.features <= features_of_the_processor()]
    levels = {level.name: {"NUMPY_SIGLIP_LEVEL": level.name} for level in possible}
    levels[possible[-1].name] = {}
    return {**levels, **({"znver3": ZEN_3} if "x86-64-v3" in levels else {})}


def test_levels_processes_and_the_cache_give_the_same_bits(toy_folder, naflex_folder, pair_folder, tmp_path):
    """With AVX-512, with and without VNNI, AVX2, SSE2 without FMA; compiled here, and read from disk."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    folders = (toy_folder, naflex_folder, pair_folder)
    levels = _levels()
    if len(levels) > 4:  # of those between, nothing is emitted in another way
        levels.pop("x86-64-v2", None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # compiling takes one core
        results = pool.map(lambda level: _in_a_process(*folders, **cache, **level), levels.values())
    digests = {}
    for name, (digest, read, compiled) in zip(levels, results, strict=True):
        digests[name] = digest
        assert read == 0, name
        assert compiled > 5
    digests["cached"], read, compiled = _in_a_process(*folders, **cache)
    assert compiled == 0
    assert read > 5
    assert len(set(digests.values())) == 1, digests


@pytest.mark.slow
def test_levels_give_the_same_bits_at_awkward_sizes(awkward_folder, naflex_folder, pair_folder, tmp_path):
    folders = (awkward_folder, naflex_folder, pair_folder)
    digests = {
        name: _in_a_process(*folders, NUMBA_CACHE_DIR=str(tmp_path), **level)[0]
        for name, level in _levels().items()
    }
    assert len(set(digests.values())) == 1, digests


def test_the_digest_of_the_same_bits_would_tell_a_difference(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    images = _images(1, TOY["image_size"])
    changed = images.copy()
    changed[0, 0, 0, 0] += 1e-4
    one, other = (hashlib.sha256(b"".join(_bits(_run(model, x)))).hexdigest() for x in (images, changed))
    assert one != other


# What every platform must compute, whatever its system, processor and level of instructions. A change of how
# something is computed changes them: print the new ones with the program at the end of this file.
STORED = {
    "emoji float32": "13e8f2fffb8d0be8763d9cb61cf4e28c0c42faa62266eef23f2303a065c32ade",
    "awkward float32": "bfa7e7d4756380f4011b8ef4b127e2ba297cabc2ea68e69093a155109d576100",
    "emoji int8": "16b9d515078853cc68ffe2a8a0e8863bdfaeda3ada19ccb0b054e12983fe2d73",
    "awkward int8": "5fb0821481dcfe8578b643ca7a66385d535af94a166978c02ecbe501f3f17c30",
}


def _whole_numbers(shape: tuple[int, ...], seed: int, largest: int = 255) -> np.ndarray:
    """Drawn without a function of a mathematical library, which may differ from system to system."""
    return np.random.default_rng(seed).integers(0, largest + 1, shape)


def _pixels(count: int, size: int) -> np.ndarray:
    return (_whole_numbers((count, 3, size, size), seed=size) / 127.5 - 1).astype(np.float32)


def _write_awkward_model(folder: Path) -> None:
    """The tower of awkward sizes, whose weights are whole numbers times a power of two."""
    config = SiglipVisionConfig(**AWKWARD)
    weights = {}
    for seed, (name, shape) in enumerate(sorted(vision_tensor_shapes(config).items())):
        steps = _whole_numbers(shape, seed) - 127
        if "norm" in name and name.endswith("weight"):
            weights[name] = (1 + steps / 1024).astype(np.float32)
        else:
            weights[name] = (steps / (2048 if len(shape) > 1 else 512)).astype(np.float32)
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "model_type": "siglip_vision_model"}))
    save_file(weights, folder / "model.safetensors")


def _stored_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all that two models compute of two images, and one of them of texts."""
    _write_awkward_model(folder)
    digests = {}
    for dtype in ("float32", "int8"):
        pair = SiglipModel.from_pretrained("emoji", dtype=dtype, threads=2)
        length = pair.config.text_config.max_position_embeddings
        ids = _whole_numbers((3, length), seed=1, largest=pair.config.text_config.vocab_size - 1)
        output = pair(input_ids=ids, pixel_values=_pixels(2, pair.config.vision_config.image_size))
        arrays = [output.image_embeds, output.text_embeds, output.logits_per_image]
        digests[f"emoji {dtype}"] = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        tower = SiglipVisionModel.from_pretrained(folder, dtype=dtype, threads=2)
        results = _bits(_run(tower, _pixels(2, AWKWARD["image_size"])))
        digests[f"awkward {dtype}"] = hashlib.sha256(b"".join(results)).hexdigest()
        assert all(np.isfinite(np.frombuffer(result, np.float32)).all() for result in results)
    return digests


def test_every_platform_computes_the_stored_bits(tmp_path):
    assert _stored_digests(tmp_path) == STORED


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        computed = _stored_digests(Path(temporary))
    print(json.dumps(computed, indent=4))
    sys.exit(computed != STORED)
