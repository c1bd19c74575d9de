"""What programs ask of models and pass to them, for every class of models there is."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import transformers
from helpers.toy_models import TOY, transformers_full_model

from numpy_siglip import (
    AutoModel,
    BaseModelOutputWithPooling,
    ConfigError,
    Embedder,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2VisionConfig,
    SiglipForImageClassification,
    SiglipModel,
    SiglipTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    quantize_model,
)
from numpy_siglip.errors import UnknownOptionError
from numpy_siglip.outputs import BatchFeature

PIXELS = np.random.default_rng(0).uniform(-1, 1, (2, 3, 44, 44)).astype(np.float32)
IDS = np.random.default_rng(0).integers(0, 120, (2, 16))
KINDS = ["vision", "text", "pair", "classifier", "naflex", "naflex_text", "naflex_pair"]


@pytest.fixture(scope="module")
def calls(pair_folder, naflex_pair_folder, classifier_folder, photos):
    """A model of each kind with inputs for it."""
    pair, naflex = (AutoModel.from_pretrained(folder) for folder in (pair_folder, naflex_pair_folder))
    patches = dict(Siglip2ImageProcessor.from_pretrained(naflex_pair_folder)(photos[:2]))
    pixels, ids = {"pixel_values": PIXELS}, {"input_ids": IDS}
    return {
        "vision": (pair.vision_model, pixels),
        "text": (pair.text_model, ids),
        "pair": (pair, pixels | ids),
        "classifier": (SiglipForImageClassification.from_pretrained(classifier_folder), pixels),
        "naflex": (naflex.vision_model, patches),
        "naflex_text": (naflex.text_model, ids),
        "naflex_pair": (naflex, patches | ids),
    }


def _assert_equal(actual, expected):
    for one, other in zip(actual.to_tuple(), expected.to_tuple(), strict=True):
        if isinstance(one, tuple):
            assert len(one) == len(other)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_what_programs_ask_it_to_be(kind, calls):
    model, inputs = calls[kind]
    expected = model(**inputs)
    asked = model.eval().to("cpu").to(torch.device("cpu")).to(torch.float32).float().cpu()
    asked = asked.train(False).requires_grad_(False).to("cpu", np.float32, non_blocking=True)
    assert asked.to(device="cpu", dtype="float32").to(model.device, model.dtype) is model
    assert (model.device, model.dtype, model.training) == ("cpu", np.float32, False)
    _assert_equal(asked.forward(**inputs), expected)
    assert model.num_parameters(only_trainable=True) == 0
    assert model.num_parameters() > model.num_parameters(exclude_embeddings=True) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_cannot_be_is_refused(kind, calls):
    model, _ = calls[kind]
    for request, message in [
        (lambda: model.to("cuda"), "device is 'cuda'; everything is computed on the CPU"),
        (lambda: model.to(0), "device is 0"),
        (lambda: model.to(device=torch.device("meta")), "everything is computed on the CPU"),
        (lambda: model.to(torch.float16), "dtype is float16; models take and return float32"),
        (lambda: model.to("cpu", torch.bfloat16), "dtype is bfloat16"),
        (lambda: model.to(dtype=np.float64), "dtype is float64"),
        (lambda: model.to(np.ones(2)), "dtype is array"),
        (lambda: model.train(), "models here are not trained"),
        (lambda: model.train("no"), "mode is 'no'"),
        (lambda: model.requires_grad_(), "have no gradients"),
    ]:
        with pytest.raises(ConfigError, match=message):
            request()


@pytest.mark.parametrize("kind", KINDS)
def test_options_with_one_right_value(kind, calls):
    model, inputs = calls[kind]
    expected = model(**inputs)
    options = {
        "output_hidden_states": None,
        "output_attentions": np.False_,
        "return_dict": True,
        "use_cache": False,
    }
    if "input_ids" in inputs:
        positions = np.arange(16)[None]
        options |= {"attention_mask": np.ones_like(IDS), "position_ids": positions, "inputs_embeds": None}
    if kind in ("vision", "pair", "classifier"):
        options |= {"interpolate_pos_encoding": None, "labels": None, "pixel_attention_mask": None}
    _assert_equal(model(**inputs, **options), expected)
    for name in ("attention_mask", "position_ids"):
        if name in options:
            _assert_equal(model(**inputs, **{name: None}), expected)
            _assert_equal(model(**inputs, **{name: torch.from_numpy(options[name])}), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_return_dict_gives_a_tuple(kind, calls):
    model, inputs = calls[kind]
    for asked in ({}, {"output_hidden_states": True, "output_attentions": True}):
        output = model(**inputs, **asked)
        found = model(**inputs, **asked, return_dict=False)
        assert type(found) is tuple
        assert len(found) == len(output)
        np.testing.assert_array_equal(found[0], output[0])


def flags_of(function):
    """The names of its parameters that are true or false."""
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if "bool" in str(one.annotation)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["no", [0, -1], 1, np.array([True, False])])
def test_flags_are_truth_values(kind, value, calls):
    model, inputs = calls[kind]
    flags = flags_of(model.__call__)
    assert {"output_hidden_states", "output_attentions", "return_dict"} <= set(flags)
    for flag in flags:
        with pytest.raises(ConfigError, match=f"{flag} is .*; it must be true or false"):
            model(**inputs, **{flag: value})
    if hasattr(model, "trace"):
        for flag in flags_of(model.trace):
            with pytest.raises(ConfigError, match=f"{flag} is .*; it must be true or false"):
                model.trace(**inputs, **{flag: value})


def test_flags_of_an_embedder_are_truth_values(pair_folder, photos):
    embedder = Embedder.from_pretrained(pair_folder)
    calls = [
        (embedder.embed_images, (photos[:1],)),
        (lambda images, **flags: list(embedder.embed_batches(images, **flags)), (photos[:1],)),
        (embedder.embed_texts, (["a cat"],)),
        (embedder.classify, (photos[:1], ["a cat"])),
    ]
    for call, arguments in calls:
        flags = flags_of(call) or ["normalize", "apply_exif_orientation"]
        for flag in flags:
            with pytest.raises(ConfigError, match=f"{flag} is 'no'; it must be true or false"):
                call(*arguments, **{flag: "no"})
            call(*arguments, **{flag: np.False_})


def test_flags_elsewhere_are_truth_values(pair_folder, tmp_path):
    for config in (SiglipVisionConfig, Siglip2VisionConfig):
        assert config(vision_use_head=np.False_).vision_use_head is False
        with pytest.raises(ConfigError, match="vision_use_head is 'no'; it must be true or false"):
            config(vision_use_head="no")
    with pytest.raises(ConfigError, match="balance is 'no'; it must be true or false"):
        quantize_model(pair_folder, tmp_path / "new", balance="no")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("text", {"position_ids": [[1, 2, 3]]}, r"position_ids is \[\[1, 2, 3\]\]; tokens stand at 0, 1, 2"),
        ("pair", {"position_ids": [[1, 0]]}, "tokens stand at"),
        ("text", {"inputs_embeds": PIXELS}, "texts are given as input_ids"),
        ("vision", {"labels": [1]}, "no loss is computed of labels"),
        ("classifier", {"labels": [1, 2]}, "no loss is computed of labels"),
        ("pair", {"spatial_shapes": [[1, 1]]}, "belongs to the NaFlex models"),
        ("naflex", {"attention_mask": [[1]]}, "the mask of an image is its pixel_attention_mask"),
        ("vision", {"use_cache": True}, "have no cache"),
        ("vision", {"input_ids": IDS}, "texts are for SiglipModel"),
        ("naflex", {"input_ids": IDS}, "texts are for SiglipModel"),
        ("text", {"pixel_values": PIXELS}, "images are for SiglipModel"),
        ("text", {"position_ids": [[0], [0, 1]]}, "position_ids is no array"),
        ("pair", {"input_ids": None}, "input_ids is missing; a model of both towers"),
        ("pair", {"pixel_values": None}, "pixel_values is missing.*get_image_features"),
        ("naflex_pair", {"pixel_values": None}, "pixel_values is missing"),
    ],
)
def test_other_values_are_refused_by_name(kind, options, message, calls):
    model, inputs = calls[kind]
    with pytest.raises(ConfigError, match=message):
        model(**(inputs | options))


@pytest.mark.parametrize("kind", KINDS)
def test_misspelt_options_are_told(kind, calls):
    model, inputs = calls[kind]
    with pytest.raises(UnknownOptionError, match="do you mean 'output_hidden_states'"):
        model(**inputs, output_hiden_states=True)


@pytest.mark.parametrize("kind", ["pair", "naflex_pair"])
def test_features_take_what_a_tower_takes(kind, calls):
    model, inputs = calls[kind]
    images = {name: value for name, value in inputs.items() if name != "input_ids"}
    both = model(**inputs)
    features = [
        model.get_image_features(**images),
        model.get_text_features(inputs["input_ids"], position_ids=None),
    ]
    assert all(isinstance(one, BaseModelOutputWithPooling) for one in features)
    _assert_equal(features[0], both.vision_model_output)
    _assert_equal(features[1], both.text_model_output)
    assert type(model.get_text_features(inputs["input_ids"], return_dict=False)) is tuple
    with pytest.raises(ConfigError, match="output_attentions is 'no'"):
        model.get_image_features(**images, output_attentions="no")


def test_features_are_the_object_that_transformers_returns(pair_model, calls):
    theirs = pair_model.get_image_features(torch.from_numpy(PIXELS))
    ours = calls["pair"][0].get_image_features(PIXELS)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.keys() == tuple(theirs.keys())


def test_the_scale_and_the_bias_are_those_of_transformers(pair_model, naflex_pair_model, calls):
    for kind, theirs in [("pair", pair_model), ("naflex_pair", naflex_pair_model)]:
        model = calls[kind][0]
        for name in ("logit_scale", "logit_bias"):
            expected = getattr(theirs, name).detach().numpy()
            found = getattr(model, name)
            np.testing.assert_array_equal(found, expected)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    output = calls["pair"][0](**calls["pair"][1])
    cosines = output.image_embeds @ output.text_embeds.T
    model = calls["pair"][0]
    logits = np.exp(model.logit_scale) * cosines + model.logit_bias
    np.testing.assert_allclose(output.logits_per_image, logits, rtol=1e-5)


def test_tensors_are_taken_for_arrays(calls):
    for kind in KINDS:
        model, inputs = calls[kind]
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        _assert_equal(model(**tensors), model(**inputs))
    half = torch.from_numpy(PIXELS).bfloat16()
    np.testing.assert_array_equal(
        calls["vision"][0](half.requires_grad_()).pooler_output,
        calls["vision"][0](half.detach().float().numpy()).pooler_output,
    )


# ------------------------------------------------------------------------------------- results and inputs


def test_results_are_mappings_and_tuples_as_those_of_transformers(calls):
    with torch.no_grad():
        theirs = transformers_full_model(**TOY)(
            input_ids=torch.from_numpy(IDS), pixel_values=torch.from_numpy(PIXELS)
        )
    model, inputs = calls["pair"]
    ours = model(**inputs)
    assert list(ours) == list(theirs) == list(ours.keys())
    assert len(ours) == len(theirs)
    assert [name for name, _ in ours.items()] == [name for name, _ in theirs.items()]
    assert [type(value).__name__ for value in ours.values()][-1] == [
        type(v).__name__ for v in theirs.values()
    ][-1]
    for name in ("logits_per_image", "loss", "nothing", "text_embeds"):
        assert (name in ours) == (name in theirs)
        assert (ours.get(name) is None) == (theirs.get(name) is None)
    assert ours.get("nothing", 5) == 5
    assert ours["logits_per_image"] is ours[0] is ours[:2][0] is ours.get("logits_per_image")
    assert len(ours[1:]) == len(theirs[1:])
    assert 0 not in ours
    assert dict(ours).keys() == dict(**ours).keys() == dict(theirs).keys()
    assert len(ours.to_tuple()[-1]) == len(theirs.to_tuple()[-1])
    with pytest.raises(KeyError):
        ours["loss"]
    with pytest.raises(AttributeError):
        ours.loss = 1


def test_inputs_go_where_everything_is():
    theirs = transformers.BatchFeature({"pixel_values": torch.zeros(2), "input_ids": torch.zeros(2).long()})
    ours = BatchFeature(pixel_values=np.zeros(2, np.float32), input_ids=np.zeros(2, np.int64))
    for arguments in [
        ("cpu",),
        (torch.device("cpu"),),
        (torch.float16,),
        ("cpu", torch.float64),
        (torch.float32,),
    ]:
        theirs.to(*arguments)
        assert ours.to(*arguments) is ours
        for name, value in ours.items():
            assert f"torch.{value.dtype}" == str(theirs[name].dtype)
    assert ours.to(device="cpu", dtype=np.float16, non_blocking=True).pixel_values.dtype == np.float16
    assert ours.to(None) is ours
    for arguments, message in [
        (("cuda",), "device is 'cuda'"),
        ((0,), "device is 0"),
        (("int64",), "dtype is 'int64'; it must be one of float16, float32, float64"),
        ((torch.bfloat16,), "dtype is torch.bfloat16"),
        ((np.ones(2),), "dtype is array"),
        (([1],), r"dtype is \[1\]"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ours.to(*arguments)


# ------------------------------------------------------------------------------------- from_pretrained


@pytest.mark.parametrize("load", [SiglipModel, SiglipVisionModel, SiglipTextModel, AutoModel, Embedder])
def test_what_programs_pass_to_from_pretrained(load, pair_folder):
    load.from_pretrained(
        pair_folder,
        dtype="auto",
        device_map="auto",
        attn_implementation="sdpa",
        low_cpu_mem_usage=True,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        cache_dir=pair_folder,
        token=None,
        force_download=False,
        quantization_config=None,
        output_loading_info=False,
    )
    for options in ({"torch_dtype": torch.float32}, {"dtype": np.float32}, {"device_map": {"": "cpu"}}):
        load.from_pretrained(pair_folder, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.float16}, "dtype is 'float16'; weights of any type load"),
        ({"torch_dtype": "bfloat16"}, "dtype is 'bfloat16'"),
        ({"dtype": "int8", "torch_dtype": "float32"}, "pass one of them"),
        ({"dtype": "int4"}, "unknown dtype 'int4'; there are: float32, int8"),
        ({"dtype": [1]}, r"unknown dtype '\[1\]'"),
        ({"dtype": np.ones(2)}, r"unknown dtype 'array\("),
        ({"device_map": np.ones(2)}, "device_map is array"),
        ({"device_map": "cuda"}, "device_map is 'cuda'; everything is computed on the CPU"),
        ({"device_map": {"": 0}}, "device_map is"),
        ({"attn_implementation": "flash_attention_2"}, "there is one attention"),
        ({"use_safetensors": False}, "pickled weights are not read"),
        ({"trust_remote_code": True}, "code that comes with a model is never run"),
        ({"quantization_config": {"load_in_4bit": True}}, "dtype='int8' or by quantize_model"),
        ({"load_in_8bit": True}, "see dtype='int8'"),
        ({"local_files_only": "yes"}, "local_files_only is 'yes'; it must be true or false"),
        ({"cache_dir": 5}, "cache_dir is 5; it must be a folder"),
        ({"token": 5}, "token is 5"),
        ({"quantisation_config": None}, "do you mean 'quantization_config'"),
        ({"backends": "numpy"}, "do you mean 'backend'"),
        ({"low_cpu_mem_usage": 1}, "low_cpu_mem_usage is 1"),
    ],
)
def test_what_from_pretrained_cannot_do_is_refused_by_name(options, message, pair_folder):
    for load in (SiglipVisionModel, AutoModel, Embedder):
        with pytest.raises(ConfigError, match=message):
            load.from_pretrained(pair_folder, **options)


def test_int8_by_the_names_of_programs(pair_folder):
    for options in ({"torch_dtype": "int8"}, {"dtype": np.int8}, {"dtype": torch.int8}):
        assert SiglipVisionModel.from_pretrained(pair_folder, **options).ops.dtype == "int8"


def test_what_a_model_is_can_be_read(pair_folder, naflex_pair_folder, classifier_folder):
    assert repr(SiglipModel.from_pretrained(pair_folder, backend="numpy")) == (
        "<SiglipModel: 54,881 parameters, float32, numpy>"
    )
    for kind, folder in (
        (Siglip2Model, naflex_pair_folder),
        (SiglipForImageClassification, classifier_folder),
    ):
        shown = repr(kind.from_pretrained(folder, threads=2, dtype="int8"))
        assert shown.startswith(f"<{kind.__name__}: ")
        assert shown.endswith(" parameters, int8, numba on 2 threads>")
    embedder = Embedder.from_pretrained(pair_folder, threads=2)
    assert repr(embedder) == f"<Embedder of {pair_folder}: {embedder.model!r}>"
