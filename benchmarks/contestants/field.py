"""The field of contestants: how the process of each is started, and who is whom when they are compared."""

from __future__ import annotations

from pathlib import Path

from contestants.quantized_runners import ALL_RUNNERS as RUNNERS
from contestants.runners import Ours
from measuring.contestant import Contestant
from measuring.measurement import Field
from measuring.worker_process import TIMEOUT

_WORKER = Path(__file__).parent / "worker.py"


def start(
    name: str,
    folder: Path,
    batch: int,
    threads: int,
    environment: dict[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Contestant:
    """Start a runner in a process of its own.

    Parameters
    ----------
    name : str
        A key of ``ALL_RUNNERS``.
    folder : Path
        A checkpoint with pixel values for this batch.
    batch : int
    threads : int
    environment : dict of str to str, optional
        Further environment variables.
    timeout : float
        Seconds to wait for an answer.
    """
    variables = {**RUNNERS[name].environment(threads), **(environment or {})}
    return Contestant(_WORKER, [name, str(folder), str(batch), str(threads)], variables, timeout)


def _references() -> list[str]:
    return [name for name in ("torch", "numpy") if not RUNNERS[name].missing_packages()]


FIELD = Field(start=start, ours=Ours.name, is_peer=lambda name: RUNNERS[name].is_peer, references=_references)
"""transformers is taken for right, or else this package's plain references."""
