"""The text tower against transformers, stage by stage and at real sizes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.assert_close import assert_close
from helpers.embedding_process import PATIENCE
from helpers.toy_models import TOY, TOY_TEXT, transformers_full_model, transformers_text_model
from safetensors.numpy import load_file, save_file

from numpy_siglip import CheckpointError, ConfigError, SiglipTextConfig, SiglipTextModel, TextError

IDS = np.random.default_rng(0).integers(120, size=(3, 16))


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    transformers_text_model(**TOY_TEXT).save_pretrained(folder)
    return folder


def _theirs(model, ids):
    with torch.no_grad():
        return model(torch.from_numpy(ids), output_hidden_states=True, output_attentions=True)


def _compare(ours, theirs, relative=1e-5):
    assert_close(ours.last_hidden_state, theirs.last_hidden_state.numpy(), relative=relative)
    assert_close(ours.pooler_output, theirs.pooler_output.numpy(), relative=relative)
    assert len(ours.hidden_states) == len(theirs.hidden_states)
    for state, expected in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert_close(state, expected.numpy(), relative=relative)
    for weights, expected in zip(ours.attentions, theirs.attentions, strict=True):
        assert_close(weights, expected.numpy(), relative=5 * relative)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_every_output_equals_transformers(backend, pair_folder, pair_model):
    model = SiglipTextModel.from_pretrained(pair_folder, backend=backend)
    ours = model(IDS, output_hidden_states=True, output_attentions=True)
    _compare(ours, _theirs(pair_model.text_model, IDS))
    plain = model(IDS)
    assert plain.keys() == ("last_hidden_state", "pooler_output")
    assert plain.pooler_output.shape == (3, 33)
    np.testing.assert_array_equal(plain.last_hidden_state, ours.last_hidden_state)


@pytest.mark.parametrize("tokens", [1, 2, 15])
def test_shorter_texts_are_computed_as_transformers_does(tokens, pair_folder, pair_model):
    ours = SiglipTextModel.from_pretrained(pair_folder)(
        IDS[:, :tokens], output_hidden_states=True, output_attentions=True
    )
    _compare(ours, _theirs(pair_model.text_model, IDS[:, :tokens]))


def test_a_text_tower_alone_is_read(text_folder):
    model = transformers_text_model(**TOY_TEXT)
    _compare(
        SiglipTextModel.from_pretrained(text_folder)(IDS, output_hidden_states=True, output_attentions=True),
        _theirs(model, IDS),
    )


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(
            {"vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
            id="base",
        ),
        pytest.param(
            {
                "vocab_size": 1000,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "max_position_embeddings": 16,
            },
            id="so400m-14-224",
        ),
    ],
)
def test_the_sizes_of_published_towers(sizes, tmp_path):
    sizes = {"max_position_embeddings": 64, **sizes, "num_hidden_layers": 2}
    theirs = transformers_text_model(**sizes)
    theirs.save_pretrained(tmp_path)
    ids = np.random.default_rng(1).integers(1000, size=(2, sizes["max_position_embeddings"]))
    ids[0, 5:] = 1  # padding
    model = SiglipTextModel.from_pretrained(tmp_path)
    _compare(model(ids, output_hidden_states=True, output_attentions=True), _theirs(theirs, ids))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_of_narrow_tables_are_widened(dtype, tmp_path):
    theirs = transformers_text_model(**TOY_TEXT).to(dtype)
    theirs.save_pretrained(tmp_path)
    _compare(
        SiglipTextModel.from_pretrained(tmp_path)(IDS, output_hidden_states=True, output_attentions=True),
        _theirs(theirs.float(), IDS),
    )


def test_hidden_activations_and_an_odd_eps(tmp_path):
    sizes = {**TOY_TEXT, "hidden_act": "gelu", "layer_norm_eps": 1e-3}
    theirs = transformers_text_model(**sizes)
    theirs.save_pretrained(tmp_path)
    model = SiglipTextModel.from_pretrained(tmp_path)
    assert (model.config.hidden_act, model.config.layer_norm_eps) == ("gelu", 1e-3)
    _compare(model(IDS, output_hidden_states=True, output_attentions=True), _theirs(theirs, IDS))


def test_a_text_has_the_same_bits_in_any_batch_and_with_any_threads(pair_folder):
    expected = None
    for threads in (1, 2, 5):
        model = SiglipTextModel.from_pretrained(pair_folder, threads=threads)
        ids = np.random.default_rng(3).integers(120, size=(9, 16))
        together = model(ids).pooler_output
        alone = np.concatenate([model(ids[i : i + 1]).pooler_output for i in range(9)])
        expected = together if expected is None else expected
        assert together.tobytes() == alone.tobytes() == expected.tobytes()


def test_the_trace_names_every_stage(pair_folder):
    model = SiglipTextModel.from_pretrained(pair_folder)
    stages = model.trace(IDS)
    output = model(IDS, output_hidden_states=True)
    assert next(iter(stages)) == "embeddings"
    np.testing.assert_array_equal(stages["head"], output.pooler_output)
    np.testing.assert_array_equal(stages["last_token"], output.last_hidden_state[:, -1])
    assert "encoder/layers/01/attention/weights" in stages
    heard = []
    assert model.trace(IDS, lambda name, array: heard.append(name), output_attentions=False) == {}
    assert heard == [name for name in stages if not name.endswith("weights")]


# ------------------------------------------------------------------------- what is not read, and damage


def _touched(folder, load):
    """Names of the tensors that loading a model asks for."""
    from numpy_siglip.checkpoints.checkpoint import Checkpoint

    asked = set()
    with pytest.MonkeyPatch.context() as patch:
        for method in ("tensor", "rows", "stored", "stored_entry"):
            real = getattr(Checkpoint, method)

            def spy(self, name, *rest, real=real):
                asked.add(getattr(name, "name", name))
                return real(self, name, *rest)

            patch.setattr(Checkpoint, method, spy)
        load(folder)
    return asked


def test_each_tower_leaves_the_tensors_of_the_other_alone(pair_folder):
    from numpy_siglip import SiglipModel, SiglipVisionModel

    text = _touched(pair_folder, SiglipTextModel.from_pretrained)
    assert text
    assert all(name.startswith("text_model.") for name in text)
    assert "text_model.embeddings.token_embedding.weight" not in text  # not before a text asks for it
    vision = _touched(pair_folder, SiglipVisionModel.from_pretrained)
    assert vision
    assert all(name.startswith("vision_model.") for name in vision)
    assert _touched(pair_folder, SiglipModel.from_pretrained) == text | vision | {"logit_scale", "logit_bias"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_large_table_is_neither_copied_nor_widened(dtype, tmp_path):
    """A table of 60 MB, of which a text touches 16 rows: nothing is copied but those."""
    sizes = {**TOY_TEXT, "vocab_size": 600_000 if dtype == "F32" else 1_200_000}
    model = transformers_text_model(**sizes)
    (model if dtype == "F32" else model.to(torch.bfloat16)).save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 60_000_000
    code = (
        "import re, sys\n"
        "from numpy_siglip import SiglipTextModel\n"
        "def resident():\n"
        "    return int(re.search(r'RssAnon:\\s+(\\d+)', open('/proc/self/status').read()).group(1))\n"
        "model = SiglipTextModel.from_pretrained(sys.argv[1], backend='numpy')\n"
        "model([[7] * 16])\n"
        "before = resident()\n"
        "model([[i * 10_007 for i in range(16)]])\n"
        "print(resident() - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert int(grown.stdout) < 4 * 1024


def test_damage_is_named(text_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(text_folder / "model.safetensors")
    (tmp_path / "config.json").write_text((text_folder / "config.json").read_text())

    def load(changed, message):
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            SiglipTextModel.from_pretrained(tmp_path)

    prefix = "" if "head.weight" in tensors else "text_model."
    load({n: t for n, t in tensors.items() if n != f"{prefix}head.bias"}, r"head\.bias is missing")
    load(tensors | {f"{prefix}head.scale": np.ones(3, np.float32)}, r"head\.scale is unexpected")
    load(
        tensors | {f"{prefix}embeddings.token_embedding.weight": np.ones((99, 26), np.float32)},
        r"token_embedding\.weight has shape \(99, 26\).*\(120, 26\)",
    )
    load({n: t for n, t in tensors.items() if "token_embedding" not in n}, "no SigLIP text tower")


def test_a_vision_checkpoint_has_no_text_tower(toy_folder):
    with pytest.raises(
        ConfigError, match=r"config\.json: model_type is 'siglip_vision_model': not a SigLIP text"
    ):
        SiglipTextModel.from_pretrained(toy_folder)
    with pytest.raises(CheckpointError, match="no SigLIP text tower"):
        SiglipTextModel.from_pretrained(toy_folder, config=SiglipTextConfig(**TOY_TEXT))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1.0, 2.0]], "dtype float64"),
        ([[True, False]], "dtype bool"),
        (["a cat"], "SiglipTokenizer makes of texts"),
        ([1, 2, 3], r"shape \(3,\); the model takes \(batch, 16\)"),
        (np.zeros((2, 17), int), r"shape \(2, 17\); the model takes \(batch, 16\)"),
        (np.zeros((2, 0), int), r"shape \(2, 0\)"),
        ([[1, 120]], "holds 120, but the model knows tokens 0 to 119"),
        ([[1, -1]], "holds -1"),
        ([[1, 2], [3]], "its parts differ in length"),
        (np.array([[2**63, 1]], np.uint64), r"holds 9223372036854775808"),
    ],
)
def test_what_is_no_text_is_refused(ids, message, pair_folder):
    model = SiglipTextModel.from_pretrained(pair_folder, backend="numpy")
    with pytest.raises(TextError, match=message):
        model(ids)


def test_no_texts_give_no_rows(pair_folder):
    for backend in ("numba", "numpy"):
        output = SiglipTextModel.from_pretrained(pair_folder, backend=backend)(np.zeros((0, 16), int))
        assert output.pooler_output.shape == (0, 33)


def test_the_text_tower_of_a_full_configuration_is_taken(pair_folder):
    from numpy_siglip import SiglipConfig

    config = SiglipConfig.from_pretrained(pair_folder)
    assert SiglipTextModel.from_pretrained(pair_folder, config=config).config == config.text_config
    with pytest.raises(ConfigError, match="must be a SiglipTextConfig"):
        SiglipTextModel.from_pretrained(pair_folder, config=config.vision_config)


def test_seeds_differ_between_towers():
    """So that no test passes because both towers hold the same numbers."""
    model = transformers_full_model(**TOY)
    one = model.text_model.encoder.layers[0].mlp.fc1.bias
    other = model.vision_model.encoder.layers[0].mlp.fc1.bias
    assert not torch.equal(one[:30], other[:30])


def test_a_file_that_is_changed_while_it_is_in_use_is_told(pair_folder, tmp_path):
    file = Path(shutil.copy(pair_folder / "model.safetensors", tmp_path))
    shutil.copy(pair_folder / "config.json", tmp_path)
    model = SiglipTextModel.from_pretrained(tmp_path)
    model(np.ones((1, 16), int))
    os.truncate(file, 100)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: was changed or removed .* load the model"
    ):
        model(np.ones((1, 16), int))


@pytest.mark.parametrize(("dtype", "name_of_dtype"), [(np.int32, "I32"), (np.int8, "I8")])
def test_a_table_of_integers_is_refused_before_there_is_a_text(dtype, name_of_dtype, pair_folder, tmp_path):
    tensors = load_file(pair_folder / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    save_file({**tensors, name: tensors[name].astype(dtype)}, tmp_path / "model.safetensors")
    shutil.copy(pair_folder / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match=f"tensor {name} has dtype {name_of_dtype}"):
        SiglipTextModel.from_pretrained(tmp_path)
