"""Files are read and preprocessed by threads of their own, while others are computed.

    images -> [ being read: at most ``ahead`` of them, by a few threads ] -> results, in the order of images

Pillow decodes and resizes without Python's lock, and so do the compiled operations compute: a photograph is
decoded on a core that an operation does not need just then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

Result = TypeVar("Result")
Outcome = Callable[[], Result]


@contextmanager
def reading_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are started when they are needed, and begin nothing new once the block is left."""
    pool = ThreadPoolExecutor(max(count, 1), "numpy-siglip-images")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_ahead(
    items: Iterable[Any],
    function: Callable[[Any], Result],
    pool: ThreadPoolExecutor,
    *,
    apart: Callable[[Any], bool],
    ahead: int,
) -> Iterator[tuple[Any, Outcome[Result]]]:
    """Apply a function to each of a stream, some of them before they are asked for.

    Parameters
    ----------
    items : iterable
        Taken by the thread that asks for the results.
    function : callable
    pool : ThreadPoolExecutor
        See `reading_threads`.
    apart : callable
        Tells of an item whether another thread may work on it. On others the function is called at once,
        since whoever made them may use them for something else when asked for the next one.
    ahead : int
        How many items are taken at most before the result of the first of them is asked for.

    Yields
    ------
    item : object
    outcome : callable
        Waits for the result and returns it, or raises what the function raised.

    Raises
    ------
    Exception
        Of the stream itself, when the items before it are done.

    Examples
    --------
    >>> with reading_threads(2) as pool:
    ...     outcomes = run_ahead([2, 4], lambda x: 1 / x, pool, apart=lambda x: True, ahead=2)
    ...     [(item, outcome()) for item, outcome in outcomes]
    [(2, 0.5), (4, 0.25)]
    """
    source = iter(items)
    waiting: deque[tuple[Any, Outcome[Result]]] = deque()
    failed: Exception | None = None
    while True:
        try:
            for item in islice(source, max(ahead - len(waiting), 0)):
                outcome = pool.submit(function, item).result if apart(item) else _done(function, item)
                waiting.append((item, outcome))
        except Exception as error:
            failed, source = error, iter(())
        if waiting:
            yield waiting.popleft()
        elif failed is not None:
            raise failed
        else:
            return


def _done(function: Callable[[Any], Result], item: Any) -> Outcome[Result]:
    """Call the function now, and tell later what came of it."""
    try:
        result = function(item)
    except Exception as error:
        failed = error

        def outcome() -> Result:
            raise failed

        return outcome
    return lambda: result
