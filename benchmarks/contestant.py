"""The other end of `worker`: a contestant's process, as the command that measures sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from runners import RUNNERS

_WORKER = Path(__file__).parent / "worker.py"
_TIMEOUT = 900.0
"""Seconds after which an answer is given up on."""
_TAIL = 3
"""Lines of a dead worker's standard error that are reported."""


class ContestantError(Exception):
    """A contestant ended or fell silent; the message holds its last words."""


class Contestant:
    """A worker process. Use it as a context manager, so that it ends whatever happens.

    Parameters
    ----------
    name : str
        A key of ``RUNNERS``.
    folder : Path
        A checkpoint with pixel values for this batch.
    batch : int
    threads : int
    environment : dict of str to str, optional
        Further environment variables.
    timeout : float
        Seconds to wait for an answer.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        batch: int,
        threads: int,
        environment: dict[str, str] | None = None,
        timeout: float = _TIMEOUT,
    ) -> None:
        self.name = name
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), name, str(folder), str(batch), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **RUNNERS[name].environment(threads), **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the parent alone, which then ends its workers
        )

    def __enter__(self) -> Contestant:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def loaded(self) -> dict[str, float]:
        """Wait until the model is loaded: seconds of import and of loading."""
        return self._answer()

    def embed(self) -> dict[str, Any]:
        """Embed once: seconds, bytes of peak memory and the embeddings, as an array."""
        answer = self._ask({"command": "embed"})
        return {**answer, "pooler_output": np.array(answer["pooler_output"], dtype=np.float32)}

    def time(self, calls: int) -> dict[str, Any]:
        """Seconds of each of some calls, and bytes of peak memory."""
        return self._ask({"command": "time", "calls": calls})

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

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContestantError(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
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
