"""The machine code of register tiles, on every level: what is summed stays in registers while a loop runs.

A sum that goes through memory at each step costs more than the step. LLVM makes code for processors that this
machine is not, so this can be looked at everywhere.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from numpy_siglip.kernels.machine import instruction_level as module
from numpy_siglip.kernels.machine.instruction_level import LEVELS, compiling_for
from numpy_siglip.kernels.tiles import integer_tile, integer_tile_emission, tile, tile_emission
from numpy_siglip.kernels.tiles.tile import Tile

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
WITH_FMA = [
    (architecture, level)
    for architecture, levels in LEVELS.items()
    for level in levels
    if level.name not in ("x86-64", "x86-64-v2")
]
MULTIPLICATIONS = {
    ("x86_64", "numbers"): r"\tvfmadd",
    ("x86_64", "integers"): r"\tvpmaddwd|\tvpdpbusd|\{vex\}\s+vpdpbusd",
    ("aarch64", "numbers"): r"\tfmla",
    ("aarch64", "integers"): r"\tsdot|\tsmlal",
}
STACK = {
    "x86_64": r"[xyz]mm\d.*\(%rsp|\(%rsp.*[xyz]mm\d",
    "aarch64": r"\t(ldr|str|ldp|stp)\tq.*\[sp",
}
TIGHT = ("x86-64-v3", "armv8-a")
"""Levels on which a tile of pairs takes all registers, or more than there are where pairs are widened."""


@pytest.fixture
def emitted_for(monkeypatch):
    """Lets code be emitted for a level of any architecture."""
    caches = (tile.tile_of_this_machine, integer_tile.word_of_this_machine)

    def choose(architecture: str) -> None:
        monkeypatch.setattr(module, "architecture", lambda: architecture)
        for cache in caches:
            cache.cache_clear()

    yield choose
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def _assembly(shape: Tile, kind: str, architecture: str, level: module.InstructionLevel) -> list[str]:
    """The machine code of one tile, line by line."""
    elements = tile_emission.NUMBERS if kind == "numbers" else integer_tile_emission._elements()
    emit = tile_emission.emit_fma if kind == "numbers" else integer_tile_emission.emit_dot
    number, floats = ir.IntType(64), ir.FloatType().as_pointer()
    right = elements.kind.as_pointer()
    code = ir.Module("tile")
    code.triple = TRIPLES[architecture]
    signature = ir.FunctionType(ir.VoidType(), [floats, right, floats, right, *[number] * 4])
    function = ir.Function(code, signature, "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    names = ("a", "b", "out", "ahead", "steps", "row_stride", "vector_stride", "resume")
    operands = dict(zip(names, function.args, strict=True))
    tile_emission._emit_tile(builder, shape, shape.rows, emit, elements, **operands)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(code.triple)
    machine = target.create_target_machine(cpu=level.cpu, features=level.added, opt=3)
    parsed = llvm.parse_assembly(str(code))
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed).split("\n")


def _loop(lines: list[str], multiplication: str) -> list[str]:
    """The innermost loop that multiplies."""
    labels = {line.split(":")[0]: number for number, line in enumerate(lines) if line.startswith(".L")}
    found: list[list[str]] = []
    for number, line in enumerate(lines):
        jump = re.match(r"\t(?:j\w+|b\.\w+|b|cbnz|cbz)\t(?:\w+, )?(\.L\w+)", line)
        if jump and labels.get(jump[1], number) < number:
            body = lines[labels[jump[1]] : number + 1]
            if any(re.search(multiplication, each) for each in body):
                found.append(body)
    return min(found, key=len)


@pytest.mark.parametrize(("architecture", "level"), WITH_FMA, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("kind", ["numbers", "integers"])
def test_sums_stay_in_registers(kind, architecture, level, emitted_for):
    emitted_for(architecture)
    with compiling_for(level):
        shape = tile.tile_of_this_machine()
        multiplication = MULTIPLICATIONS[architecture, kind]
        loop = _loop(_assembly(shape, kind, architecture, level), multiplication)
    multiplications = [line for line in loop if re.search(multiplication, line)]
    lanes = {"x86-64-v3": 8, "x86-64-v3-vnni": 8}.get(level.name, 4 if architecture == "aarch64" else 16)
    steps = 4 * (2 if "smlal" in "".join(multiplications) else 1)  # two products of 16 bits, one by one
    assert len(multiplications) == steps * shape.rows * shape.vectors * 16 // lanes
    through_memory = [line for line in loop if re.search(STACK[architecture], line)]
    if kind == "numbers" or level.name not in TIGHT:
        assert not through_memory
    elif level.name == "x86-64-v3":
        assert len(through_memory) <= 2  # one of twelve sums, once in four steps
