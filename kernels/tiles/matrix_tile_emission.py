"""The machine code of the steps of `matrix_tile`. Registers are named in it: no other code uses the unit."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..cost import FLOAT32_BYTES
from ..machine import tuning
from ..machine.vector import LANES
from ..machine.vector_emission import BYTE, INDEX, address_of, call_llvm, emit_prefetch
from .matrix_tile import MATRIX, STEP, uses_matrix_unit
from .tile import BLOCK

_REGISTERS, _ROWS, _ROW_BYTES = 8, 16, 64
_SUMS, _LEFT, _RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)
"""The registers of each kind; sums row by row."""

_POINTER, _VOID = BYTE.as_pointer(), ir.VoidType()


def _byte(value: int) -> Any:
    return ir.Constant(BYTE, value)


def _number(value: int) -> Any:
    return ir.Constant(INDEX, value)


def _move(builder: Any, name: str, register: int, address: Any, stride: int) -> None:
    """Load or store a register whose rows lie so many words apart."""
    function = call_llvm(builder, f"llvm.x86.{name}", _VOID, BYTE, _POINTER, INDEX)
    operands = [_byte(register), builder.bitcast(address, _POINTER), _number(stride * FLOAT32_BYTES)]
    builder.call(function, operands)


def _move_sums(builder: Any, name: str, address: Any) -> None:
    for register in _SUMS:
        row, vector = divmod(register, MATRIX.vectors)
        offset = builder.gep(address, [_number(row * _ROWS * MATRIX.columns + vector * LANES)])
        _move(builder, name, register, offset, MATRIX.columns)


@intrinsic
def open_matrix_unit(typing_context: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            # Palette 1; from byte 16 on the bytes of a row of each register, from 48 on its rows.
            shapes = [1, *[0] * 15, *[_ROW_BYTES, 0] * _REGISTERS, *[0] * 16, *[_ROWS] * _REGISTERS, *[0] * 8]
            constant = ir.Constant(ir.VectorType(BYTE, len(shapes)), shapes)
            offset = builder.bitcast(cgutils.alloca_once_value(builder, constant), _POINTER)
            builder.call(call_llvm(builder, "llvm.x86.ldtilecfg", _VOID, _POINTER), [offset])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def close_matrix_unit(typing_context: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            builder.call(call_llvm(builder, "llvm.x86.tilerelease", _VOID), [])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def begin_sums(typing_context: Any, sums: Any, index: Any, resume: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            array, offset, resume = arguments
            address = address_of(context, builder, signature.args[0], array, offset)
            with builder.if_else(builder.icmp_signed("!=", resume, _number(0))) as (resumed, zero):
                with resumed:
                    _move_sums(builder, "tileloadd64", address)
                with zero:
                    for register in _SUMS:
                        builder.call(call_llvm(builder, "llvm.x86.tilezero", _VOID, BYTE), [_byte(register)])
        return context.get_dummy_value()

    return types.void(sums, types.intp, types.intp), code


@intrinsic
def end_sums(typing_context: Any, sums: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            address = address_of(context, builder, signature.args[0], *arguments)
            _move_sums(builder, "tilestored64", address)
        return context.get_dummy_value()

    return types.void(sums, types.intp), code


@intrinsic
def fetch_ahead(typing_context: Any, array: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = address_of(context, builder, signature.args[0], *arguments)
        for line in range(tuning.LINES_FETCHED):
            emit_prefetch(builder, builder.gep(address, [_number(line * LANES)]))
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def multiply_step(
    typing_context: Any,
    rows: Any,
    vectors: Any,
    a: Any,
    a_index: Any,
    b: Any,
    b_index: Any,
) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if uses_matrix_unit():
            rows, vectors, *indices = arguments
            left = address_of(context, builder, signature.args[2], *indices[:2])
            right = address_of(context, builder, signature.args[4], *indices[2:])
            tall = builder.icmp_signed(">", rows, _number(_ROWS))
            wide = builder.icmp_signed(">", vectors, _number(1))
            for heights, is_tall in ((2, tall), (1, builder.not_(tall))):
                for columns, is_wide in ((2, wide), (1, builder.not_(wide))):
                    with builder.if_then(builder.and_(is_tall, is_wide)):
                        _emit_step(builder, left, right, heights, columns)
        return context.get_dummy_value()

    index = types.intp
    return types.void(index, index, a, index, b, index), code


def _emit_step(builder: Any, left: Any, right: Any, heights: int, vectors: int) -> None:
    """Load each operand once, and multiply every pair."""
    multiply = call_llvm(builder, "llvm.x86.tdpbusd", _VOID, BYTE, BYTE, BYTE)
    for r in range(heights):
        _move(builder, "tileloadd64", _LEFT[r], builder.gep(left, [_number(r * _ROWS * BLOCK)]), STEP)
    for v in range(vectors):
        columns = builder.gep(right, [_number(v * LANES)])
        _move(builder, "tileloadd64", _RIGHT[v], columns, vectors * LANES)
        for r in range(heights):
            total = _byte(_SUMS[r * MATRIX.vectors + v])
            builder.call(multiply, [total, _byte(_LEFT[r]), _byte(_RIGHT[v])])
