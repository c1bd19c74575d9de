"""Sizes of caches decide how work is cut, and no bit of a result."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.toy_models import TOY

from numpy_siglip import ConfigError, SiglipVisionModel
from numpy_siglip.kernels.attention.attention_packing import plan_attention
from numpy_siglip.kernels.layers import layer_plan
from numpy_siglip.kernels.machine import caches as module
from numpy_siglip.kernels.machine import tuning
from numpy_siglip.kernels.machine.caches import DEFAULT, Caches, caches, read_sizes
from numpy_siglip.kernels.products.matrix_product import plan_product

ABSURD = [Caches(1, 1), Caches(1, 2**40), Caches(2**40, 1), Caches(2**40, 2**40), Caches(10_007, 99_991)]
PLANS = (plan_product, plan_attention, layer_plan.plan_layer)


@pytest.fixture
def with_caches(monkeypatch):
    """Lets plans be made for caches of these sizes."""

    def choose(sizes: Caches) -> None:
        monkeypatch.setattr(tuning, "caches", lambda: sizes)
        for plan in PLANS:
            plan.cache_clear()

    yield choose
    monkeypatch.undo()
    for plan in PLANS:
        plan.cache_clear()


def _plans(threads: int = 2) -> tuple:
    return (
        plan_product(1024, 3072, 768, tile=layer_plan.tile_of_this_machine(), threads=threads),
        plan_attention(1, 1024, 1024, 768, 12),
        layer_plan.cut_into_pieces(1024, 3072, threads),
    )


def test_plans_follow_the_caches(with_caches):
    seen = []
    for sizes in (Caches(2**14, 2**17), Caches(2**15, 2**20), Caches(2**17, 2**23)):
        with_caches(sizes)
        seen.append(_plans())
    for name in ("depth", "panels_per_block"):
        values = [getattr(product, name) for product, _, _ in seen]
        assert values == sorted(values)
        assert values[0] < values[-1], name
    for name in ("tiles_of_task", "keys_at_a_time"):
        values = [getattr(attention, name) for _, attention, _ in seen]
        assert values == sorted(values)
        assert values[0] < values[-1], name
    rows = [images * rows for _, _, (images, rows) in seen]
    assert rows == sorted(rows)
    assert rows[0] < rows[-1]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_no_bit_depends_on_the_caches(dtype, toy_folder, awkward_folder, with_caches):
    for folder, size in ((toy_folder, TOY["image_size"]), (awkward_folder, 70)):
        model = SiglipVisionModel.from_pretrained(folder, threads=2, dtype=dtype)
        images = np.random.default_rng(5).uniform(-1, 1, (3, 3, size, size)).astype(np.float32)
        expected = model(images, output_hidden_states=True).last_hidden_state.tobytes()
        for sizes in ABSURD:
            with_caches(sizes)
            assert model(images).last_hidden_state.tobytes() == expected, sizes


def _write_caches(folder, *caches_of_a_processor) -> None:
    for number, (level, kind, size, sharing) in enumerate(caches_of_a_processor):
        cache = folder / f"index{number}"
        cache.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", sharing)):
            (cache / name).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("sharing", "second"), [("0", 2**20), ("0-1", 2**19), ("0,64", 2**19), ("0-3,8-11", 2**17), ("", 2**20)]
)
def test_what_processors_share_is_divided_among_them(sharing, second, tmp_path):
    _write_caches(
        tmp_path,
        (1, "Data", "48K", "0"),
        (1, "Instruction", "32K", "0"),
        (2, "Unified", "1M", sharing),
        (3, "Unified", "32768K", "0-7"),
    )
    assert read_sizes(tmp_path) == (48 * 2**10, second)


@pytest.mark.parametrize("size", ["0K", "a lot", "4096M", "1K"])
def test_nonsense_is_not_believed(size, tmp_path, monkeypatch):
    _write_caches(tmp_path, (1, "Data", size, "0"), (2, "Unified", size, "0"))
    monkeypatch.setattr(module, "_PROCESSOR", tmp_path)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("NUMPY_SIGLIP_CACHES", raising=False)
    assert caches.__wrapped__() == DEFAULT


def test_sizes_that_are_named_override_those_that_are_found(monkeypatch):
    monkeypatch.setenv("NUMPY_SIGLIP_CACHES", "1000,2000")
    assert caches.__wrapped__() == (1000, 2000)


@pytest.mark.parametrize("text", ["1000", "1,2,3", "a,b", "0,5", "32K,1M", "1,,2"])
def test_sizes_that_are_none_are_refused(text, toy_folder, monkeypatch):
    monkeypatch.setenv("NUMPY_SIGLIP_CACHES", text)
    caches.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"NUMPY_SIGLIP_CACHES is .* two numbers of bytes"):
            SiglipVisionModel.from_pretrained(toy_folder)
    finally:
        monkeypatch.undo()
        caches.cache_clear()
