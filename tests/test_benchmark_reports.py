"""What the benchmarks found is shown as it was found, and pages show the newest."""

from __future__ import annotations

import copy

import pytest
import report

from contestants.runners import RUNNERS, Ours
from measuring.result_files import newest_results, write_results
from reporting.contestants import OURS, TITLES
from reporting.pages import PAGES, fill_blocks
from reporting.pages import TABLES as ALL_TABLES
from reporting.summary import summary
from reporting.tables import models_tables
from reporting.workload_tables import workloads_tables

RESULTS = {
    "benchmark": "models",
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab",
    "modified": False,
    "machine": {"processor": "Abacus 3000", "cores": 2, "memory": 16 * 2**30, "system": "Linux 6.1"},
    "versions": {"python": "3.12.1", "numpy": "2.4.0", "torch": "2.13.0"},
    "quick": False,
    "complete": True,
    "threads": 2,
    "cold_cache": {"model": "base", "start_up_seconds": 21.4},
    "start_up": [
        {
            "model": "base",
            "contestants": {
                "torch": {
                    "start_up_seconds": 3.0,
                    "import_seconds": 2.0,
                    "load_seconds": 0.5,
                    "first_embedding_seconds": 0.25,
                    "peak_memory": 700 * 2**20,
                }
            },
            "failed": {},
        }
    ],
    "speed": [
        {
            "model": "base",
            "batch": batch,
            "ratio_to_best_peer": 0.75,
            "contestants": {
                "numpy_siglip": {
                    "median_seconds": 0.123456,
                    "ratio": None,
                    "correct": True,
                    "peak_memory": 400 * 2**20,
                },
                "torch": {"median_seconds": 0.2, "ratio": 0.75, "correct": True, "peak_memory": 750 * 2**20},
                "onnxruntime": {
                    "median_seconds": 0.1,
                    "ratio": 1.25,
                    "correct": False,
                    "peak_memory": 500 * 2**20,
                },
            },
            "failed": {"openvino": "exit status 1"},
        }
        for batch in (1, 8)
    ],
}
TABLES = """\
Measured on 2026-01-02, commit 0123456789ab: Abacus 3000, 2 cores, 2 threads each, float32, 16 GB of memory; \
Linux 6.1, Python 3.12.1, numpy 2.4.0, torch 2.13.0.

Milliseconds for one image, median over the rounds; in brackets the time of numpy_siglip divided by theirs, \
median of the ratios within each round: below 1, numpy_siglip is faster. The best peer is whoever else was \
fastest in the round.

| model | images | numpy_siglip | torch | onnxruntime | OpenVINO | ours / best peer |
|---|--:|--:|--:|--:|--:|--:|
| base | 1 | 123.5 | 200.0 (0.75) | wrong | failed | **0.75** |
| base | 8 | 123.5 | 200.0 (0.75) | wrong | failed | **0.75** |

| model | contestant | start to first embedding | import | load | first embedding \
| peak memory, 1 image | 8 images |
|---|---|--:|--:|--:|--:|--:|--:|
| base | torch | 3.00 s | 2.00 s | 0.50 s | 0.25 s | 700 MB | 750 MB |

With an empty cache, numpy_siglip compiles first, once on a machine: 21 s to the first embedding of base."""


def test_tables():
    assert models_tables(RESULTS) == TABLES


