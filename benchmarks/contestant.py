"""The other end of `worker`: a contestant's process, as the command that measures sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from quantized_runners import ALL_RUNNERS as RUNNERS
from worker_process import TIMEOUT, ContestantError, WorkerProcess

__all__ = ["Contestant", "ContestantError"]

_WORKER = Path(__file__).parent / "worker.py"


class Contestant(WorkerProcess):
    """A runner in a process of its own.

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
        timeout: float = TIMEOUT,
    ) -> None:
        self.name = name
        super().__init__(
            _WORKER,
            [name, str(folder), str(batch), str(threads)],
            {**RUNNERS[name].environment(threads), **(environment or {})},
            timeout,
        )

    def loaded(self) -> dict[str, float]:
        """Wait until the model is loaded: seconds of import and of loading."""
        return self.answer()

    def embed(self) -> dict[str, Any]:
        """Embed once: seconds, bytes of peak memory and the embeddings, as an array."""
        answer = self.ask({"command": "embed"})
        return {**answer, "pooler_output": np.array(answer["pooler_output"], dtype=np.float32)}

    def time(self, calls: int) -> dict[str, Any]:
        """Seconds of each of some calls, and bytes of peak memory."""
        return self.ask({"command": "time", "calls": calls})
