"""The same image and the same checkpoint give the same bits: in any batch, with any threads, on any CPU."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.embedding_process import PATIENCE
from helpers.toy_models import TOY

from numpy_siglip import SiglipVisionModel
from numpy_siglip.kernels.machine.instruction_level import LEVELS
from numpy_siglip.kernels.machine.processor import architecture, features_of_the_processor


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
