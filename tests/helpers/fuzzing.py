"""Inputs made wrong at random, and what tries them: only errors of the package may come of them.

Every case has a seed of its own, so that one can be tried alone. ``FUZZ_CASES`` sets how many cases each
fuzzer tries, in place of what its test says, and ``FUZZ_FIRST_SEED`` where the seeds begin.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_siglip import SiglipError
from numpy_siglip.errors import on_one_line

_ODD_VALUES = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, -(10**30), 0.5, -0.0, 1e-320, 1e39, 3e38),
    *(float("nan"), float("inf"), -float("inf"), "", "0", "224", "\x1b[31m\n", "é" * 300, "\ud800"),
    *([], [[]], {}, [0], [0.5, [], 0.5], [1, 2, 3], {"height": 1}, {"": None}, [None] * 3, [[1] * 9] * 9),
)


class Count(NamedTuple):
    """What became of the cases of one fuzzer."""

    accepted: int
    refused: int


def fuzz(case: Callable[[np.random.Generator], object], cases: int) -> Count:
    """Try ``case`` with many generators; an error that is not the package's own fails, with its seed."""
    accepted = refused = 0
    first = int(os.environ.get("FUZZ_FIRST_SEED", "0"))
    for seed in range(first, first + int(os.environ.get("FUZZ_CASES", cases))):
        try:
            case(np.random.default_rng(seed))
            accepted += 1
        except SiglipError as error:
            if not str(error) or str(error) != on_one_line(str(error)):
                raise AssertionError(f"seed {seed}: an error that cannot be shown") from error
            refused += 1
        except Exception as error:
            kind = f"{type(error).__name__}: {error}"
            raise AssertionError(f"seed {seed} of {case.__qualname__}: {kind}") from error
    print(f"{case.__qualname__}: {accepted} accepted, {refused} refused")
    return Count(accepted, refused)


def mutated_bytes(generator: np.random.Generator, content: bytes, *, first: int = 0) -> bytes:
    """A few bytes changed, cut out, doubled or put in, from byte ``first`` on; or the end cut off."""
    changed = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        low = min(first, len(changed))
        place = int(generator.integers(low, len(changed) + 1))
        length = int(generator.integers(1, 17))
        kind = int(generator.integers(6))
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            changed[place : place + length] = generator.bytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        elif kind == 4:
            changed[place : place + length] = bytes([generator.choice([0, 0x7F, 0xFF])]) * length
        elif generator.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def mutated_values(generator: np.random.Generator, values: Any) -> Any:
    """What a JSON file holds, with one to three of its values replaced by odd ones, removed or added."""
    changed = copy.deepcopy(values)
    for _ in range(int(generator.integers(1, 4))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = places[int(generator.integers(len(places)))]
        kind = int(generator.integers(8))
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[f"{key}_"] = holder.pop(key)
        elif kind == 2:
            other_holder, other_key = places[int(generator.integers(len(places)))]
            holder[key] = copy.deepcopy(other_holder[other_key])
        elif kind == 3 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * int(generator.choice([-1, 2, 3, 1000])) + int(generator.integers(2))
        else:
            holder[key] = copy.deepcopy(_ODD_VALUES[int(generator.integers(len(_ODD_VALUES)))])
    return changed


def _places(values: Any) -> Any:
    keys = values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    for key in list(keys):
        yield values, key
        yield from _places(values[key])
