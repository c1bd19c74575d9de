"""`numpy-siglip inspect` and `numpy-siglip validate`: what they print, and with what status they end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_runs import error_line, run
from safetensors.numpy import load_file


def test_inspect_tells_where_every_tensor_lies(toy_model, tmp_path, capsys):
    toy_model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert run("inspect", "--model", tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    parameters = dict(toy_model.named_parameters())
    assert report["parameters"] == sum(value.numel() for value in parameters.values())
    assert report["tokens"] == 16
    assert {tensor["name"] for tensor in report["tensors"]} == set(parameters)
    assert sum(cost["flops"] for cost in report["operations"].values()) == report["flops"]
    for tensor in report["tensors"]:
        with Path(tensor["file"]).open("rb") as stream:
            stream.seek(tensor["offset"])
            first = np.frombuffer(stream.read(4), np.float32)[0]
        assert first == parameters[tensor["name"]].detach().numpy().ravel()[0], tensor["name"]


def test_inspect_is_readable(toy_folder, capsys):
    assert run("inspect", "--model", toy_folder) == 0
    text = capsys.readouterr().out
    for piece in (
        "hidden_size           33",
        "tokens per image      16",
        "GFLOP",
        "head.probe",
        "1 x 1 x 33",
    ):
        assert piece in text


def test_inspect_tells_of_both_towers(pair_folder, capsys):
    assert run("inspect", "--model", pair_folder, "--json") == 0
    text = json.loads(capsys.readouterr().out)["text"]
    tensors = load_file(pair_folder / "model.safetensors")
    own = {name.removeprefix("text_model.") for name in tensors if name.startswith("text_model.")}
    assert {tensor["name"] for tensor in text["tensors"]} == own
    assert text["parameters"] == sum(tensors[f"text_model.{name}"].size for name in own)
    assert text["config"]["projection_size"] == 33
    assert run("inspect", "--model", pair_folder) == 0
    assert "padding of texts      looked at, as in training" in capsys.readouterr().out
    assert run("inspect", "--model", pair_folder) == 0
    report = capsys.readouterr().out
    assert "configuration of the text tower" in report
    assert "embeddings.token_embedding.weight" in report
    assert "logit_scale" in report.partition("tensors beside")[2]


def test_inspect_shows_a_classifier(classifier_folder, capsys):
    assert run("inspect", "--model", classifier_folder) == 0
    assert "classifier.weight" in capsys.readouterr().out.partition("tensors beside")[2]


def test_published_table(capsys):
    assert run("inspect", "--published", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert table[0]["repository"] == "google/siglip-base-patch16-224"
    assert run("inspect", "--published") == 0
    assert capsys.readouterr().out.count("\n") == len(table) + 2


def test_validate_finds_equality(toy_folder, photos, capsys):
    assert run("validate", "--model", toy_folder) == 0
    assert run("validate", photos[0], "--model", toy_folder) == 0
    text = capsys.readouterr().out
    assert text.count("equal: every stage is within 0.0001 of transformers") == 2
    assert text.count("\nencoder/layers/01/attention/weights ") == 2  # at the start of a line: a stage's row
    assert "\npixel_values" in text


def test_validate_fails_at_a_tolerance_of_nothing(toy_folder, capsys):
    assert run("validate", "--model", toy_folder, "--tolerance", 0) == 1
    assert "not equal: the first stage beyond 0 is " in capsys.readouterr().out


@pytest.mark.parametrize("tolerance", ["nan", "-1", "inf"])
def test_validate_refuses_a_tolerance_that_means_nothing(tolerance, toy_folder, capsys):
    assert run("validate", "--model", toy_folder, f"--tolerance={tolerance}") == 2
    assert "it must be a number that is not negative" in error_line(capsys)
