"""Models in int8: how close they are, what stays float32, folders of quantised weights, what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers.toy_models import TOY, TOY_TEXT
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    CheckpointError,
    ConfigError,
    Embedder,
    ImageError,
    Siglip2VisionModel,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionModel,
)
from numpy_siglip.checkpoints.int8_folder import INT8_WEIGHTS_FILE
from numpy_siglip.commands.command_line import main
from numpy_siglip.kernels.tiles.integer_packing import PackedIntegers
from numpy_siglip.kernels.tiles.packing import PackedLinear
from numpy_siglip.tools.quantize.quantization import quantize_model
from numpy_siglip.tools.quantize.sensitivity import scan_sensitivity

WEIGHTS = "model.safetensors"


def _pixels(count: int = 2) -> np.ndarray:
    size = TOY["image_size"]
    return np.random.default_rng(5).uniform(-1, 1, (count, 3, size, size)).astype(np.float32)


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(axis=-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)


@pytest.fixture(scope="module")
def quantised_folder(pair_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised") / "int8"
    quantize_model(pair_folder, folder)
    return folder


def _changed(folder, tmp_path, change):
    """A copy of a model with other tensors."""
    copy = tmp_path / "changed"
    shutil.copytree(folder, copy)
    file = next(copy.glob("*.safetensors"))
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    return copy


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_int8_is_close_to_float32_and_not_the_same(backend, toy_folder):
    exact = SiglipVisionModel.from_pretrained(toy_folder, backend=backend)(_pixels())
    close = SiglipVisionModel.from_pretrained(toy_folder, backend=backend, dtype="int8")(_pixels())
    cosine = _cosine(exact.pooler_output, close.pooler_output)
    assert (cosine > 0.999).all()
    assert not np.array_equal(exact.pooler_output, close.pooler_output)


def test_both_backends_round_alike(toy_folder):
    outputs = [
        SiglipVisionModel.from_pretrained(toy_folder, backend=backend, dtype="int8")(_pixels()).pooler_output
        for backend in ("numba", "numpy")
    ]
    assert (_cosine(*outputs) > 0.99999).all()


def test_every_model_takes_int8(pair_folder, naflex_folder):
    ids = np.arange(10, dtype=np.int64).reshape(1, 10) % TOY_TEXT["vocab_size"]
    patches = np.random.default_rng(0).uniform(-1, 1, (1, 12, 363)).astype(np.float32)
    outputs = []
    for dtype in ("float32", "int8"):
        both = SiglipModel.from_pretrained(pair_folder, dtype=dtype)
        naflex = Siglip2VisionModel.from_pretrained(naflex_folder, dtype=dtype)
        outputs.append(
            [
                SiglipTextModel.from_pretrained(pair_folder, dtype=dtype)(ids).pooler_output,
                both.get_image_features(_pixels()).pooler_output,
                naflex(patches, None, [[3, 4]]).pooler_output,
            ]
        )
    for exact, close in zip(*outputs, strict=True):
        assert (_cosine(exact, close) > 0.99).all()
        assert not np.array_equal(exact, close)


def test_maps_stay_float32_by_name(toy_folder):
    names = ["encoder.layers.0", "encoder.layers.1.mlp.fc2"]
    model = SiglipVisionModel.from_pretrained(toy_folder, dtype="int8", float32_layers=names)
    maps = [
        [isinstance(linear, PackedIntegers) for linear in (layer[1], layer[2], layer[4], layer[5])]
        for layer in model._weights.layers
    ]
    assert maps == [[False] * 4, [True, True, True, False]]
    everything = SiglipVisionModel.from_pretrained(toy_folder, dtype="int8", float32_layers=["encoder"])
    exact = SiglipVisionModel.from_pretrained(toy_folder)
    assert everything(_pixels()).pooler_output.tobytes() == exact(_pixels()).pooler_output.tobytes()
    watched = model(_pixels(), output_hidden_states=True, output_attentions=True)
    assert watched.pooler_output.tobytes() == model(_pixels()).pooler_output.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int4"}, "unknown dtype 'int4'; there are: float32, int8"),
        (
            {"dtype": "int8", "float32_layers": ["encoder.layers.9"]},
            "'encoder.layers.9', and there is no such",
        ),
        ({"dtype": "int8", "float32_layers": "encoder"}, "must be a list of names"),
    ],
)
def test_impossible_choices_are_refused(options, message, toy_folder):
    with pytest.raises(ConfigError, match=message):
        SiglipVisionModel.from_pretrained(toy_folder, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(bad, toy_folder, tmp_path):
    name = "encoder.layers.1.mlp.fc2.weight"

    def spoil(tensors):
        key = next(key for key in tensors if key.endswith(name))
        tensors[key] = tensors[key].copy()
        tensors[key][3, 5] = bad

    folder = _changed(toy_folder, tmp_path, spoil)
    with pytest.raises(CheckpointError, match=f"{name} holds NaN or infinity"):
        SiglipVisionModel.from_pretrained(folder, dtype="int8")
    with pytest.raises(CheckpointError, match=f"{name} holds NaN or infinity"):
        quantize_model(folder, tmp_path / "out", balance=False)
    assert not list((tmp_path / "out").glob("*"))


def test_outliers_constant_channels_and_zeros_stay_finite(toy_folder, tmp_path):
    def strain(tensors):
        for key in tensors:
            if key.endswith("fc1.weight"):
                tensors[key] = tensors[key].copy()
                tensors[key][:, 2] *= 1e4
                tensors[key][5] = 0
            elif key.endswith("q_proj.weight"):
                tensors[key] = np.zeros_like(tensors[key])
            elif key.endswith("layer_norm2.weight"):
                tensors[key] = tensors[key].copy()
                tensors[key][7] = 0

    folder = _changed(toy_folder, tmp_path, strain)
    assert np.isfinite(SiglipVisionModel.from_pretrained(folder, dtype="int8")(_pixels()).pooler_output).all()
    result = quantize_model(folder, tmp_path / "out")
    assert np.isfinite(result.accuracy.cosine).all()
    assert np.isfinite(SiglipVisionModel.from_pretrained(tmp_path / "out")(_pixels()).pooler_output).all()


# ---------------------------------------------------------------------------------------------- folders


def test_a_folder_holds_integers_scales_and_how_it_was_made(pair_folder, quantised_folder):
    before, after = load_file(pair_folder / WEIGHTS), load_file(quantised_folder / INT8_WEIGHTS_FILE)
    integers = {name for name, tensor in after.items() if tensor.dtype == np.int8}
    assert len(integers) == 2 * 6 + 2 * 6  # two layers in each tower
    assert after.keys() == before.keys() | {f"{name}_scale" for name in integers}
    for name in integers:
        scale = after[f"{name}_scale"]
        assert scale.shape == after[name].shape[:1]
        if "text_model" in name:  # not balanced
            restored = after[name] * scale[:, None]
            assert np.abs(restored - before[name]).max() <= scale.max() / 2 * 1.001
    with safe_open(quantised_folder / INT8_WEIGHTS_FILE, "np") as file:
        made = json.loads(file.metadata()["numpy_siglip.quantization"])  # a name in files that exist
    assert made["images"] == 0
    assert len(made["balanced"]) == 3 * TOY["num_hidden_layers"]
    assert (quantised_folder / "preprocessor_config.json").is_file()
    assert (quantised_folder / "spiece.model").is_file() or (quantised_folder / "tokenizer.json").is_file()


def test_a_folder_opens_as_any_other(pair_folder, quantised_folder, photos):
    exact, close = (Embedder.from_pretrained(folder) for folder in (pair_folder, quantised_folder))
    assert all(isinstance(layer.fc1, PackedIntegers) for layer in close.model._weights.layers), (
        "int8 without being asked for"
    )
    assert (_cosine(exact.embed_images(photos), close.embed_images(photos)) > 0.995).all()
    numpy = Embedder.from_pretrained(quantised_folder, backend="numpy")
    assert (_cosine(numpy.embed_images(photos), close.embed_images(photos)) > 0.9999).all()


@pytest.mark.parametrize("name", ["AutoModel", "SiglipModel", "SiglipVisionModel", "SiglipTextModel"])
@pytest.mark.parametrize("variant", [None, "int8"])
def test_transformers_does_not_open_such_a_folder(name, variant, quantised_folder):
    transformers = pytest.importorskip("transformers")
    with pytest.raises((OSError, ValueError), match=r"numpy_siglip_int8|no file named"):
        getattr(transformers, name).from_pretrained(quantised_folder, variant=variant)


def test_a_folder_of_before_its_files_had_names_of_their_own_still_opens(
    pair_folder, quantised_folder, tmp_path
):
    shutil.copytree(quantised_folder, tmp_path / "old")
    (tmp_path / "old" / INT8_WEIGHTS_FILE).rename(tmp_path / "old" / WEIGHTS)
    shutil.copy(pair_folder / "config.json", tmp_path / "old")
    old, new = (SiglipVisionModel.from_pretrained(folder) for folder in (tmp_path / "old", quantised_folder))
    assert old(_pixels()).pooler_output.tobytes() == new(_pixels()).pooler_output.tobytes()


@pytest.mark.parametrize("name", [WEIGHTS, INT8_WEIGHTS_FILE])
def test_weights_that_are_there_are_never_joined_by_others(name, toy_folder, tmp_path):
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match=f"{name}: is there already"):
        quantize_model(toy_folder, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_without_balancing_a_folder_is_what_from_pretrained_computes(toy_folder, tmp_path):
    quantize_model(toy_folder, tmp_path / "int8", balance=False)
    stored = SiglipVisionModel.from_pretrained(tmp_path / "int8")(_pixels()).pooler_output
    at_once = SiglipVisionModel.from_pretrained(toy_folder, dtype="int8")(_pixels()).pooler_output
    assert stored.tobytes() == at_once.tobytes()


def test_balancing_lowers_errors_and_changes_nothing_in_float32(pair_folder, tmp_path, photos):
    result = quantize_model(pair_folder, tmp_path / "int8", images=str(photos[-1]))
    chosen = [balance for balance in result.balances if balance.factors is not None]
    assert chosen
    for balance in chosen:
        assert balance.error < balance.error_before
        assert (np.log2(balance.factors) % 1 == 0).all()
    # the float32 tensors that factors were folded into give the same map to the last bit
    before, after = load_file(pair_folder / WEIGHTS), load_file(tmp_path / "int8" / INT8_WEIGHTS_FILE)
    balance = chosen[0]
    divided = f"vision_model.{balance.layer}.{balance.divided[1]}"
    np.testing.assert_array_equal(after[divided] * balance.factors, before[divided])


def test_integers_without_scales_are_refused(quantised_folder, tmp_path):
    def lose(tensors):
        del tensors[next(name for name in tensors if name.endswith("fc1.weight_scale"))]

    with pytest.raises(CheckpointError, match=r"fc1\.weight_scale is missing"):
        SiglipModel.from_pretrained(_changed(quantised_folder, tmp_path, lose))


def test_a_quantised_model_is_not_quantised_again(quantised_folder, tmp_path):
    with pytest.raises(CheckpointError, match="quantised already"):
        quantize_model(quantised_folder, tmp_path / "again")


def test_the_scan_names_the_costliest_maps_first(pair_folder):
    scan = scan_sensitivity(pair_folder)
    assert len(scan) == 4 * TOY["num_hidden_layers"]
    assert [entry.error for entry in scan] == sorted((entry.error for entry in scan), reverse=True)
    assert scan[-1].error > 0


# ----------------------------------------------------------------------------------------- command line


def test_quantize_on_the_command_line(pair_folder, tmp_path, photos, capsys):
    output = tmp_path / "int8"
    assert (
        main(["quantize", str(pair_folder), "--output", str(output), "--float32-layers", "encoder.layers.0"])
        == 0
    )
    told = capsys.readouterr().out
    for word in ("cosine", "layer error", "nearest", "of ten nearest", "MB ->"):
        assert word in told
    assert main(["quantize", str(pair_folder), "--output", str(output)]) == 2
    assert "is there already" in capsys.readouterr().err
    arguments = ["embed", str(photos[-1]), "--model", str(output), "--output", str(tmp_path / "a.npy")]
    assert main(arguments) == 0
    arguments = ["embed", str(photos[-1]), "--model", str(pair_folder), "--output", str(tmp_path / "b.npy")]
    assert main([*arguments, "--dtype", "int8"]) == 0
    a, b = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert (_cosine(a, b) > 0.99).all()
    assert main([*arguments[:-1], str(tmp_path / "c.npy"), "--dtype", "int7"]) == 2
    assert "unknown dtype 'int7'" in capsys.readouterr().err
    assert main(["quantize", str(pair_folder), "--sensitivity"]) == 0
    assert "encoder.layers.1.mlp.fc2" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    arguments = ["quantize", str(pair_folder), "--output", str(tmp_path / "x"), "--images"]
    assert main([*arguments, str(tmp_path / "empty")]) == 2
    assert "no images" in capsys.readouterr().err


def test_only_whole_maps_stay_float32(toy_folder, tmp_path):
    """Queries, keys and values are one map, in a model that is quantised when loaded and in a folder."""
    named = ["encoder.layers.0.self_attn.k_proj", "encoder.layers.1"]
    quantize_model(toy_folder, tmp_path / "q", float32_layers=named)
    before, after = load_file(toy_folder / WEIGHTS), load_file(tmp_path / "q" / INT8_WEIGHTS_FILE)
    for which in "qkv":
        assert after[f"encoder.layers.0.self_attn.{which}_proj.weight"].dtype == np.float32
    assert after["encoder.layers.0.self_attn.out_proj.weight"].dtype == np.int8
    for name, tensor in before.items():
        if "layers.1." in name:
            np.testing.assert_array_equal(after[name], tensor, err_msg=name)  # neither rounded nor balanced
    loaded = SiglipVisionModel.from_pretrained(toy_folder, dtype="int8", float32_layers=named)
    assert isinstance(next(iter(loaded._weights.layers)).query_key_value, PackedLinear)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scale: scale[:5], r"weight_scale has shape \(5,\); it must be \(33,\): quantise the model"),
        (
            lambda scale: scale * np.nan,
            "weight_scale holds NaN, infinity or a negative number",
        ),
        (lambda scale: -scale, "which is no scale; quantise the model again"),
    ],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_scales_that_cannot_be(change, message, mixed, toy_folder, tmp_path):
    quantize_model(toy_folder, tmp_path / "q")
    file = tmp_path / "q" / INT8_WEIGHTS_FILE
    tensors, original = load_file(file), load_file(toy_folder / "model.safetensors")
    projection = "encoder.layers.0.self_attn.k_proj.weight"
    tensors[projection + "_scale"] = np.ascontiguousarray(change(tensors[projection + "_scale"]))
    if mixed:
        query = "encoder.layers.0.self_attn.q_proj.weight"
        tensors[query] = original[query]
        del tensors[query + "_scale"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=message):
        SiglipVisionModel.from_pretrained(tmp_path / "q")


@pytest.mark.parametrize("name", ["layer_norm1.weight", "mlp.fc2.bias", "mlp.fc2.weight"])
def test_what_is_not_finite_is_not_quantised(name, toy_folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(toy_folder, source)
    tensors = load_file(source / "model.safetensors")
    tensors[f"encoder.layers.1.{name}"].reshape(-1)[2] = np.nan
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"encoder.layers.1.{name} holds NaN or infinity"):
        quantize_model(source, tmp_path / "q")
    assert not (tmp_path / "q").exists()
    with pytest.raises(CheckpointError, match=r"not finite|holds NaN"):
        scan_sensitivity(source)


def test_an_image_that_is_none_is_told_before_anything_is_written(toy_folder, photos, tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copy(photos[0], tmp_path / "images")
    (tmp_path / "images" / "z.png").write_text("no image")
    with pytest.raises(ImageError, match=r"z\.png"):
        quantize_model(toy_folder, tmp_path / "q", images=tmp_path / "images")
    assert not (tmp_path / "q").exists()


def test_what_cannot_be_done_with_a_quantised_model_is_told(toy_folder, tmp_path, capsys):
    quantize_model(toy_folder, tmp_path / "q")
    for command in (["convert", tmp_path / "q", tmp_path / "c"], ["validate", "--model", tmp_path / "q"],
                    ["quantize", tmp_path / "q", "--sensitivity"]):  # fmt: skip
        assert main([str(argument) for argument in command]) == 2
        assert "quantised" in capsys.readouterr().err
    assert main(["inspect", "--model", str(tmp_path / "q")]) == 0
    assert "quantised             12 weights, in int8" in capsys.readouterr().out
    (tmp_path / "none").mkdir()
    for options in (["--images", tmp_path / "none"], ["--float32-layers", "x"], ["--no-balance"]):
        assert main([str(word) for word in ("quantize", toy_folder, "--sensitivity", *options)]) == 2
    assert "leave --float32-layers and --no-balance out" in capsys.readouterr().err
