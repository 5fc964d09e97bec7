"""Memory that one party needs for its shares, at most: what the VM keeps from step to step."""

from __future__ import annotations

from math import prod

from .plan.graph import Stage
from .ring.program import RingProgram, RingValue, Sharing

WIDEST_PACKED = 52
"""Bits: not every processor packs factors of wider rings."""
LEAST_PACKED = 4
"""Bytes of an element: Intel's AMX has whole bytes, and no fewer."""
PANEL, DEPTH = 16, 64
"""Columns and rows that a packed matrix is padded to, at most."""


def kept_bytes(program: RingProgram, stage: Stage) -> int:
    """Memory for a stage's values (one instance) that stay from step to step: those that a later stage reads.

    A replicated value is two parts of eight bytes. Weights that products alone read are packed (`packed_rings`).
    """
    kept = {o.value for o in program.outputs} | {i for v in program for i in v.inputs if program[i].stage != v.stage}
    if stage == Stage.SETUP:
        kept |= {v.id for v in program.inputs("weight")}
    rings = packed_rings(program)
    values = [v for v in program if v.stage == stage and v.id in kept]
    return sum(_packed(v, rings[v.id]) if v.id in rings else _words(v) for v in values)


def packed_rings(program: RingProgram) -> dict[int, int]:
    """The widest ring of the products that read a setup value, where nothing else reads it: the VM keeps it packed, as
    these products read it (`vm/mpc/static_factors.cpp`)."""
    rings: dict[int, int] = {}
    otherwise = {output.value for output in program.outputs}
    for v in program:
        for i in v.inputs:
            if _reads_packed(program, v, i):
                rings[i] = max(rings.get(i, 0), v.ring)
            else:
                otherwise.add(i)
    return {
        i: ring for i, ring in rings.items()
        if i not in otherwise and program[i].stage == Stage.SETUP and len(program[i].shape) > 1
    }  # fmt: skip


def _reads_packed(program: RingProgram, v: RingValue, factor: int) -> bool:
    if v.kind != "matmul" or v.stage == Stage.SETUP or v.inputs[1] != factor or v.inputs[0] == factor:
        return False
    return program[factor].sharing is Sharing.PUB or program[v.inputs[0]].sharing is Sharing.REP


def _words(v: RingValue) -> int:
    return 8 * v.size * (2 if v.sharing is Sharing.REP else 1)


def _packed(v: RingValue, ring: int) -> int:
    """Of a replicated factor a party needs five parts: two of them in each of two thirds of the columns, one in the
    last (`vm/mpc/replicated_product.h`); narrow ones it needs twice."""
    *matrices, rows, columns = v.shape
    if columns < PANEL or ring > WIDEST_PACKED:
        return _words(v)
    once = columns if v.sharing is Sharing.PUB else columns // 3 - PANEL if columns >= 3 * PANEL else 0
    element = max(LEAST_PACKED, -(-ring // 8))
    return prod(matrices) * _up(rows, DEPTH) * _up(2 * columns - once, PANEL) * element


def _up(n: int, to: int) -> int:
    return -(-n // to) * to