QUANTIZED = {
    **RESULTS,
    "benchmark": "quantized",
    "model": "base-patch16-224",
    "modified": True,
    "speed": [
        {
            "batch": 1,
            "contestants": {
                "numpy_siglip": {"median_seconds": 0.12, "ratio": 0.25},
                "numpy_siglip-int8": {"median_seconds": 0.03, "ratio": 1.0},
                "numpy_siglip-balanced": {"median_seconds": 0.031, "ratio": 0.97},
                "openvino-int8": {"median_seconds": 0.04, "ratio": 0.75},
            },
        }
    ],
}
ACCURACY = {
    **RESULTS,
    "benchmark": "accuracy",
    "labels": 1106,
    "pictures": 600,
    "contestants": [
        {"name": "numpy_siglip", "top1": 0.705, "difference": 1.2e-6},
        {"name": "numpy_siglip-int8", "top1": 0.7033, "difference": 2e-2},
        {"name": "torch", "top1": 0.705, "difference": 0.0},
    ],
}
SUMMARY = """\
Milliseconds for one image of base-patch16-224, computed alone or eight at a time; in brackets the time of \
numpy_siglip divided by theirs: below 1, numpy_siglip is faster.

| numbers | images | numpy_siglip | torch | onnxruntime | OpenVINO |
|---|--:|--:|--:|--:|--:|
| float32 | 1 | 123.5 | 200.0 (0.75) | wrong |  |
| float32 | 8 | 123.5 | 200.0 (0.75) | wrong |  |
| int8 | 1 | 30.0 |  |  | 40.0 (0.75) |

Measured on Abacus 3000, 2 cores, 2 threads each: in float32 on 2026-01-02, commit 0123456789ab; in int8 on \
2026-01-02, commit 0123456789ab with changes.

Out of 1106 names, the bundled model finds the right one for 70.5% of 600 drawings in a style that it was \
not trained on (torch 70.5%, in int8 70.3%); its embeddings, of length 1, are within 1e-06 of those of \
torch."""


def _models():
    """Results of `models` that name the shape which the summary shows, and another one."""
    cases = [{**case, "model": "base-patch16-224"} for case in RESULTS["speed"]]
    return {**RESULTS, "speed": [*cases, *RESULTS["speed"]]}


def _elsewhere(results, **changes):
    return {**results, "machine": {**results["machine"], "processor": "Slide rule"}, **changes}


def test_summary():
    assert summary([_models()], [QUANTIZED], [ACCURACY]) == SUMMARY


def test_the_summary_says_what_was_measured_where():
    measured = summary([_models()], [{**QUANTIZED, "modified": False}], [ACCURACY]).split("\n")[8]
    assert measured == "Measured on Abacus 3000, 2 cores, 2 threads each: 2026-01-02, commit 0123456789ab."
    both = summary([_models(), _elsewhere(_models())], [_elsewhere(QUANTIZED), QUANTIZED], [ACCURACY])
    assert both.count("| int8 |") == 2
    first, second = both.index("Measured on Abacus 3000"), both.index("Measured on Slide rule")
    assert first < second < both.index("Out of 1106 names")


def test_what_was_not_measured_is_not_in_the_summary():
    for other in ({**QUANTIZED, "model": "so400m-patch14-384"}, _elsewhere(QUANTIZED)):
        text = summary([_models()], [other], [ACCURACY])
        assert "| int8 |" not in text
        assert "| float32 | 8 |" in text
    alone = {**ACCURACY, "contestants": [{"name": "numpy_siglip", "top1": 0.5, "difference": None}]}
    assert summary([_models()], [], [alone]).endswith("in a style that it was not trained on.")


def test_the_newest_of_each_processor_is_shown(tmp_path):
    later = {"date": "2026-03-01T00:00:00+00:00"}
    for name, results in (
        ("a", RESULTS),
        ("b", _elsewhere(RESULTS)),
        ("c", _elsewhere(RESULTS, **later)),
    ):
        write_results(tmp_path / f"{name}.json", results)
    page = fill_blocks("<!-- benchmark: models -->\n<!-- end -->", tmp_path)
    assert page.count("Measured on 2026-") == 2
    assert page.index("Measured on 2026-03-01") < page.index("Measured on 2026-01-02")


