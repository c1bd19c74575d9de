"""The machine code of the register tile: two Python loops that unroll what no one would want to type.

`tile` describes the tile and the memory order of its operands. Here it is emitted: for every k a row of
the right operand is loaded as vectors, each number of the left operand is spread over a vector, and each
pair is multiplied into an accumulator. The accumulators are variables of LLVM that live across the loop
(phi nodes), so that they stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..machine.vector import LANES
from ..machine.vector_emission import (
    BIT,
    FLOAT,
    FLOATS,
    INDEX,
    address_of,
    emit_fma,
    emit_load,
    emit_prefetch,
    emit_spread,
    emit_store,
    shuffle,
)
from .tile import BLOCK, Tile, multiplies_by_lane, tile_of_this_machine


class Elements(NamedTuple):
    """What stands for a number in the right operand."""

    kind: ir.Type
    load: Callable[..., Any]
    """``load(builder, address)`` gives 16 neighbours as a vector"""
    lines: int
    """Cache lines that are fetched at each step"""


NUMBERS = Elements(FLOAT, emit_load, lines=2)


def define_tile(
    shape: Callable[[], Tile],
    multiply_add: Callable[..., Any],
    elements: Callable[[], Elements] = lambda: NUMBERS,
) -> Any:
    """An instruction that chooses the smallest tile that covers the rows and vectors asked for.

    ``shape`` gives the largest, when code is emitted; ``multiply_add(builder, a, b, total)`` is what happens
    to vectors, and ``elements`` is what the right operand holds. See `tile.multiply_tile`.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        full = shape()
        values = dict(zip(_TILE_OPERANDS, arguments, strict=True))
        kinds = dict(zip(_TILE_OPERANDS, signature.args, strict=True))
        right = elements()
        addresses = {
            name: address_of(context, builder, kinds[name], values[name], values[f"{name}_index"], kind)
            for name, kind in {"a": FLOAT, "b": right.kind, "out": FLOAT, "ahead": right.kind}.items()
        }
        numbers = {name: values[name] for name in ("steps", "row_stride", "vector_stride", "resume")}
        finish = builder.append_basic_block("tile_done")
        for count in range(1, full.vectors + 1):
            of_this_width = builder.icmp_signed("==", values["vectors"], ir.Constant(INDEX, count))
            with builder.if_then(of_this_width):
                for height in full.row_counts:
                    fits = builder.icmp_signed("<=", values["rows"], ir.Constant(INDEX, height))
                    if height == full.rows:
                        fits = ir.Constant(BIT, 1)  # the tallest takes whatever is left
                    with builder.if_then(fits):
                        tile = Tile(height, count)
                        _emit_tile(builder, tile, full.rows, multiply_add, right, **addresses, **numbers)
                        builder.branch(finish)
                        builder.position_at_end(builder.append_basic_block("unreached"))
        builder.branch(finish)
        builder.position_at_end(finish)
        return context.get_dummy_value()

    # Numba wants to see the arguments one by one.
    def instruction(
        typing_context: Any,
        rows: Any,
        vectors: Any,
        a: Any,
        a_index: Any,
        b: Any,
        b_index: Any,
        steps: Any,
        out: Any,
        out_index: Any,
        row_stride: Any,
        vector_stride: Any,
        resume: Any,
        ahead: Any,
        ahead_index: Any,
    ) -> Any:
        index = types.intp
        signature = types.void(
            index, index, a, index, b, index, index, out, index, index, index, index, ahead, index
        )
        return signature, emit

    return intrinsic(instruction)


_TILE_OPERANDS = (
    "rows", "vectors", "a", "a_index", "b", "b_index", "steps", "out", "out_index",
    "row_stride", "vector_stride", "resume", "ahead", "ahead_index",
)  # fmt: skip


