"""The machine code of the tile of integers on a matrix unit (AMX), sixteen rows of it at a time.

The unit has eight registers of 16 rows of 64 bytes. ``tdpbusd`` takes two of them, 16 rows of ``a`` in words
and 16 rows of ``b``, and adds the product to a third: 16 times as much as a register of 512 bits does, and
the same integers (Intel, Software Developer's Manual, volume 2). Four registers hold sums, two ``a``, two
``b``. Both lie in memory as `packing` says, which is how the unit reads them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cost import FLOAT32_BYTES
from .emission import BYTE, INDEX, call_llvm, emit_prefetch
from .integer_tile import uses_matrix_unit
from .tile import BLOCK, Tile
from .vector import LANES

_REGISTERS, _ROWS, _ROW_BYTES = 8, 16, 64
_SUMS, _LEFT, _RIGHT = 0, 4, 6
"""The first register of each kind."""

_POINTER, _VOID = BYTE.as_pointer(), ir.VoidType()


def emit_matrix_tile(
    builder: Any,
    tile: Tile,
    panel_rows: int,
    a: Any,
    b: Any,
    out: Any,
    ahead: Any,
    steps: Any,
    row_stride: Any,
    vector_stride: Any,
    resume: Any,
) -> None:
    """Hold up to 2 x 2 registers of sums, and go through K 16 words at a time.

    Operands are those of `tile_emission.emit_tile`; ``steps`` divides by four.
    """
    heights, width = range(-(-tile.rows // _ROWS)), tile.vectors * LANES

    def number(value: int) -> Any:
        return ir.Constant(INDEX, value)

    def bytes_of(words: Any) -> Any:
        return builder.mul(words, number(FLOAT32_BYTES))

    def each_sum(name: str) -> None:
        for r in heights:
            for v in range(tile.vectors):
                offset = builder.mul(row_stride, number(r * _ROWS))
                offset = builder.add(offset, builder.mul(vector_stride, number(v)))
                _move(builder, name, _SUMS + 2 * r + v, builder.gep(out, [offset]), bytes_of(row_stride))

    with builder.if_else(builder.icmp_signed("!=", resume, number(0))) as (resumed, zero):
        with resumed:
            each_sum("tileloadd64")
        with zero:
            for register in range(_SUMS, _LEFT):
                builder.call(call_llvm(builder, "llvm.x86.tilezero", _VOID, BYTE), [_byte(register)])

    with cgutils.for_range(builder, builder.lshr(steps, number(2))) as loop:
        here = builder.gep(a, [builder.mul(loop.index, number(panel_rows * BLOCK))])
        for r in heights:
            rows = builder.gep(here, [number(r * _ROWS * BLOCK)])
            _move(builder, "tileloadd64", _LEFT + r, rows, number(_ROW_BYTES))
        here = builder.gep(b, [builder.mul(loop.index, number(_ROWS * width))])
        for v in range(tile.vectors):
            columns = builder.gep(here, [number(v * LANES)])
            _move(builder, "tileloadd64", _RIGHT + v, columns, number(width * FLOAT32_BYTES))
            for r in heights:
                multiply = call_llvm(builder, "llvm.x86.tdpbusd", _VOID, BYTE, BYTE, BYTE)
                builder.call(multiply, [_byte(_SUMS + 2 * r + v), _byte(_LEFT + r), _byte(_RIGHT + v)])
        for line in range(8):  # as much of what comes next as four steps of the other tiles fetch
            place = builder.add(builder.shl(loop.index, number(7)), number(line * LANES))
            emit_prefetch(builder, builder.gep(ahead, [place]))
    each_sum("tilestored64")


def _byte(value: int) -> Any:
    return ir.Constant(BYTE, value)


def _move(builder: Any, name: str, register: int, address: Any, stride: Any) -> None:
    """Load or store a register whose rows lie so many bytes apart."""
    function = call_llvm(builder, f"llvm.x86.{name}", _VOID, BYTE, _POINTER, INDEX)
    builder.call(function, [_byte(register), builder.bitcast(address, _POINTER), stride])


@intrinsic
def open_matrix_unit(typing_context: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            # Palette 1; from byte 16 on the bytes of a row of each register, from 48 on its rows.
            shapes = [1, *[0] * 15, *[_ROW_BYTES, 0] * _REGISTERS, *[0] * 16, *[_ROWS] * _REGISTERS, *[0] * 8]
            constant = ir.Constant(ir.VectorType(BYTE, len(shapes)), shapes)
            place = builder.bitcast(cgutils.alloca_once_value(builder, constant), _POINTER)
            builder.call(call_llvm(builder, "llvm.x86.ldtilecfg", _VOID, _POINTER), [place])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def close_matrix_unit(typing_context: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            builder.call(call_llvm(builder, "llvm.x86.tilerelease", _VOID), [])
        return context.get_dummy_value()

    return types.void(), code
