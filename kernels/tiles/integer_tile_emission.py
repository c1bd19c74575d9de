"""The machine code of the tile of integers: one sum of four products, in the best way a processor has.

The loops around it are those of `tile_emission`. There, vectors are of float32; bits are taken for what they
are meant to be here, at each sum, which costs no instruction.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from ..machine.processor import processor_features
from ..machine.vector import LANES
from ..machine.vector_emission import BYTE, FLOATS, INTS, VECTOR, address_of, call_llvm, emit_load, shuffle
from .integer_tile import WORD
from .tile import tile_of_this_machine
from .tile_emission import define_tile

_INT, _SHORT = ir.IntType(32), ir.IntType(16)
_FIRST_LLVM_WITH_BYTES = 22
"""From this version on, LLVM's functions for ``vpdpbusd`` take vectors of bytes, before that of words."""


def emit_dot(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """Total + the four products of unsigned bytes of ``a`` and signed bytes of ``b``, lane by lane."""
    a, b, total = (builder.bitcast(vector, INTS) for vector in (a, b, total))
    features = processor_features()
    if "avx512vnni" in features:
        result = _emit_vnni(builder, a, b, total)
    elif "avxvnni" in features:
        result = _by_parts(builder, 2, _emit_vnni, a, b, total)
    elif "avx512bw" in features:
        result = _emit_even_and_odd(builder, a, b, total)
    elif "avx2" in features:
        result = _by_parts(builder, 2, _emit_even_and_odd, a, b, total)
    elif "x86_64" in features:
        result = _by_parts(builder, 4, _emit_even_and_odd, a, b, total)
    else:
        result = _emit_bytes(builder, a, b, total)
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
        operand = ir.VectorType(BYTE, WORD * words.count)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * words.count}"
    a, b = builder.bitcast(a, operand), builder.bitcast(b, operand)
    return builder.call(call_llvm(builder, name, words, words, operand, operand), [total, a, b])


_PAIRS_OF_PRODUCTS = {
    16: "llvm.x86.avx512.pmaddw.d.512",
    8: "llvm.x86.avx2.pmadd.wd",
    4: "llvm.x86.sse2.pmadd.wd",
}
"""By lanes: products of 16-bit numbers, two neighbours added to 32 bits."""


def _emit_even_and_odd(builder: Any, a: Any, b: Any, total: Any) -> Any:
    words = total.type
    shorts = ir.VectorType(_SHORT, 2 * words.count)
    multiply = call_llvm(builder, _PAIRS_OF_PRODUCTS[words.count], words, shorts, shorts)
    eight = ir.Constant(shorts, [8] * shorts.count)
    low_byte = ir.Constant(shorts, [255] * shorts.count)
    a, b = builder.bitcast(a, shorts), builder.bitcast(b, shorts)
    even_a, odd_a = builder.and_(a, low_byte), builder.lshr(a, eight)
    even_b, odd_b = builder.ashr(builder.shl(b, eight), eight), builder.ashr(b, eight)
    total = builder.add(total, builder.call(multiply, [even_a, even_b]))
    return builder.add(total, builder.call(multiply, [odd_a, odd_b]))


def _emit_bytes(builder: Any, a: Any, b: Any, total: Any) -> Any:
    def constant(value: int) -> Any:
        return ir.Constant(INTS, [value] * LANES)

    for byte in range(WORD):
        unsigned = builder.and_(builder.lshr(a, constant(8 * byte)), constant(255))
        signed = builder.ashr(builder.shl(b, constant(24 - 8 * byte)), constant(24))
        total = builder.add(total, builder.mul(unsigned, signed))
    return total


multiply_integer_tile = define_tile(tile_of_this_machine, emit_dot)


@intrinsic
def store_bytes(typing_context: Any, words: Any, index: Any, shifted: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, vector = arguments
        address = address_of(context, builder, signature.args[0], array, offset)
        lanes = ir.VectorType(BYTE, LANES)
        lowest = builder.trunc(builder.bitcast(vector, INTS), lanes)
        builder.store(lowest, builder.bitcast(address, lanes.as_pointer())).align = WORD
        return context.get_dummy_value()

    return types.void(words, types.intp, shifted), code


@intrinsic
def load_sums(typing_context: Any, sums: Any, index: Any, corrections: Any, offset: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        first = address_of(context, builder, kinds[0], *arguments[:2])
        second = address_of(context, builder, kinds[2], *arguments[2:])
        whole = [builder.bitcast(emit_load(builder, address), INTS) for address in (first, second)]
        return builder.sitofp(builder.add(*whole), FLOATS)

    return VECTOR(sums, types.intp, corrections, types.intp), code