def _emit_tile(
    builder: Any,
    tile: Tile,
    panel_rows: int,
    multiply_add: Callable[..., Any],
    right: Elements,
    a: Any,
    b: Any,
    out: Any,
    ahead: Any,
    steps: Any,
    row_stride: Any,
    vector_stride: Any,
    resume: Any,
) -> None:
    """Hold rows x vectors accumulators in registers, and go through K four at a time.

    Every step of k loads one row of ``b`` as vectors, and for each row of the tile spreads one number
    of ``a`` over a register and multiplies the two into the accumulators.
    """
    entries = [(r, v) for r in range(tile.rows) for v in range(tile.vectors)]

    def number(value: int) -> Any:
        return ir.Constant(INDEX, value)

    def out_address(r: int, v: int) -> Any:
        entry = builder.add(builder.mul(row_stride, number(r)), builder.mul(vector_stride, number(v)))
        return builder.gep(out, [entry])

    def accumulators(*sources: tuple[list[Any], Any]) -> list[Any]:
        """One variable for each accumulator, with its value for each block that may come before."""
        variables = [builder.phi(FLOATS) for _ in entries]
        for values, block in sources:
            for variable, value in zip(variables, values, strict=True):
                variable.add_incoming(value, block)
        return variables

    zero, resumed, start, loop, end = (
        builder.append_basic_block(name) for name in ("zero", "resumed", "start", "loop", "end")
    )
    builder.cbranch(builder.icmp_signed("!=", resume, number(0)), resumed, zero)
    builder.position_at_end(zero)
    builder.branch(start)
    builder.position_at_end(resumed)
    partial = [emit_load(builder, out_address(r, v)) for r, v in entries]
    builder.branch(start)

    builder.position_at_end(start)
    initial = accumulators(([ir.Constant(FLOATS, [0.0] * LANES)] * len(entries), zero), (partial, resumed))
    builder.cbranch(builder.icmp_signed(">", steps, number(0)), loop, end)

    builder.position_at_end(loop)
    step = builder.phi(INDEX)
    sums = accumulators((initial, start))
    variables = list(sums)
    # Four steps of k lie side by side in ``a``; after BLOCK of them the next block begins.
    block, within = builder.lshr(step, number(2)), builder.and_(step, number(3))
    a_offset = builder.add(builder.mul(block, number(panel_rows * BLOCK)), builder.shl(within, number(2)))
    a_here = builder.gep(a, [a_offset])
    b_here = builder.gep(b, [builder.mul(step, number(4 * tile.vectors * LANES))])
    four = _load_rows(builder, a_here, tile.rows) if multiplies_by_lane() else None
    for k in range(4):
        row_of_b = [
            right.load(builder, builder.gep(b_here, [number((k * tile.vectors + v) * LANES)]))
            for v in range(tile.vectors)
        ]
        for r in range(tile.rows):
            if four is None:
                spread = emit_spread(builder, builder.load(builder.gep(a_here, [number(r * BLOCK + k)])))
            else:
                spread = shuffle(builder, four[r], four[r], [k] * LANES)
            for v in range(tile.vectors):
                entry = r * tile.vectors + v
                sums[entry] = multiply_add(builder, spread, row_of_b[v], sums[entry])
        fetched, rest = divmod(k + 1, 4 // right.lines)
        if not rest:  # a line of what comes next, while the arithmetic goes on
            distance = number((fetched - 1) * 2 * LANES // right.lines)
            line = builder.add(builder.mul(step, number(2 * LANES)), distance)
            emit_prefetch(builder, builder.gep(ahead, [line]))
    following = builder.add(step, number(1))
    step.add_incoming(number(0), start)
    step.add_incoming(following, loop)
    for variable, value in zip(variables, sums, strict=True):
        variable.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, end)

    builder.position_at_end(end)
    for (r, v), value in zip(entries, accumulators((initial, start), (sums, loop)), strict=True):
        emit_store(builder, value, out_address(r, v))


def _load_rows(builder: Any, address: Any, rows: int) -> list[Any]:
    """Four neighbours of each row, as they are."""
    kind = ir.VectorType(FLOAT, 4)
    loaded = []
    for r in range(rows):
        here = builder.gep(address, [ir.Constant(INDEX, r * BLOCK)])
        four = builder.load(builder.bitcast(here, kind.as_pointer()))
        four.align = 4
        loaded.append(four)
    return loaded


multiply_tile = define_tile(tile_of_this_machine, emit_fma)
