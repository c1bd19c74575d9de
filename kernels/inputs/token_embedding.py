"""Token embedding: the learned vector of each token, plus that of its place in the text.

    hidden[b, t, d] = table[ids[b, t], d] + position[t, d]

It equals a product of one-hot rows with the table, of which only the rows that are asked for are touched. The
table is therefore anything that gives rows for an array of indices: an array, or a file of which the rest is
never read.

Operands
    ids       (batch, tokens), integers from 0 to vocab_size - 1
    table     (vocab_size, width), any float dtype: ``table[ids]`` has to be (batch, tokens, width)
    position  (tokens, width)
Result
    (batch, tokens, width), the dtype of the table's rows, C order. No padding is needed.
Cost
    One flop an element. The rows that are asked for, their 64-bit indices and the positions are read once,
    the result is written once.
NaN
    Spreads from its row to the tokens of that index, and from a position to that place of every text.
Source
    ``SiglipTextEmbeddings`` in transformers' ``modeling_siglip``; ``torch.nn.functional.embedding``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cost import Cost, float32_traffic
from ..machine import tuning
from ..machine.compilation import kernel
from ..machine.runtime import Runtime, flat
from ..machine.threads import finish_task, next_task, wait_for_tasks
from ..machine.vector import LANES, load, load_part, store, store_part

_INDEX_BYTES = 8


def token_embedding_reference(ids: np.ndarray, table: Any, position: np.ndarray) -> np.ndarray:
    """Look every token up and add its position.

    Parameters
    ----------
    ids : ndarray of int, shape (batch, tokens)
    table : ndarray of shape (vocab_size, width), or what is indexed like one
    position : ndarray of shape (tokens, width)

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Examples
    --------
    >>> import numpy as np
    >>> table = np.array([[0.0], [10.0], [20.0]])
    >>> token_embedding_reference(np.array([[2, 0]]), table, np.array([[1.0], [2.0]]))
    array([[[21.],
            [ 2.]]])
    """
    rows: np.ndarray = table[ids]  # (B, T) -> (B, T, D)
    return rows + position


def token_embedding_cost(*, batch: int, tokens: int, vocab_size: int, width: int) -> Cost:
    """Cost of one call; how many other rows the table has does not matter."""
    elements = batch * tokens * width
    return Cost(
        flops=elements,
        bytes=float32_traffic(elements, tokens * width, elements) + _INDEX_BYTES * batch * tokens,
    )


# ----------------------------------------------------------------------------------------- compiled


def token_embedding(runtime: Runtime, ids: np.ndarray, table: Any, position: np.ndarray) -> np.ndarray:
    """Compute `token_embedding_reference` in float32.

    The table itself looks the rows up, for only it knows where they lie and how wide its numbers are.

    Parameters
    ----------
    runtime : Runtime
    ids : ndarray of int, shape (batch, tokens)
    table : ndarray of shape (vocab_size, width), or what is indexed like one
    position : ndarray of shape (tokens, width)

    Returns
    -------
    ndarray of shape (batch, tokens, width)

    Raises
    ------
    ValueError
        If the positions are not as many, or as wide, as the tokens of a text.

    Examples
    --------
    >>> import numpy as np
    >>> from numpy_siglip.kernels.machine.runtime import Runtime
    >>> ids, table, position = np.array([[2, 0]]), np.array([[0.0], [10.0], [20.0]]), np.array([[1.0], [2.0]])
    >>> token_embedding(Runtime(threads=1), ids, table, position).tolist()
    [[[21.0], [2.0]]]
    """
    rows = table[ids]
    if position.shape != rows.shape[1:]:
        raise ValueError(f"tokens have shape {rows.shape}, position {position.shape}")
    out = runtime.empty(*rows.shape)
    runtime.run(add_positions, flat(rows), flat(position), out.reshape(-1), rows.shape[-1])
    return out


@kernel
def add_positions(
    x: np.ndarray, position: np.ndarray, out: np.ndarray, width: int, counters: np.ndarray, thread: int
) -> None:
    """Add some rows a task; the positions begin anew with every text."""
    rows = x.size // width
    tokens = position.size // width
    whole = width & -LANES
    rest = width - whole
    tasks = (rows + tuning.ROWS_OF_TASK - 1) // tuning.ROWS_OF_TASK
    while True:
        task = next_task(counters, 0, tasks, thread)
        if task < 0:
            break
        for row in range(task * tuning.ROWS_OF_TASK, min((task + 1) * tuning.ROWS_OF_TASK, rows)):
            start, offset = row * width, row % tokens * width
            for i in range(0, whole, LANES):
                store(out, start + i, load(x, start + i) + load(position, offset + i))
            if rest:
                last = load_part(x, start + whole, rest) + load_part(position, offset + whole, rest)
                store_part(out, start + whole, last, rest)
        finish_task(counters, 0)
    wait_for_tasks(counters, 0, tasks)
