"""What `save_pretrained` writes opens in transformers and here, and equals what was saved; so do pickles."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import transformers
from helpers.assert_close import assert_close
from helpers.layout_writers import part, timm_tensors
from helpers.toy_models import NAFLEX_TOY, TOY, TOY_TEXT, transformers_classifier, transformers_vision_model
from safetensors.numpy import load_file, save_file

from numpy_siglip import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    CheckpointError,
    ConfigError,
    Embedder,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2TextConfig,
    Siglip2TextModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
    SiglipTextConfig,
    SiglipTextModel,
    SiglipTokenizer,
    SiglipVisionConfig,
    SiglipVisionModel,
    TextError,
    quantize_model,
)

TEXTS = ["a photo of a cat", "A Dog on a Bicycle!", ""]


@pytest.fixture
def gone(tmp_path):
    """Copies a folder to where it is removed before anything is done with what was made of it."""

    def copy(folder):
        return shutil.copytree(folder, tmp_path / "gone")

    return copy


@pytest.fixture
def classifier_folder_here(tmp_path):
    folder = tmp_path / "classifier"
    transformers_classifier(labels=("cat", "dog", "bird"), **TOY).save_pretrained(folder)
    return folder


def _opened(model_class, folder):
    """By transformers, with no tensor missing, unexpected or of another shape."""
    model, report = getattr(transformers, model_class).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


def _same_tensors(model, others):
    state, expected = model.state_dict(), others.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert value.dtype == state[name].dtype
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    "ours",
    [SiglipModel, SiglipVisionModel, SiglipTextModel, Siglip2Model, Siglip2VisionModel, Siglip2TextModel],
)
def test_models_open_in_transformers_and_here(ours, pair_folder, naflex_pair_folder, tmp_path):
    source = naflex_pair_folder if ours.__name__.startswith("Siglip2") else pair_folder
    model = ours.from_pretrained(source)
    files = model.save_pretrained(tmp_path / "new" / "saved", safe_serialization=True, push_to_hub=False)
    assert [file.name for file in files] == ["config.json", "model.safetensors"]
    assert sorted(file.name for file in (tmp_path / "new" / "saved").iterdir()) == [f.name for f in files]
    _same_tensors(
        _opened(ours.__name__, files[0].parent), getattr(transformers, ours.__name__).from_pretrained(source)
    )
    if not ours.__name__.endswith("TextModel"):  # which transformers' AutoModel does not know
        assert type(transformers.AutoModel.from_pretrained(files[0].parent)).__name__ == ours.__name__
    again = AutoModel.from_pretrained(files[0].parent)
    assert type(again) is ours
    assert again.config == model.config


def test_towers_of_a_model_are_saved_by_themselves(pair_folder, tmp_path):
    model = SiglipModel.from_pretrained(pair_folder)
    model.vision_model.save_pretrained(tmp_path / "vision")
    model.text_model.save_pretrained(tmp_path / "text")
    pixels = np.random.default_rng(0).standard_normal((2, 3, 44, 44)).astype(np.float32)
    ids = np.random.default_rng(1).integers(120, size=(2, 16))
    vision, text = (
        _opened("SiglipVisionModel", tmp_path / "vision"),
        _opened("SiglipTextModel", tmp_path / "text"),
    )
    with torch.no_grad():
        assert_close(
            model.vision_model(pixels).pooler_output,
            vision(torch.from_numpy(pixels)).pooler_output.numpy(),
            relative=1e-5,
        )
        assert_close(
            model.text_model(ids).pooler_output,
            text(torch.from_numpy(ids)).pooler_output.numpy(),
            relative=1e-5,
        )


def test_classifiers_keep_their_labels(classifier_folder_here, tmp_path, photos):
    model = SiglipForImageClassification.from_pretrained(classifier_folder_here)
    model.save_pretrained(tmp_path / "saved")
    theirs = _opened("SiglipForImageClassification", tmp_path / "saved")
    assert theirs.config.id2label == {0: "cat", 1: "dog", 2: "bird"}
    assert theirs.config.label2id == {"cat": 0, "dog": 1, "bird": 2}
    _same_tensors(theirs, transformers.SiglipForImageClassification.from_pretrained(classifier_folder_here))
    again = SiglipForImageClassification.from_pretrained(tmp_path / "saved")
    pixels = SiglipImageProcessor(size={"height": 44, "width": 44})(photos).pixel_values
    assert again(pixels).logits.tobytes() == model(pixels).logits.tobytes()


def test_a_classifier_stays_one_of_several_labels(classifier_folder_here, tmp_path):
    config = json.loads((classifier_folder_here / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (classifier_folder_here / "config.json").write_text(json.dumps(config))
    SiglipForImageClassification.from_pretrained(classifier_folder_here).save_pretrained(tmp_path / "saved")
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "saved")
    assert theirs.problem_type == "multi_label_classification"
    assert AutoConfig.from_pretrained(tmp_path / "saved").problem_type == "multi_label_classification"


def test_what_a_program_chose_goes_with_a_tokenizer(pair_folder, tmp_path):
    tokenizer = SiglipTokenizer.from_pretrained(pair_folder)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = SiglipTokenizer.from_pretrained(tmp_path / "saved")
    for one in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer), saved):
        assert list(one("a cat")) == ["input_ids", "attention_mask"]


def test_a_tokenizer_of_naflex_is_the_same_without_its_model(naflex_pair_folder, tmp_path):
    """transformers opens it by the type of the model, whatever class its file names."""
    source = shutil.copytree(naflex_pair_folder, tmp_path / "source")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "GemmaTokenizer"})
    )
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "saved")
    before, after = (
        transformers.AutoTokenizer.from_pretrained(tmp_path / name) for name in ("source", "saved")
    )
    assert type(before) is type(after)
    assert before("A Photo")["input_ids"] == after("A Photo")["input_ids"]


def test_numbers_of_numpy_are_saved(tmp_path):
    SiglipImageProcessor(image_mean=np.array([0.1, 0.2, 0.3], np.float32)).save_pretrained(tmp_path)
    SiglipVisionConfig(layer_norm_eps=np.float32(1e-6), attention_dropout=np.float64(0)).save_pretrained(
        tmp_path
    )
    assert SiglipImageProcessor.from_pretrained(tmp_path).image_mean[1] == pytest.approx(0.2)
    assert SiglipVisionConfig.from_pretrained(tmp_path).layer_norm_eps == pytest.approx(1e-6)


def test_many_that_save_to_one_new_folder(pair_folder, tmp_path):
    config = AutoConfig.from_pretrained(pair_folder)
    for attempt in range(20):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, folder=tmp_path / str(attempt): config.save_pretrained(folder), range(4)))
        assert [file.name for file in (tmp_path / str(attempt)).iterdir()] == ["config.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(20)))


def test_a_model_is_found_wherever_the_program_has_gone(pair_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(pair_folder.parent)
    model, embedder = (
        SiglipModel.from_pretrained(pair_folder.name),
        Embedder.from_pretrained(pair_folder.name),
    )
    monkeypatch.chdir(tmp_path)
    assert model.text_model([[5] * 16]).pooler_output.shape == (1, 33)
    assert embedder.embed_texts(["a cat"]).shape == (1, 33)
    assert model.save_pretrained("saved")[0].exists()


def test_a_damaged_image_processor_is_told(pair_folder, tmp_path):
    folder = shutil.copytree(pair_folder, tmp_path / "m")
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json: not valid JSON"):
        AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensors_keep_their_type(dtype, tmp_path):
    transformers_vision_model(**TOY).to(dtype).save_pretrained(tmp_path / "source")
    SiglipVisionModel.from_pretrained(tmp_path / "source").save_pretrained(tmp_path / "saved")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("source", "saved"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.dtype == after[name].dtype
        assert value.tobytes() == after[name].tobytes()


def test_a_model_of_another_layout_is_saved_in_that_of_transformers(pair_model, pair_folder, tmp_path):
    state = {
        name: value.numpy() for name, value in pair_model.state_dict().items() if "position_ids" not in name
    }
    (tmp_path / "timm").mkdir()
    tensors = timm_tensors(part(state, "vision_model."))
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, tmp_path / "timm/model.safetensors")
    (tmp_path / "timm/config.json").write_text(json.dumps({"architecture": "x", "num_heads": 3, **_HEADS}))
    SiglipVisionModel.from_pretrained(tmp_path / "timm").save_pretrained(tmp_path / "saved")
    _same_tensors(_opened("SiglipVisionModel", tmp_path / "saved"), pair_model.vision_model)


_HEADS = {"vision_config": {"num_attention_heads": 3}}


def test_what_is_not_written_is_told_and_nothing_stays(pair_folder, tmp_path):
    source = shutil.copytree(pair_folder, tmp_path / "source")
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    model = SiglipModel.from_pretrained(source)
    with pytest.raises(ConfigError, match="the model was loaded from here"):
        model.save_pretrained(source)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(ConfigError, match="the model was loaded from here"):
        model.vision_model.save_pretrained(tmp_path / "link")
    assert {file.name: file.read_bytes() for file in source.iterdir()} == before
    for option, value in {"push_to_hub": True, "safe_serialization": False, "max_shard_size": "1MB"}.items():
        with pytest.raises(ConfigError, match=option):
            model.save_pretrained(tmp_path / "saved", **{option: value})
    with pytest.raises(ConfigError, match="no option 'push_to_hup'; do you mean 'push_to_hub'"):
        model.save_pretrained(tmp_path / "saved", push_to_hup=False)
    for folder in (5, None, ""):
        with pytest.raises(ConfigError, match=f"save_directory is {folder!r}"):
            model.save_pretrained(folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"was quantised as it was loaded; .* numpy-siglip quantize"):
        SiglipModel.from_pretrained(source, dtype="int8").save_pretrained(tmp_path / "saved")
    quantize_model(source, tmp_path / "int8")
    with pytest.raises(CheckpointError, match="is quantised, which transformers cannot read"):
        SiglipModel.from_pretrained(tmp_path / "int8").save_pretrained(tmp_path / "saved")
    by_hand = SiglipVisionModel(
        model.vision_model.config, model.vision_model._weights, model.vision_model.ops
    )
    with pytest.raises(ConfigError, match="made of weights by hand"):
        by_hand.save_pretrained(tmp_path / "saved")
    shutil.rmtree(source)
    with pytest.raises(CheckpointError, match="source"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "config",
    [
        SiglipVisionConfig(image_size=512, hidden_act="gelu"),
        SiglipTextConfig(vocab_size=1000, eos_token_id=(1, 2)),
        SiglipConfig(vision_config=TOY, text_config=TOY_TEXT, id2label={0: "cat", 1: "dog", 2: "a bird"}),
        Siglip2VisionConfig(num_patches=1024),
        Siglip2TextConfig(projection_size=1152),
        Siglip2Config(vision_config=NAFLEX_TOY),
    ],
)
def test_configurations_open_in_transformers_and_here(config, tmp_path):
    (file,) = config.save_pretrained(tmp_path / "saved")
    assert file.name == "config.json"
    assert type(config).from_pretrained(tmp_path / "saved") == config
    assert AutoConfig.from_pretrained(tmp_path / "saved") == config
    theirs = getattr(transformers, type(config).__name__).from_pretrained(tmp_path / "saved")
    assert type(transformers.AutoConfig.from_pretrained(tmp_path / "saved")) is type(theirs)
    for name, value in config.to_dict().items():
        expected = getattr(theirs, name)
        if isinstance(value, dict) and name.endswith("_config"):
            assert {field: getattr(expected, field) for field in value} == value
        else:
            assert expected == value, name


@pytest.mark.parametrize("naflex", [False, True])
def test_image_processors_open_in_transformers_and_here(naflex, tmp_path, photos):
    if naflex:
        processor, kind = (
            Siglip2ImageProcessor(max_num_patches=30, image_mean=0.4),
            "Siglip2ImageProcessorPil",
        )
    else:
        processor, kind = (
            SiglipImageProcessor(size=48, resample=2, image_std=(0.2, 0.3, 0.4)),
            "SiglipImageProcessorPil",
        )
    processor.save_pretrained(tmp_path / "saved")
    assert type(processor).from_pretrained(tmp_path / "saved") == processor
    assert AutoImageProcessor.from_pretrained(tmp_path / "saved") == processor
    theirs = getattr(transformers, kind).from_pretrained(tmp_path / "saved")
    from PIL import Image

    opened = Image.open(photos[0]).convert("RGB")
    np.testing.assert_array_equal(
        theirs(opened, return_tensors="np")["pixel_values"], processor(opened).pixel_values
    )


def test_an_image_processor_is_not_saved_where_another_would_be_read(pair_folder, tmp_path):
    processor = SiglipProcessor.from_pretrained(pair_folder)
    processor.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"processor_config\.json: holds an image processor"):
        SiglipImageProcessor(size=99).save_pretrained(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_of_two_image_processors_transformers_choice_is_taken(pair_folder, tmp_path):
    SiglipProcessor.from_pretrained(pair_folder).save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "size": {"height": 50, "width": 50}}))
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    assert SiglipImageProcessor.from_pretrained(tmp_path).size["height"] == theirs.size["height"] == 44


@pytest.mark.parametrize("naflex", [False, True])
def test_processors_open_in_transformers_and_here(naflex, pair_folder, naflex_pair_folder, tmp_path, photos):
    source = naflex_pair_folder if naflex else pair_folder
    processor = AutoProcessor.from_pretrained(source)
    files = processor.save_pretrained(tmp_path / "saved")
    vocabulary = "tokenizer.json" if naflex else "spiece.model"
    names = {"preprocessor_config.json", "processor_config.json", "tokenizer_config.json", vocabulary}
    assert {file.name for file in files} == {file.name for file in (tmp_path / "saved").iterdir()} == names
    again = AutoProcessor.from_pretrained(tmp_path / "saved")  # without a model, and its length is kept
    assert type(again) is type(processor)
    theirs = transformers.AutoProcessor.from_pretrained(tmp_path / "saved")
    assert type(theirs).__name__ == type(processor).__name__
    options = {"max_num_patches": 20, "patch_size": 11} if naflex else {}
    from PIL import Image

    expected = theirs(
        images=[Image.open(photo).convert("RGB") for photo in photos],
        text=TEXTS,
        padding="max_length",
        max_length=16,
        truncation=True,
        return_tensors="np",
        **options,
    )
    inputs = again(images=photos, text=TEXTS)
    assert set(inputs) == set(expected) == set(again.model_input_names)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    model = AutoModel.from_pretrained(source)
    model.save_pretrained(tmp_path / "saved")  # beside it, as programs do
    assert_close(
        AutoModel.from_pretrained(tmp_path / "saved")(**inputs).logits_per_image,
        model(**inputs).logits_per_image,
        relative=1e-6,
    )
    again.save_pretrained(tmp_path / "saved")  # over its own files
    assert AutoProcessor.from_pretrained(tmp_path / "saved").tokenizer.context_length == 16


def test_a_tokenizer_keeps_its_length_and_its_settings(pair_folder, tmp_path):
    tokenizer = SiglipTokenizer.from_pretrained(pair_folder, context_length=9)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")(TEXTS).input_ids.shape == (3, 9)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs.model_max_length == 9
    assert (
        theirs(TEXTS, padding="max_length", truncation=True)["input_ids"]
        == tokenizer(TEXTS).input_ids.tolist()
    )


def test_a_converted_open_clip_masks_nothing_in_transformers(pair_folder, tmp_path):
    """open_clip never does; transformers' tokenizers do where no file says otherwise."""
    source = shutil.copytree(pair_folder, tmp_path / "source")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    del settings["model_input_names"]
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    (source / "open_clip_config.json").write_text("{}")
    (source / "config.json").unlink()
    assert SiglipTokenizer.from_pretrained(source).model_input_names == ["input_ids"]
    SiglipTokenizer.from_pretrained(source).save_pretrained(tmp_path / "saved")
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "saved").model_input_names == ["input_ids"]


