"""Threads, forks and other processes: it works, or says why not, and never aborts the process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.embedding_process import PATIENCE, START, output_of, toy_images

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
        [sys.executable, script, toy_folder], capture_output=True, text=True, timeout=PATIENCE, check=False
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


def test_a_team_may_be_collected_by_its_own_helper():
    """Garbage is collected wherever Python pleases, also while a helper decides whether to sleep."""
    team = Team(2)
    team.run(lambda counters, thread: None)
    (helper,) = team._helpers
    team.__del__()
    assert helper.job is threads_module._END


# ------------------------------------------------------------------------------------------ interrupts


def _uses_its_helpers(team: Team) -> bool:
    """Whether every thread comes to a job, of some that follow one another."""
    for _ in range(50):
        seen: set[int] = set()

        def job(counters, thread, seen=seen):
            seen.add(thread)
            deadline = time.monotonic() + 1
            while len(seen) < 3 and time.monotonic() < deadline:
                time.sleep(0.0005)

        team.run(job)
        if seen == {0, 1, 2}:
            return True
    return False


def test_an_interrupt_between_any_two_steps_leaves_the_helpers_in_use():
    team = Team(3)
    assert _uses_its_helpers(team)
    codes = {Team.run.__code__, Team._call.__code__, threads_module._Helper.call.__code__,
             Team._start_helpers.__code__, threads_module._Call.__init__.__code__}  # fmt: skip
    interrupts, left = 0, 0
    while True:
        steps = 0

        def trace(frame, event, _, last=interrupts + 1):
            nonlocal steps
            if frame.f_code not in codes:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps += 1
                if steps == last:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            team.run(lambda counters, thread: None)
        except KeyboardInterrupt:
            interrupts += 1
        else:
            break
        finally:
            sys.settrace(None)
        # a thread that is not the interrupted one finds them free as well
        found: list[bool] = []
        user = threading.Thread(target=lambda found=found: found.append(_uses_its_helpers(team)))
        user.start()
        user.join()
        left += not found[0]
    assert interrupts > 100
    assert left == 0


def test_what_addresses_refer_to_lives_as_long_as_a_helper_is_at_work():
    team, begun, may_end = Team(2), threading.Event(), threading.Event()

    class Owner:
        pass

    owner = Owner()
    alive = weakref.ref(owner)

    def job(counters, thread):
        if thread == 0:
            assert begun.wait(10)
            raise KeyboardInterrupt  # the caller is gone, and the helper is not
        begun.set()
        assert may_end.wait(10)

    with pytest.raises(KeyboardInterrupt):
        team.run(job, keeping=owner)
    del owner
    gc.collect()
    assert alive() is not None
    may_end.set()
    team.run(lambda counters, thread: None)
    deadline = time.monotonic() + 10
    while alive() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert alive() is None


@pytest.mark.slow
def test_ten_thousand_interrupts(toy_folder):
    """Each followed by a forward pass that gives the right bits, with all helpers."""
    code = """
import signal, time
model = SiglipVisionModel.from_pretrained(sys.argv[1], threads=3)
expected, team = model(images).pooler_output.tobytes(), model.ops.linear.args[0].team
generator, interrupted = np.random.default_rng(0), 0
for _ in range(10_000):
    try:
        signal.setitimer(signal.ITIMER_REAL, float(generator.uniform(1e-6, 1e-3)))
        while True:
            model(images)
    except KeyboardInterrupt:
        interrupted += 1
    assert model(images).pooler_output.tobytes() == expected
assert len(team._helpers) == 2
print(interrupted)
"""
    start = "import signal\nsignal.signal(signal.SIGALRM, signal.default_int_handler)\n" + START
    assert output_of(code, toy_folder, start=start, timeout=1200) == "10000"


# ------------------------------------------------------------------------------------------------ forks

FORKS = """
import signal, threading, time
forks = int(sys.argv[2])
model = SiglipVisionModel.from_pretrained(sys.argv[1], threads=2)
expected, going_on = model(images).pooler_output.tobytes(), True
def load():
    while going_on:
        model(images)
others = [threading.Thread(target=load, daemon=True) for _ in range(3)]
for other in others:
    other.start()
hung = 0
for _ in range(forks):
    child = os.fork()
    if child == 0:
        os._exit(model(images).pooler_output.tobytes() != expected)
    deadline = time.monotonic() + 60
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            assert status == 0, status
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            hung += 1
            break
        time.sleep(0.001)
going_on = False
print(hung)
"""


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
@pytest.mark.parametrize("forks", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_children_that_are_forked_under_load_do_not_hang(forks, toy_folder):
    start = "import os, warnings\nwarnings.simplefilter('ignore')\n" + START
    assert output_of(FORKS, toy_folder, str(forks), start=start, timeout=1200) == "0"


def test_a_fork_waits_for_the_compiler():
    code = """
import os, threading, time
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numpy_siglip.kernels.machine.compilation import kernel
@kernel
def twice(x):
    return x + x
begun = threading.Event()
def compiling():
    with global_compiler_lock:
        begun.set()
        time.sleep(0.3)
threading.Thread(target=compiling).start()
begun.wait()
child = os.fork()
if child == 0:
    os._exit(int(twice(2.0)) != 4)
print(os.waitpid(child, 0)[1])
"""
    assert output_of(code, start="") == "0"


# ---------------------------------------------------------------------------------------- few threads


def test_where_the_system_gives_no_more_threads_fewer_do_the_work(toy_folder, monkeypatch, caplog):
    start, started = threading.Thread.start, []

    def limited(self):
        if self.name == "numpy-siglip":
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    model = SiglipVisionModel.from_pretrained(toy_folder, threads=1000)
    expected = SiglipVisionModel.from_pretrained(toy_folder, threads=1)(toy_images()).pooler_output
    np.testing.assert_array_equal(model(toy_images()).pooler_output, expected)
    np.testing.assert_array_equal(model(toy_images()).pooler_output, expected)
    assert caplog.messages == [
        "3 of 1000 threads could be started (can't start new thread); the work goes on with them"
    ]
    assert model.ops.linear.args[0].threads == 3


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
