"""The machine code of the instructions in `vector`: LLVM's vector instructions, 16 lanes wide.

Only compiled code imports this file. LLVM cuts a vector of 16 lanes into whatever registers the
processor has. Three things are kept away from it, so that bits do not depend on the processor: there are no
fast-math flags, so it may not reorder or contract; multiply-adds are explicit ``llvm.fma``, which
is a library call where the processor has no such instruction; and sums over lanes are written out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from .vector import LANES

FLOAT, _INT, BIT = ir.FloatType(), ir.IntType(32), ir.IntType(1)
INDEX, BYTE = ir.IntType(64), ir.IntType(8)
FLOATS, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(_INT, LANES)


class _LanesType(types.Type):
    """Numba's type of 16 lanes."""

    def __init__(self, lane: str) -> None:
        super().__init__(name=f"{lane}x{LANES}")


VECTOR, MASK = _LanesType("float32"), _LanesType("bool")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: _LanesType) -> None:
        super().__init__(manager, lanes, FLOATS if lanes == VECTOR else ir.VectorType(BIT, LANES))


def _is_operand(kind: Any) -> bool:
    return kind in (VECTOR, types.float32)


def _constant(value: float, kind: ir.Type = FLOATS) -> ir.Constant:
    return ir.Constant(kind, [value] * LANES)


def emit_spread(builder: Any, scalar: Any) -> Any:
    """Sixteen copies of one float."""
    undefined = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, _constant(0, INTS))


def _vectors(builder: Any, kinds: Any, values: Any) -> list[Any]:
    """Operands as vectors; scalars are spread."""
    return [v if kind == VECTOR else emit_spread(builder, v) for kind, v in zip(kinds, values, strict=True)]


def shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(_INT, len(lanes)), lanes)
    return builder.shuffle_vector(a, b, mask)


def address_of(
    context: Any, builder: Any, kind: Any, array: Any, index: Any, element: ir.Type | None = None
) -> Any:
    """Address of an element of a flat array, by default of those that it is of."""
    address = context.make_array(kind)(context, builder, array).data
    if element is not None:
        address = builder.bitcast(address, element.as_pointer())
    return builder.gep(address, [index])


def emit_load(builder: Any, address: Any) -> Any:
    vector = builder.load(builder.bitcast(address, FLOATS.as_pointer()))
    vector.align = 4
    return vector


def emit_store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, builder.bitcast(address, FLOATS.as_pointer())).align = 4


