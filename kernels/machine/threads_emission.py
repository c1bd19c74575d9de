"""The machine code of the instructions in `threads`: counters that several threads write, and a pause."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vector_emission import address_of, call_llvm


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
        if context.codegen().magic_tuple()[0].startswith("x86_64"):
            builder.call(call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType()), [])
        return context.get_dummy_value()

    return types.void(), code
