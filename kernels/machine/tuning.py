"""Every number that was chosen for speed alone. None of them changes a bit of any result.

Sizes of blocks are shares of the caches of the processor at hand (`caches`). The shares were chosen on
processors with 1 and 2 MB of second-level cache for each core, on which they may be twice or half as large
with hardly any difference.

Python reads those of the first part when a plan is made, so that they may depend on the machine as they like.
Those of the second part are compiled into kernels, and compiled code is kept on disk: the name of its file
would have to depend on whatever such a number depends on; see `kernel_cache`.

Numbers that results depend on, such as the 16 lanes of a vector, stand where they are explained, and so do
the shapes of register tiles (`tiles.tile`), which follow from the registers of a processor.
"""

from __future__ import annotations

from .caches import caches

# ------------------------------------------------------------------------- plans of matrix products


def largest_depth(columns: int) -> int:
    """K is cut into blocks of at most this, for weight panels of so many columns.

    A block of a panel and the one behind it, which is fetched meanwhile, take a quarter of the second level
    of cache, and leave room for the rows. Below 256, sums would go through memory too often.

    Examples
    --------
    >>> largest_depth(16) >= largest_depth(48) >= 256
    True
    """
    return max(256, caches().second // 8 // (4 * columns))


def floats_of_row_block() -> int:
    """Rows are cut into blocks of at most about this many numbers, half of the second level of cache.

    They stay there while one weight panel after the other passes by.

    Examples
    --------
    >>> floats_of_row_block() > 1000
    True
    """
    return max(1, caches().second // 2 // 4)


LEAST_PANELS = 8
"""Panels of rows for which it is worth while to fetch a panel of weights. Rows are cut into as many blocks as
there are threads, or a multiple, so that each thread finds its own rows in its own cache, unless blocks
become smaller than this. One image of base-patch16-224 took 110 ms so, where blocks of any number took
117."""

# -------------------------------------------------------------------- plans of attention and layers


def tiles_of_task(tile_floats: int) -> int:
    """Tiles of queries that use a panel of keys, and then values, while it is in the first level of cache.

    Four, unless their scores, of so many numbers each, would take more than a quarter of the second level.

    Examples
    --------
    >>> tiles_of_task(100), tiles_of_task(10**9)
    (4, 1)
    """
    return min(4, max(1, caches().second // 4 // (4 * tile_floats)))


def keys_at_a_time(width: int) -> int:
    """Keys whose values, of so many numbers each, fill the first level of cache while some tiles use them.

    A multiple of 16, and 64 at least.

    Examples
    --------
    >>> keys_at_a_time(64) % 16
    0
    """
    return max(64, caches().first // (4 * width) // 16 * 16)


def floats_of_thread() -> int:
    """Rows go through a layer in pieces, whose widest intermediate fills a thread's second level of cache.

    What one operation wrote is then still there when the next one reads it, and the memory for it is that of
    one piece. A piece is some whole images or a part of one. Weights are read once more for each piece, but
    they are fetched ahead.

    Examples
    --------
    >>> floats_of_thread() > 1000
    True
    """
    return max(1, caches().second // 4)


KERNELS_OF_CALL = 2000
"""As many layers are computed in one call from Python as call no more kernels than this; each takes a
kilobyte of counters, which have to be zero. When every operation was called from Python by itself, one image
of base-patch16-224 took four percent longer: all cores wait meanwhile, and Python finds the caches cold."""

# ------------------------------------------------------------------------------- threads and memory

MOST_THREADS = 1024
"""More are taken for a mistake."""

IDLE_SECONDS = 100e-6
"""How long an idle helper looks for work before it goes to sleep: twice as long as Python takes from one
operation to the next."""

GRAIN = 1024
"""Sizes of results are rounded up to a multiple of this many floats, so that near sizes share memory."""

PATIENCE = 1024
"""Memory that was not asked for during this many requests is given back: some forward passes."""

# ---------------------------------------------------------------------------- compiled into kernels

ROWS_OF_TASK = 8
"""Rows that one task of an operation on rows goes through; 196 rows are then 25 tasks, which two threads
share evenly. Softmax keeps as many rows side by side."""

ROWS_OF_QUANTIZING_TASK = 4
"""The same where rows are normalised and quantised in one go."""

ELEMENTS_OF_TASK = 8192
"""Elements that one task of an operation on elements goes through: 32 KB are read, and as many written."""

LINES_FETCHED = 8
"""Cache lines that the matrix unit's loop fetches ahead at each step: what one step of a tile reads of the
weights is 32 lines, and one panel of weights serves several tiles of rows."""
