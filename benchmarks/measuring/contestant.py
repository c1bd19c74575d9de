"""A contestant's process, as whoever measures sees it."""

from __future__ import annotations

from typing import Any

import numpy as np

from measuring.worker_process import WorkerProcess


class Contestant(WorkerProcess):
    """A worker that loads a model when it is started, and then embeds the images it was started with."""

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

    def repeat(self, seconds: float) -> float:
        """Calls a second, one after the other for so long."""
        answer = self.ask({"command": "repeat", "seconds": seconds})
        return float(answer["calls"] / answer["seconds"])
