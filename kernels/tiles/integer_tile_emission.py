"""The machine code of the tile of integers: a sum of products of two words, in the best way a processor has.

The loops around it are those of `tile_emission`. There, vectors are of float32; bits are taken for what they
are meant to be here, at each sum, which costs no instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from ..machine.instruction_level import instruction_features
from ..machine.vector import LANES
from ..machine.vector_emission import BYTE, FLOATS, INTS, VECTOR, address_of, call_llvm, emit_load, shuffle
from .integer_tile import BYTES, PAIRS, SIGNED_BYTES, word_of_this_machine
from .tile import tile_of_this_machine
from .tile_emission import NUMBERS, Elements, define_tile

_INT, _SHORT = ir.IntType(32), ir.IntType(16)
_FIRST_LLVM_WITH_BYTES = 22
"""From this version on, LLVM's functions for ``vpdpbusd`` take vectors of bytes, before that of words."""


def emit_dot(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """Total + the products of the numbers in the words of ``a`` and ``b``, lane by lane."""
    a, b, total = (builder.bitcast(vector, INTS) for vector in (a, b, total))
    features = instruction_features()
    word = word_of_this_machine()
    if word == SIGNED_BYTES:
        result = _by_parts(builder, 4, _emit_sdot, a, b, total)
    elif word == PAIRS and "x86_64" in features:
        parts = 1 if "avx512bw" in features else 2 if "avx2" in features else 4
        result = _by_parts(builder, parts, _emit_pairs, a, b, total)
    elif word == PAIRS:
        result = _emit_widened_pairs(builder, a, b, total)
    elif "avx512vnni" in features:
        result = _emit_vnni(builder, a, b, total)
    else:
        result = _by_parts(builder, 2, _emit_vnni, a, b, total)
    return builder.bitcast(result, FLOATS)


def _by_parts(builder: Any, count: int, emit: Any, *vectors: Any) -> Any:
    """Cut vectors into as many parts, and put the results together."""
    size = LANES // count
    parts = []
    for first in range(0, LANES, size):
        lanes = list(range(first, first + size))
        parts.append(emit(builder, *(shuffle(builder, vector, vector, lanes) for vector in vectors)))
    while len(parts) > 1:
        lanes = list(range(2 * parts[0].type.count))
        parts = [shuffle(builder, x, y, lanes) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _emit_vnni(builder: Any, a: Any, b: Any, total: Any) -> Any:
    words = total.type
    operand = words
    if binding.llvm_version_info[0] >= _FIRST_LLVM_WITH_BYTES:
        operand = ir.VectorType(BYTE, BYTES.neighbours * words.count)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * words.count}"
    a, b = builder.bitcast(a, operand), builder.bitcast(b, operand)
    return builder.call(call_llvm(builder, name, words, words, operand, operand), [total, a, b])


_PAIRS_OF_PRODUCTS = {
    16: "llvm.x86.avx512.pmaddw.d.512",
    8: "llvm.x86.avx2.pmadd.wd",
    4: "llvm.x86.sse2.pmadd.wd",
}
"""By lanes: products of 16-bit numbers, two neighbours added to 32 bits."""


def _emit_pairs(builder: Any, a: Any, b: Any, total: Any) -> Any:
    words = total.type
    shorts = ir.VectorType(_SHORT, 2 * words.count)
    multiply = call_llvm(builder, _PAIRS_OF_PRODUCTS[words.count], words, shorts, shorts)
    products = builder.call(multiply, [builder.bitcast(a, shorts), builder.bitcast(b, shorts)])
    return _kept_in_order(builder, builder.add(total, products))


def _emit_widened_pairs(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """Products of 16 bits, added as 32 bits: first those of even numbers, then of odd ones."""
    shorts = ir.VectorType(_SHORT, PAIRS.neighbours * LANES)
    a, b = builder.bitcast(a, shorts), builder.bitcast(b, shorts)
    for first in range(PAIRS.neighbours):
        lanes = list(range(first, shorts.count, PAIRS.neighbours))
        factors = [builder.sext(shuffle(builder, vector, vector, lanes), INTS) for vector in (a, b)]
        total = builder.add(total, builder.mul(*factors))
    return total


def _kept_in_order(builder: Any, vector: Any) -> Any:
    """The same, by an instruction of no bytes that LLVM cannot see through.

    Whole numbers may be added in any order, and LLVM would first add the products of several steps to one
    another, for which the registers do not suffice: on AVX2 it would store 30 of them.
    """
    kind = ir.FunctionType(vector.type, [vector.type])
    nothing = ir.InlineAsm(kind, "", "=v,0", side_effect=True)
    return builder.call(nothing, [vector])


def _emit_sdot(builder: Any, a: Any, b: Any, total: Any) -> Any:
    operand = ir.VectorType(BYTE, 4 * total.type.count)
    name = f"llvm.aarch64.neon.sdot.v{total.type.count}i32.v{operand.count}i8"
    # The spread operand comes second, so that it may be one word of a register.
    b, a = builder.bitcast(b, operand), builder.bitcast(a, operand)
    function = call_llvm(builder, name, total.type, total.type, operand, operand)
    return builder.call(function, [total, b, a])


def _load_pairs(builder: Any, address: Any) -> Any:
    """Sixteen pairs of signed bytes, each widened to 16 bits."""
    count = PAIRS.neighbours * LANES
    narrow, wide = ir.VectorType(BYTE, count), ir.VectorType(_SHORT, count)
    both = builder.load(builder.bitcast(address, narrow.as_pointer()))
    both.align = PAIRS.neighbours
    return builder.bitcast(builder.sext(both, wide), FLOATS)


def _elements() -> Elements:
    """Weights of a word are as many bytes as it has neighbours."""
    return Elements(_SHORT, _load_pairs, lines=1) if word_of_this_machine() == PAIRS else NUMBERS


multiply_integer_tile = define_tile(tile_of_this_machine, emit_dot, _elements)


@intrinsic
def store_integers(typing_context: Any, words: Any, index: Any, shifted: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, vector = arguments
        address = address_of(context, builder, signature.args[0], array, offset)
        lanes = ir.VectorType(_SHORT if word_of_this_machine() == PAIRS else BYTE, LANES)
        lowest = builder.trunc(builder.bitcast(vector, INTS), lanes)
        builder.store(lowest, builder.bitcast(address, lanes.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(words, types.intp, shifted), code


def _constant(value: Callable[[], int]) -> Any:
    """An instruction that gives a whole number, known when code is emitted."""

    def define(typing_context: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(ir.IntType(64), value())

        return types.int64(), code

    return intrinsic(define)


neighbours_of_word = _constant(lambda: word_of_this_machine().neighbours)
zero_point = _constant(lambda: word_of_this_machine().zero_point)


@intrinsic
def load_sums(typing_context: Any, sums: Any, index: Any, corrections: Any, offset: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        first = address_of(context, builder, kinds[0], *arguments[:2])
        second = address_of(context, builder, kinds[2], *arguments[2:])
        whole = [builder.bitcast(emit_load(builder, address), INTS) for address in (first, second)]
        return builder.sitofp(builder.add(*whole), FLOATS)

    return VECTOR(sums, types.intp, corrections, types.intp), code