def call_llvm(builder: Any, name: str, result: ir.Type, *operands: ir.Type) -> Any:
    """One of LLVM's own functions."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, operands), name)


def emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.call(call_llvm(builder, f"llvm.fma.v{LANES}f32", FLOATS, *[FLOATS] * 3), [a, b, c])


def emit_prefetch(builder: Any, address: Any) -> None:
    """Ask for a cache line, into the second level of cache."""
    pointer = BYTE.as_pointer()
    function = call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, _INT, _INT, _INT)
    read, second_level, data = (ir.Constant(_INT, value) for value in (0, 2, 1))
    builder.call(function, [builder.bitcast(address, pointer), read, second_level, data])


# ------------------------------------------------------------------------------------------- operators


def _operator(symbol: Any, result: _LanesType, emit: Callable[..., Any]) -> None:
    """Teach Numba an operator between vectors, and between a vector and a scalar."""

    @type_callable(symbol)
    def typing(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            return result if VECTOR in (a, b) and _is_operand(a) and _is_operand(b) else None

        return typer

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *_vectors(builder, signature.args, arguments))

    for kinds in ((VECTOR, VECTOR), (VECTOR, types.float32), (types.float32, VECTOR)):
        lower_builtin(symbol, *kinds)(lower)


_operator(operator.add, VECTOR, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, VECTOR, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, VECTOR, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.truediv, VECTOR, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.lt, MASK, lambda builder, a, b: builder.fcmp_ordered("<", a, b))
_operator(operator.gt, MASK, lambda builder, a, b: builder.fcmp_ordered(">", a, b))


def _elementwise(name: str, emit: Callable[..., Any]) -> Any:
    """An instruction on vectors and scalars that gives a vector."""

    def define(typing_context: Any, *kinds: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit(builder, *_vectors(builder, signature.args, arguments))

        return VECTOR(*kinds), code

    # Numba wants to see the arguments one by one.
    if name == "fma":
        return intrinsic(lambda typing_context, a, b, c: define(typing_context, a, b, c))
    return intrinsic(lambda typing_context, a: define(typing_context, a))


def _exponent_from(builder: Any, shifted: Any) -> Any:
    whole = builder.bitcast(shifted, INTS)
    return builder.bitcast(builder.shl(whole, _constant(23, INTS)), FLOATS)


def _unary(name: str) -> Callable[..., Any]:
    return lambda builder, a: builder.call(
        call_llvm(builder, f"llvm.{name}.v{LANES}f32", FLOATS, FLOATS), [a]
    )


fma = _elementwise("fma", emit_fma)
fill = _elementwise("fill", lambda builder, a: a)
absolute = _elementwise("absolute", _unary("fabs"))
square_root = _elementwise("square_root", _unary("sqrt"))
exponent_from = _elementwise("exponent_from", _exponent_from)


@intrinsic
def select(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(arguments[0], *_vectors(builder, signature.args[1:], arguments[1:]))

    return VECTOR(mask, a, b), code


# ---------------------------------------------------------------------------------------------- memory


def _mask_of(builder: Any, count: Any) -> Any:
    """Lanes below ``count``."""
    lanes = ir.Constant(INTS, list(range(LANES)))
    wanted = builder.trunc(count, _INT)
    undefined = ir.Constant(INTS, ir.Undefined)
    first = builder.insert_element(undefined, wanted, ir.Constant(_INT, 0))
    return builder.icmp_signed("<", lanes, builder.shuffle_vector(first, undefined, _constant(0, INTS)))


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_load(builder, address_of(context, builder, signature.args[0], *arguments))

    return VECTOR(array, types.intp), code


@intrinsic
def load_part(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flat, offset, number = arguments
        pointer, mask = FLOATS.as_pointer(), ir.VectorType(BIT, LANES)
        function = call_llvm(builder, f"llvm.masked.load.v{LANES}f32.p0", FLOATS, pointer, _INT, mask, FLOATS)
        address = builder.bitcast(address_of(context, builder, signature.args[0], flat, offset), pointer)
        return builder.call(
            function, [address, ir.Constant(_INT, 4), _mask_of(builder, number), _constant(0.0)]
        )

    return VECTOR(array, types.intp, types.intp), code


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flat, offset, value = arguments
        (value,) = _vectors(builder, signature.args[2:], [value])
        emit_store(builder, value, address_of(context, builder, signature.args[0], flat, offset))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def store_part(typing_context: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flat, offset, value, number = arguments
        pointer, mask = FLOATS.as_pointer(), ir.VectorType(BIT, LANES)
        function = call_llvm(
            builder, f"llvm.masked.store.v{LANES}f32.p0", ir.VoidType(), FLOATS, pointer, _INT, mask
        )
        address = builder.bitcast(address_of(context, builder, signature.args[0], flat, offset), pointer)
        builder.call(function, [value, address, ir.Constant(_INT, 4), _mask_of(builder, number)])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), code


@intrinsic
def transpose_block(
    typing_context: Any, source: Any, index: Any, stride: Any, out: Any, offset: Any, step: Any
) -> Any:
    """Four rounds of exchanging quarters: rows and columns whose numbers differ in one bit change places."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, index, stride, out, offset, step = arguments
        first = address_of(context, builder, signature.args[0], source, index)
        target = address_of(context, builder, signature.args[3], out, offset)

        def row(base: Any, distance: Any, number: int) -> Any:
            return builder.gep(base, [builder.mul(distance, ir.Constant(INDEX, number))])

        rows = [emit_load(builder, row(first, stride, r)) for r in range(LANES)]
        for bit in (8, 4, 2, 1):
            upper = [i if not i & bit else LANES + (i ^ bit) for i in range(LANES)]
            lower = [i | bit if not i & bit else LANES + i for i in range(LANES)]
            for r in (r for r in range(LANES) if not r & bit):
                a, b = rows[r], rows[r | bit]
                rows[r], rows[r | bit] = shuffle(builder, a, b, upper), shuffle(builder, a, b, lower)
        for r in range(LANES):
            emit_store(builder, rows[r], row(target, step, r))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, out, types.intp, types.intp), code


# ------------------------------------------------------------------------------------- sums over lanes


def _reduction(combine: Callable[..., Any]) -> Any:
    def define(typing_context: Any, a: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (vector,) = arguments
            for half in (8, 4, 2, 1):
                low = shuffle(builder, vector, vector, list(range(half)))
                high = shuffle(builder, vector, vector, list(range(half, 2 * half)))
                vector = combine(builder, low, high)
            return builder.extract_element(vector, ir.Constant(_INT, 0))

        return types.float32(a), code

    return intrinsic(define)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


sum_lanes = _reduction(lambda builder, a, b: builder.fadd(a, b))
max_lanes = _reduction(_larger)
