"""A worker that does what it is told, as the command that measures sees it.

Whoever is measured has a process of its own: threads that go on spinning after a call, memory that a library
keeps, and settings of the environment are then nobody else's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

TIMEOUT = 900.0
"""Seconds after which an answer is given up on."""
_BENCHMARKS = Path(__file__).resolve().parents[1]
_TAIL = 3
"""Lines of a dead worker's standard error that are reported."""

Self = TypeVar("Self", bound="WorkerProcess")


class ContestantError(Exception):
    """A worker ended or fell silent; the message holds its last words."""


def run_script(script: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script of one of these folders to its end; the options are those of `subprocess.run`."""
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, text=True, env={**os.environ, **_path()}, **options)


def say(line: str) -> None:
    """Print what is going on, and when."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def answer_channel() -> TextIO:
    """In a worker, standard output for answers alone: what libraries print goes to standard error then."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _path() -> dict[str, str]:
    """Where a script in a folder of benchmarks finds the other folders: they are not installed."""
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(_BENCHMARKS), *([others] if others else [])])}


class WorkerProcess:
    """A process that answers lines of JSON. Use it as a context manager, so that it ends whatever happens.

    Parameters
    ----------
    script : Path
    arguments : sequence of str
    environment : mapping of str to str
        Further environment variables.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        timeout: float = TIMEOUT,
    ) -> None:
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment, **_path()},
            start_new_session=True,  # Ctrl-C is for the parent alone, which then ends its workers
        )

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def processor_seconds(self) -> float:
        """Processor time used so far by all its threads; 0 where that cannot be told."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system

    def close(self) -> None:
        """End the process, at once."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:  # it never read its last command
                pass

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContestantError(self._last_words()) from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer."""
        assert self._process.stdout is not None
        # A process that is killed closes its output, which is what a reader waits for.
        alarm = threading.Timer(self._timeout, self._process.kill)
        begin = time.perf_counter()
        alarm.start()
        try:
            line = self._process.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            late = time.perf_counter() - begin >= self._timeout
            raise ContestantError(f"no answer in {self._timeout:.0f} s" if late else self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return " | ".join([f"exit status {status}", *lines[-_TAIL:]])
