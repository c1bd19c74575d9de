"""The machine code of the instruction in `addresses`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ..cost import FLOAT32_BYTES
from .vector_emission import FLOAT, INDEX


@intrinsic
def array_at(typing_context: Any, address: Any, size: Any) -> Any:
    kind = types.Array(types.float32, 1, "C")

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        location, count = arguments
        array = make_array(kind)(context, builder)
        populate_array(
            array,
            data=builder.inttoptr(location, FLOAT.as_pointer()),
            shape=[count],
            strides=[ir.Constant(INDEX, FLOAT32_BYTES)],
            itemsize=ir.Constant(INDEX, FLOAT32_BYTES),
            meminfo=None,
        )
        return array._getvalue()

    return kind(types.intp, types.intp), code
