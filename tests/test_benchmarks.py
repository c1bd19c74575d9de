"""The benchmarks measure what they say, and tell right from wrong."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import accuracy
import models
import numpy as np
import pytest
import workloads
from helpers.repository import REPOSITORY

from contestants.field import FIELD, start
from contestants.random_checkpoint import TOY, random_pixels, write_random_checkpoint
from contestants.runners import ONNX_FILE, RUNNERS
from contestants.worker import pixels_file
from measuring import measurement
from measuring.ratios import median_ratio, median_ratio_to_best, relative_difference
from measuring.result_files import newest_results
from measuring.worker_process import ContestantError, run_script
from numpy_siglip import SiglipVisionModel

EXPORT = REPOSITORY / "benchmarks" / "contestants" / "export_onnx.py"


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory) -> Path:
    """A random toy checkpoint with pixel values for one and two images."""
    folder = tmp_path_factory.mktemp("random")
    write_random_checkpoint(folder, TOY)
    for batch in (1, 2):
        np.save(pixels_file(folder, batch), random_pixels(TOY, batch))
    return folder


def _speed(names, folder, **changes):
    options = {"batch": 2, "threads": 1, "flops": 10**6, "rounds": 2, "budget": 60.0, "report": print}
    return measurement.measure_speed(FIELD, names, folder, **{**options, **changes})


# ------------------------------------------------------------------------------ checkpoints and workers


def test_random_checkpoints_are_sound_and_seeded(random_folder, tmp_path):
    output = SiglipVisionModel.from_pretrained(random_folder, backend="numpy")(
        random_pixels(TOY, 2), output_attentions=True
    )
    assert np.isfinite(output.pooler_output).all()
    assert 0.1 < output.pooler_output.std() < 100
    assert not np.allclose(output.pooler_output[0], output.pooler_output[1], rtol=0.01)
    strongest = output.attentions[0].max(axis=-1).mean()
    assert strongest > 3 / TOY.num_patches  # far from uniform
    for seed in (0, 1):
        write_random_checkpoint(tmp_path / str(seed), TOY, seed)
    weights = [
        (folder / "model.safetensors").read_bytes()
        for folder in (random_folder, tmp_path / "0", tmp_path / "1")
    ]
    assert weights[0] == weights[1] != weights[2]


def test_contestants_agree_and_are_timed(random_folder, capsys):
    results = _speed(["numpy_siglip", "numpy", "torch"], random_folder)
    assert results["failed"] == {}
    assert results["reference"] == "torch"
    assert results["calls"] == 5
    assert list(results["contestants"]) == ["numpy_siglip", "numpy", "torch"]
    for name, row in results["contestants"].items():
        assert row["correct"], name
        assert row["difference"] < 1e-5
        assert len(row["seconds"]) == 2
        assert 0 < row["minimum_seconds"] <= row["median_seconds"] < 1
        assert row["images_per_second"] == pytest.approx(1 / row["median_seconds"])
        assert row["gflops_per_second"] == pytest.approx(1e-3 / row["median_seconds"])
        assert row["peak_memory"] > 10 * 2**20
        assert (row["ratio"] is None) == (name == "numpy_siglip")
    torch = results["contestants"]["torch"]
    assert results["ratio_to_best_peer"] == torch["ratio"]  # the only peer
    json.dumps(results)


@pytest.mark.bench
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_that_read_onnx_agree(name, random_folder):
    if not (random_folder / ONNX_FILE).exists():
        run_script(EXPORT, str(random_folder), check=True)
    for batch in (1, 2):
        results = _speed(["numpy", name], random_folder, batch=batch, rounds=1)
        assert results["failed"] == {}
        assert results["contestants"][name]["correct"]


def test_a_wrong_output_is_reported(random_folder, monkeypatch, capsys):
    monkeypatch.setattr(measurement, "TOLERANCE", -1.0)  # nothing is good enough
    row = _speed(["numpy"], random_folder, rounds=1)["contestants"]["numpy"]
    assert row["correct"] is False
    assert "numpy is WRONG: its output differs from that of numpy by 0.0e+00" in capsys.readouterr().out


def test_a_contestant_that_dies_is_left_out_with_its_last_words(tmp_path, random_folder, capsys):
    results = measurement.measure_start_up(FIELD, ["numpy"], tmp_path / "nothing", 1, 1, print)
    assert results["contestants"] == {}
    assert "exit status 1" in results["failed"]["numpy"]
    assert "nothing" in results["failed"]["numpy"]
    assert "numpy failed to start: exit status 1" in capsys.readouterr().out
    with (
        start("numpy", random_folder, 1, 1, timeout=0.001) as silent,
        pytest.raises(ContestantError, match="no answer in 0 s"),
    ):
        silent.loaded()


def test_start_up_has_its_parts(random_folder):
    results = measurement.measure_start_up(FIELD, ["numpy"], random_folder, 1, 2, print)
    (row,) = results["contestants"].values()
    parts = row["import_seconds"] + row["load_seconds"] + row["first_embedding_seconds"]
    assert 0 < parts < row["start_up_seconds"] == pytest.approx(np.median(row["seconds"]))
    assert len(row["seconds"]) == 2
    assert row["peak_memory"] > 10 * 2**20


# ------------------------------------------------------------------------------------------- arithmetic


def test_ratios_are_taken_within_rounds():
    ours, torch, openvino = [1.0, 2.0, 4.0, 1.0, 9.0], [2.0, 4.0, 8.0, 1.0, 9.0], [1.0, 4.0, 2.0, 4.0, 3.0]
    assert median_ratio(ours, torch) == 0.5  # of 0.5, 0.5, 0.5, 1, 1
    assert median_ratio(ours, openvino) == 1.0  # of 1, 0.5, 2, 0.25, 3, where medians would say 2 / 3
    assert median_ratio_to_best(ours, {"torch": torch, "openvino": openvino}) == 1.0  # 1, .5, 2, 1, 3
    assert median_ratio_to_best(ours, {}) is None
    with pytest.raises(ValueError, match="shorter"):
        median_ratio(ours, torch[:2])


def test_our_own_backends_are_no_peers():
    times = {"numpy_siglip": [2.0], "numpy": [1.0], "torch": [4.0], "onnxruntime": [8.0]}
    results = measurement._evaluate(FIELD, times, 10**9)
    assert results["ratio_to_best_peer"] == 0.5
    assert results["contestants"]["numpy"]["ratio"] == 2.0
    assert results["contestants"]["torch"]["gflops_per_second"] == 0.25


@pytest.mark.parametrize("found", [np.zeros(2), np.full(2, np.nan), np.full(2, np.inf), np.ones(3)])
def test_nothing_that_is_no_result_agrees(found):
    assert not relative_difference(found, np.ones(2)) < 0.5
    assert not relative_difference(np.zeros(2), np.zeros(2)) < 0.5


def test_each_contestant_begins_a_round():
    rounds = [measurement._order(["a", "b", "c"], number) for number in range(4)]
    assert rounds == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


# ------------------------------------------------------------------------------------------ accuracy


def test_accuracy_counts_ties_and_nan_as_wrong():
    similarities = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.1], [np.nan] * 3])
    assert accuracy.shares(similarities, np.array([0, 1, 2])) == {"top1": pytest.approx(1 / 3), "top5": 1.0}
    wide = np.array([[0.1, 0.6, 0.5, 0.4, 0.3, 0.2]])
    assert accuracy.shares(wide, np.array([0])) == {"top1": 0.0, "top5": 0.0}
    assert accuracy.shares(np.full((1, 9), np.nan), np.array([0])) == {"top1": 0.0, "top5": 0.0}


def test_accuracy_by_group_and_of_retrieval():
    sample = {"names": ["dog", "cat"], "groups": ["animals", "pets"], "labels": ["cat", "cow", "dog"]}
    texts = np.eye(3)
    images = np.array([[0.0, 0.0, 1.0], [0.5, 0.6, 0.4]])  # a dog, and a cat more like a cow
    judged = accuracy.judge(images, texts, sample)
    assert (judged["top1"], judged["top5"]) == (0.5, 1.0)
    assert judged["groups"]["animals"] == {"top1": 1.0, "top5": 1.0, "pictures": 1}
    assert judged["groups"]["pets"]["top1"] == 0.0
    assert judged["retrieval"]["top1"] == 1.0  # of the two pictures, each name has its own


@pytest.mark.slow
def test_accuracy_is_what_is_published(tmp_path):
    """Every contestant names the held-out drawings as well as the newest results say."""
    assert accuracy.main(["--rounds", "1", "--output", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    measured = json.loads(file.read_text())
    published = newest_results("accuracy")[0]
    assert published["pictures"] == measured["pictures"] == 600
    rows = {row["name"]: row for row in published["contestants"]}
    for row in measured["contestants"]:
        for share in ("top1", "top5"):
            # A picture or two whose best names are as good as equal may go either way elsewhere.
            assert row[share] == pytest.approx(rows[row["name"]][share], abs=2.5 / 600), row["name"]
        assert row["difference"] < (0.1 if "int8" in row["name"] else 1e-5)
        assert row["top1"] > 0.5
        assert row["top5"] > 0.75
    exact, rounded = (next(row for row in measured["contestants"] if row["name"] == name)
                      for name in ("numpy_siglip", "numpy_siglip-int8"))  # fmt: skip
    assert rounded["top1"] > exact["top1"] - 0.005


# ------------------------------------------------------------------------------------------ the command


def test_the_command_at_toy_size_without_a_peer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RUNNERS["openvino"], "packages", ("openvino_of_tomorrow",))
    monkeypatch.setattr(RUNNERS["torch"], "packages", ("torch_of_tomorrow",))
    cold = {"start_up_seconds": 20.0}
    monkeypatch.setattr(models, "start_once", lambda *_: cold)  # compiling everything takes too long here
    options = ["--models", "toy", "--peers", "openvino,numpy", "--batches", "1,2", "--threads", "1"]
    status = models.main([*options, "--rounds", "1", "--starts", "1", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "OpenVINO is left out: pip install openvino_of_tomorrow" in printed
    assert "| toy | 2 | " in printed
    files = sorted(tmp_path.iterdir())
    assert [file.suffix for file in files] == [".json", ".png"]
    assert "-models-" in files[0].name
    assert files[1].read_bytes().startswith(b"\x89PNG")
    results = json.loads(files[0].read_text())
    assert results["complete"] is True
    assert results["missing"] == {"openvino": ["openvino_of_tomorrow"]}
    assert [(case["model"], case["batch"]) for case in results["speed"]] == [("toy", 1), ("toy", 2)]
    assert results["speed"][0]["reference"] == "numpy"
    assert str(Path.home()) not in files[0].read_text()
    assert str(tmp_path) not in files[0].read_text()


@pytest.mark.slow
def test_folders_and_several_processes_at_toy_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workloads, "PEERS", ("numpy_siglip",))
    monkeypatch.setattr(workloads, "READERS", {"numpy_siglip": workloads.READERS["numpy_siglip"]})
    options = ["--model", "toy", "--rounds", "1", "--seconds", "0.1", "--fewer", "16", "--threads", "2"]
    status = workloads.main([*options, "--skip-compiling", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    (file,) = tmp_path.iterdir()
    results = json.loads(file.read_text())
    assert [case["pictures"] for case in results["folders"]] == [4, 2, 1]
    assert all(case["contestants"]["numpy_siglip"]["ratio_to_parts"] > 0 for case in results["folders"])
    assert [(case["processes"], case["threads"]) for case in results["contention"]] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (4, 2),
    ]
    assert all(case["images_per_second"]["numpy_siglip"] > 0 for case in results["contention"])
    assert str(tmp_path) not in file.read_text()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--models", "huge"], "unknown model 'huge'"),
        (["--models", "google/paligemma-3b-pt-224"], "unknown model"),
        (["--peers", "torch,caffe"], "unknown peer 'caffe'"),
        (["--batches", "0"], "'0' is not a positive whole number"),
    ],
)
def test_bad_options_are_named(option, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        models.main(option)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "contestants.operation_worker",
        "contestants.random_checkpoint",
        "contestants.workload_worker",
        "measuring.machine",
        "measuring.ratios",
        "measuring.result_files",
        "rounded_attention",
    ],
)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert doctest.testmod(importlib.import_module(name)).failed == 0
