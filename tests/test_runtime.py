"""Threads, forks and other processes: it works, or says why not, and never aborts the process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.embedding_process import START, output_of, toy_images

from numpy_siglip import Embedder, SiglipModel, SiglipProcessor, SiglipVisionModel
from numpy_siglip.kernels.machine import threads as threads_module
from numpy_siglip.kernels.machine.runtime import Runtime
from numpy_siglip.kernels.machine.threads import Team, available_threads

# ---------------------------------------------------------------------------------- threads and forks


def test_eight_threads_call_one_model_at_once(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder, threads=2)
    batches = [toy_images(1 + i % 3) for i in range(64)]
    expected = [model(batch).pooler_output.copy() for batch in batches[:3]]
    with ThreadPoolExecutor(8) as pool:
        for i, output in enumerate(pool.map(model, batches)):
            np.testing.assert_array_equal(output.pooler_output, expected[i % 3])


def test_first_calls_at_once(toy_folder, tmp_path):
    """Eight threads that all find nothing compiled yet."""
    code = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(embed, range(16)))))
"""
    assert output_of(code, toy_folder, environment={"NUMBA_CACHE_DIR": str(tmp_path)}) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of POSIX systems")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_calls_after_a_fork(toy_folder):
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
expected = embed()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os._exit(0 if embed() == expected and embed() == expected else 1)
    children.append(child)
assert embed() == expected
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""
    assert output_of(code, toy_folder) == "[0, 0, 0]"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, toy_folder, tmp_path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} does not exist on this system")
    script = tmp_path / "script.py"  # spawned processes import the main module
    script.write_text(
        START
        + f"""
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
if __name__ == "__main__":
    expected = embed()
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(set(pool.map(embed, range(4))) == {{expected}})
"""
    )
    result = subprocess.run(
        [sys.executable, script, toy_folder], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "True"


def test_models_can_be_sent_to_other_processes(pair_folder, photos):
    """As multiprocessing does with arguments; the copy gives the same bits."""
    embedder = Embedder.from_pretrained(pair_folder, threads=1)
    images, texts = embedder.embed_images(photos), embedder.embed_texts(["a cat"])
    model, processor = (kind.from_pretrained(pair_folder) for kind in (SiglipModel, SiglipProcessor))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(embedder.embed_images, (photos,)), images)
        np.testing.assert_array_equal(pool.apply(embedder.embed_texts, (["a cat"],)), texts)
        inputs = pool.apply(processor, (photos, ["a cat"]))
        output = pool.apply(model, kwds=dict(inputs))
    np.testing.assert_array_equal(output.image_embeds, images)
    np.testing.assert_array_equal(output.text_embeds, texts)


def test_calls_inside_another_parallel_region_of_numba(toy_folder):
    code = """
import numba
@numba.njit(parallel=True)
def region(out):
    for i in numba.prange(out.size):
        with numba.objmode(same="int64"):
            same = int(embed() == expected)
        out[i] = same
expected = embed()
out = np.zeros(8, np.int64)
region(out)
print(out.sum())
"""
    assert output_of(code, toy_folder) == "8"


def test_threads_end_with_their_model(toy_folder):
    def helpers() -> int:
        return sum(thread.name == "numpy-siglip" for thread in threading.enumerate())

    gc.collect()
    before = helpers()
    for _ in range(5):
        model = SiglipVisionModel.from_pretrained(toy_folder, threads=3)
        model(toy_images())
        assert helpers() >= before + 2
        del model
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "numpy-siglip" and helpers() > before:
            thread.join(timeout=1)
    assert helpers() <= before


def test_a_helper_that_was_stopped_anywhere_does_not_keep_a_process_from_ending(toy_folder):
    """When Python ends, it stops such threads where they are, and locks that they hold stay shut."""
    code = """
embed()
import threading
for helper in model.ops.linear.args[0].team._helpers:
    holder = threading.Thread(target=helper._door.acquire)
    holder.start()
    holder.join()
print("done")
"""
    assert output_of(code, toy_folder) == "done"


def test_a_team_may_be_collected_by_its_own_helper():
    """Garbage is collected wherever Python pleases, also while a helper decides whether to sleep."""
    team = Team(2)
    team.run(lambda counters, thread: None)
    (helper,) = team._helpers
    with helper._door:
        team.__del__()
    assert helper.job is threads_module._END


def test_memory_does_not_grow(toy_folder):
    """200 calls of changing batches; what the process holds after 50 it holds after 200."""
    code = """
import resource
def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
sizes = [1, 2, 3, 5, 8]
batches = {n: np.random.default_rng(n).uniform(-1, 1, (n, 3, size, size)).astype(np.float32) for n in sizes}
for i in range(200):
    model(batches[sizes[i % 5]], output_attentions=i % 2 == 0)
    if i == 50:
        before = held()
print(held() - before < 2_000_000, held() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is read from /proc")
    assert output_of(code, toy_folder).startswith("True")


def test_results_that_are_kept_are_not_written_over(toy_folder):
    model = SiglipVisionModel.from_pretrained(toy_folder)
    first = model(toy_images(), output_hidden_states=True, output_attentions=True)
    before = [array.copy() for array in (*first.hidden_states, *first.attentions, first.pooler_output)]
    for count in (2, 1, 3, 2):
        model(toy_images(count) * 0.5, output_hidden_states=True, output_attentions=True)
    for array, copy in zip(
        (*first.hidden_states, *first.attentions, first.pooler_output), before, strict=True
    ):
        np.testing.assert_array_equal(array, copy)


# --------------------------------------------------------------------------------- number of threads


def test_the_number_of_threads_follows_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setattr(threads_module, "_quota", list)
    assert available_threads() == 6
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    assert available_threads() == 4
    monkeypatch.setattr(threads_module, "_quota", lambda: [3])
    assert available_threads() == 3
    monkeypatch.setenv("NUMBA_NUM_THREADS", "nonsense")
    assert available_threads() == 3


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, [2]),
        ({"cpu.max": "max 100000"}, []),
        ({"cpu.max": "50000 100000"}, [1]),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, [4]),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ({"cpu.max": "nonsense"}, []),
        ({}, []),
    ],
)
def test_the_quota_of_a_container_is_read(files, expected, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(threads_module, "_CONTROL_GROUPS", tmp_path)
    assert threads_module._quota() == expected


def test_numba_num_threads_is_respected(toy_folder):
    code = "print(model.ops.threads, SiglipVisionModel.from_pretrained(sys.argv[1]).ops.threads)"
    assert output_of(code, toy_folder, environment={"NUMBA_NUM_THREADS": "1"}) == "2 1"


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_impossible_numbers_of_threads_are_refused(threads, toy_folder):
    with pytest.raises(ValueError, match=r"threads is .*positive integer"):
        SiglipVisionModel.from_pretrained(toy_folder, threads=threads)
    with pytest.raises(ValueError, match="threads is"):
        Runtime(threads)


def test_threads_of_the_numpy_backend_are_those_of_blas(toy_folder):
    with pytest.raises(ValueError, match="OPENBLAS_NUM_THREADS"):
        SiglipVisionModel.from_pretrained(toy_folder, backend="numpy", threads=2)


def test_a_team_that_is_busy_lets_the_caller_work_alone():
    team = Team(2)
    calls = []

    def outer(counters, thread):
        team.run(lambda counters, thread: calls.append(thread))

    team.run(outer)
    assert calls[0] == 0