WORKLOADS = {
    **RESULTS,
    "benchmark": "workloads",
    "model": "base-patch16-224",
    "folders": [
        {
            "size": [4000, 3000],
            "pictures": 16,
            "contestants": {
                "numpy_siglip": {
                    "title": "numpy_siglip",
                    "median_seconds": 0.25,
                    "ratio_to_parts": 0.975,
                    "ratio": 1.0,
                },
                "torch": {
                    "title": "torch",
                    "median_seconds": 0.5,
                    "ratio_to_parts": None,
                    "ratio": 0.5,
                },
            },
        }
    ],
    "contention": [
        {"processes": 4, "threads": 2, "images_per_second": {"numpy_siglip": 6.0, "torch": 1.5}},
    ],
    "first_embedding": {"nothing compiled": 9.04, "a pack": 0.76},
}


def test_tables_of_workloads():
    text = workloads_tables(WORKLOADS)
    assert "| 16 of 4000 x 3000 | numpy_siglip | 4.0 | 0.97 | 1.00 |" in text
    assert "| 16 of 4000 x 3000 | torch | 2.0 |  | 0.50 |" in text
    assert "| 4 | 2 | 6.0 | 1.5 (4.00) |" in text
    assert text.endswith("9.0 s with nothing compiled, 0.8 s with a pack.")
    assert "First embedding" not in workloads_tables({**WORKLOADS, "first_embedding": {}})


def test_contestants_are_called_alike_where_they_run_and_where_they_are_shown():
    assert {name: runner.title for name, runner in RUNNERS.items()} == TITLES
    assert Ours.name == OURS == next(iter(TITLES))


def test_blocks_of_pages_show_the_newest_complete_results(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    readme, other = tmp_path / "README.md", tmp_path / "RESULTS.md"
    monkeypatch.setattr(report, "PAGES", (readme, other))
    monkeypatch.setattr(report, "fill_blocks", lambda text, page: fill_blocks(text, folder, page))
    block = "before\n<!-- benchmark: models -->\nold\n<!-- end -->\nafter\n"
    readme.write_text(block)
    other.write_text("no block")
    assert report.main(["--check"]) == 2
    assert "no complete results of models; run python benchmarks/models.py" in capsys.readouterr().err

    newer = {"date": "2026-02-01T00:00:00+00:00", "commit": None}
    for name, changes in (
        ("a", {"date": "2025-12-31T00:00:00+00:00"}),
        ("b", {}),
        ("c", {**newer, "quick": True}),
        ("d", {**newer, "complete": False}),
        ("e", {**newer, "benchmark": "operations"}),
    ):
        write_results(folder / f"{name}.json", {**copy.deepcopy(RESULTS), **changes})
    assert [results["date"] for results in newest_results("models", folder)] == [RESULTS["date"]]
    assert report.main(["--write"]) == 2
    assert "RESULTS.md has no block" in capsys.readouterr().err
    assert readme.read_text() == block  # all pages are written, or none
    other.write_text(block)
    assert report.main(["--check"]) == 1
    assert capsys.readouterr().out.count("differs from the newest results") == 2
    assert report.main(["--write"]) == 0
    for page in (readme, other):
        assert page.read_text() == f"before\n<!-- benchmark: models -->\n{TABLES}\n<!-- end -->\nafter\n"
    assert report.main(["--check"]) == 0

    readme.write_text("<!-- benchmark: weather -->\n<!-- end -->")
    assert report.main(["--check"]) == 2
    assert "README.md has a block for weather; there are those of summary, models" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_projects_pages_show_the_newest_results(page):
    text = page.read_text(encoding="utf-8")
    assert fill_blocks(text, page=page.name) == text, "run python benchmarks/report.py --write"


def test_every_benchmark_is_shown_once():
    readme, results = (page.read_text(encoding="utf-8") for page in PAGES)
    assert readme.count("<!-- benchmark: ") == readme.count("<!-- benchmark: summary -->") == 1
    for name in ALL_TABLES:
        assert results.count(f"<!-- benchmark: {name} -->") == 1


def test_the_command_prints_the_tables_of_one_file(tmp_path, capsys):
    file = tmp_path / "results.json"
    write_results(file, RESULTS)
    assert report.main([str(file)]) == 0
    assert capsys.readouterr().out == f"{TABLES}\n"
