"""The machine code of the instructions in `threads`: counters that several threads write, and a pause."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .processor import architecture
from .vector_emission import address_of, call_llvm

_WHOLE_SYSTEM = 15
"""The operand SY of a barrier."""


@intrinsic
def add_to_counter(typing_context: Any, counters: Any, index: Any, amount: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, offset, amount = arguments
        address = address_of(context, builder, signature.args[0], array, offset)
        return builder.atomic_rmw("add", address, amount, "acq_rel")

    return types.int64(counters, types.intp, types.int64), code


@intrinsic
def read_counter(typing_context: Any, counters: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = address_of(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(counters, types.intp), code


@intrinsic
def pause(typing_context: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if architecture() == "x86_64":
            builder.call(call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType()), [])
        elif architecture() == "aarch64":  # a barrier takes some time, where a hint takes none
            barrier = call_llvm(builder, "llvm.aarch64.isb", ir.VoidType(), ir.IntType(32))
            builder.call(barrier, [ir.Constant(ir.IntType(32), _WHOLE_SYSTEM)])
        return context.get_dummy_value()

    return types.void(), code