@pytest.mark.parametrize("naflex", [False, True])
def test_tokens_and_texts_equal_transformers(naflex, pair_folder, naflex_pair_folder):
    folder = naflex_pair_folder if naflex else pair_folder
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    for name in ("bos", "eos", "unk", "pad", "mask"):
        assert getattr(ours, f"{name}_token") == getattr(theirs, f"{name}_token", None), name
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id", None), name
    for name in (
        "all_special_tokens",
        "all_special_ids",
        "special_tokens_map",
        "padding_side",
        "model_input_names",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.model_max_length == 16
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(ours), size=size).tolist() for size in (1, 2, 5, 40, 40, 40)]
    for ids in (*ours(TEXTS).input_ids.tolist(), *drawn, []):
        for skip in (False, True):
            expected = theirs.decode(ids, skip_special_tokens=skip)
            assert ours.decode(ids, skip_special_tokens=skip) == expected, ids
            assert ours.convert_ids_to_tokens(ids, skip) == theirs.convert_ids_to_tokens(ids, skip), ids
        tokens = ours.convert_ids_to_tokens(ids)
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    batch = ours(TEXTS).input_ids
    assert (
        ours.batch_decode(batch)
        == theirs.batch_decode(batch)
        == ours.decode(batch)
        == ours.decode(batch.tolist())
    )
    assert ours.decode(5) == theirs.decode(5)
    assert ours.decode(ours(TEXTS)) == ours.decode(batch)
    assert ours.convert_ids_to_tokens(5) == theirs.convert_ids_to_tokens(5)
    assert ours.convert_tokens_to_ids("no such token") == theirs.convert_tokens_to_ids("no such token")
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.batch_decode(batch, skip_special_tokens=True) == theirs.batch_decode(
        batch, skip_special_tokens=True
    )
    assert processor.decode(batch[0]) == ours.decode(batch[0])


