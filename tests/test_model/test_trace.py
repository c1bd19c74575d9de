"""Watching a forward pass: who is told what, and that watching changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

from numpy_siglip import Siglip2VisionModel, SiglipTextModel, SiglipVisionModel
from numpy_siglip.model.trace import LAYER_STAGES, LayerRecorder, Stage

PIXELS = np.random.default_rng(4).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)
PATCHES = np.random.default_rng(5).uniform(-1, 1, (2, 20, 363)).astype(np.float32)
GRIDS = np.array([[4, 5], [2, 3]])


@pytest.fixture(scope="module")
def tower(toy_folder):
    return SiglipVisionModel.from_pretrained(toy_folder)


def _forward(tower, stage):
    return tower._forward(PIXELS, stage, interpolate_pos_encoding=False)


def test_the_list_of_stages_inside_a_layer_is_whole(tower, pair_folder):
    text = SiglipTextModel.from_pretrained(pair_folder)
    for names in (tower.trace(PIXELS), text.trace([[5, 6, 1]])):
        for layer in ("encoder/layers/00/", "encoder/layers/01/"):
            inside = [name.removeprefix(layer) for name in names if name.startswith(layer)]
            assert tuple(inside) == LAYER_STAGES


@pytest.mark.parametrize(
    "wanted",
    [
        "embeddings",
        "encoder/layers/00/attention/weights",
        "encoder/layers/01/mlp/activation",
        "encoder/layers/01",
        "post_layernorm",
        "head/attention/weights",
        "head",
    ],
)
def test_what_is_wanted_is_told_alone_and_changes_nothing(wanted, tower):
    """Each stage by itself: the others are computed as fast as if nobody listened, with the same bits."""
    heard = {}
    tokens, pooled = _forward(tower, Stage(heard.__setitem__, lambda name: name == wanted))
    assert list(heard) == [wanted]
    np.testing.assert_array_equal(heard[wanted], tower.trace(PIXELS)[wanted])
    expected_tokens, expected_pooled = _forward(tower, Stage())
    np.testing.assert_array_equal(tokens, expected_tokens)
    np.testing.assert_array_equal(pooled, expected_pooled)


def test_layers_that_nobody_watches_run_in_one_call(tower, monkeypatch):
    calls = []
    for name in ("encoder", "encoder_layer", "attention"):
        right = getattr(tower.ops, name)

        def counted(*arguments, right=right, name=name):
            calls.append(name)
            return right(*arguments)

        monkeypatch.setattr(tower, "ops", tower.ops._replace(**{name: counted}))
    for wanted, expected in {
        "post_layernorm": ["encoder"],
        "encoder/layers/01": ["encoder_layer", "encoder_layer"],
        "encoder/layers/01/attention/heads": ["encoder_layer", "attention"],
    }.items():
        calls.clear()
        _forward(tower, Stage(lambda *_: None, lambda name, wanted=wanted: name == wanted))
        assert calls == expected


def test_attention_weights_are_left_out_where_nobody_asks_for_them(tower, naflex_folder):
    names = tower.trace(PIXELS, output_attentions=False)
    assert [name for name in tower.trace(PIXELS) if not name.endswith("attention/weights")] == list(names)
    naflex = Siglip2VisionModel.from_pretrained(naflex_folder)
    assert not [
        name
        for name in naflex.trace(PATCHES, None, GRIDS, output_attentions=False)
        if name.endswith("attention/weights")
    ]


def test_a_recorder_wants_what_it_keeps():
    assert not LayerRecorder(2, states=False, maps=False).stage.is_heard
    states = LayerRecorder(2, states=True, maps=False).stage
    assert states.wants("embeddings")
    assert states.wants("encoder/layers/01")
    assert not states.within("encoder/layers/01").wants(*LAYER_STAGES)
    maps = LayerRecorder(2, states=False, maps=True).stage
    assert maps.within("encoder/layers/01").wants("attention/weights")
    assert not maps.wants("embeddings", "encoder/layers/01", "head/attention/weights")