def test_what_is_no_token_is_refused(pair_folder):
    tokenizer = SiglipTokenizer.from_pretrained(pair_folder)
    for ids, message in (
        ([76], "token_ids holds 76; there are tokens 0 to 75"),
        ([-1], "token_ids holds -1"),
        ([0.5], "it must hold numbers of tokens"),
        ("a cat", "it must hold numbers of tokens"),
        ([[1], [1, 99]], "token_ids holds 99"),
        (None, "it must hold numbers of tokens"),
        ({"pixel_values": [1]}, "it must hold input_ids"),
    ):
        with pytest.raises(TextError, match=message):
            tokenizer.decode(ids)
    with pytest.raises(TextError, match="ids has shape"):
        tokenizer.convert_ids_to_tokens([[1]])
    for tokens in (5, [5], b"a", None):
        with pytest.raises(TextError, match="must be a"):
            tokenizer.convert_tokens_to_ids(tokens)
    with pytest.raises(ConfigError, match="clean_up_tokenization_spaces"):
        tokenizer.decode([5], clean_up_tokenization_spaces=True)
    with pytest.raises(ConfigError, match="skip_special_tokens is 'no'"):
        tokenizer.decode([5], skip_special_tokens="no")


@pytest.mark.parametrize("naflex", [False, True])
def test_pickles_need_no_folder(naflex, pair_folder, naflex_pair_folder, gone, photos):
    folder = gone(naflex_pair_folder if naflex else pair_folder)
    objects = {
        "embedder": Embedder.from_pretrained(folder, threads=1),
        "processor": AutoProcessor.from_pretrained(folder),
        "tokenizer": AutoTokenizer.from_pretrained(folder),
        "images": AutoImageProcessor.from_pretrained(folder),
        "model": AutoModel.from_pretrained(folder, threads=1),
        "config": AutoConfig.from_pretrained(folder),
    }
    inputs = objects["processor"](images=photos, text=TEXTS)
    expected = {
        "images": objects["embedder"].embed_images(photos),
        "labels": objects["embedder"].classify(photos, TEXTS, prompt="{}"),
        "logits": objects["model"](**inputs).logits_per_image,
    }
    kept = {
        name: pickle.dumps(Embedder.from_pretrained(folder) if name == "embedder" else one)
        for name, one in objects.items()
    }
    shutil.rmtree(folder)
    again = {name: pickle.loads(content) for name, content in kept.items()}
    assert again["embedder"].embed_images(photos).tobytes() == expected["images"].tobytes()
    assert again["embedder"].classify(photos, TEXTS, prompt="{}").tobytes() == expected["labels"].tobytes()
    for name, array in again["processor"](images=photos, text=TEXTS).items():
        np.testing.assert_array_equal(array, inputs[name])
    assert again["model"](**inputs).logits_per_image.tobytes() == expected["logits"].tobytes()
    assert again["tokenizer"](TEXTS).input_ids.tolist() == inputs["input_ids"].tolist()
    assert again["tokenizer"].decode(inputs["input_ids"]) == objects["tokenizer"].decode(inputs["input_ids"])
    assert again["images"] == objects["images"]
    assert again["config"] == objects["config"]
    again["processor"].save_pretrained(folder)  # which is written from memory
    assert (
        AutoProcessor.from_pretrained(folder)(text=TEXTS).input_ids.tolist() == inputs["input_ids"].tolist()
    )


def test_a_pickle_of_images_alone_leaves_texts_out(pair_folder, tmp_path, photos):
    whole = Embedder.from_pretrained(pair_folder)
    alone = Embedder(whole.model, whole.processor)
    assert len(pickle.dumps(alone)) < len(pickle.dumps(whole))
    again = pickle.loads(pickle.dumps(alone))
    assert again.embed_images(photos).tobytes() == whole.embed_images(photos).tobytes()
