"""Memory that one party needs for its shares, at most: what the VM keeps from step to step, and takes meanwhile."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, groupby
from math import prod

from .native.defaults import AHEAD_MB, AMPLE_MB, IDLE_MB, LANES, TILE_WORDS
from .plan.graph import Stage
from .ring.cost import generation_cost, traffic
from .ring.operations import COMMUNICATING
from .ring.program import RingProgram, RingValue, Sharing

WIDEST_PACKED = 52
"""Bits: not every processor packs factors of wider rings."""
LEAST_PACKED = 4
"""Bytes of an element: Intel's AMX has whole bytes, and no fewer."""
PANEL, DEPTH = 16, 64
"""Columns and rows that a packed matrix is padded to, at most."""
LIVE_VALUES = 4
"""Values of a tile's largest size that the example stage may hold at one time (`kLiveValues` there)."""
PROCESS = 20 << 20
"""Bytes of a party that holds nothing: code, tables of phasors, TLS."""
IDLE_SHARE = 1.5
"""Memory not in use beside what tiles take, as a share of that: steps differ in the sizes they take. Measured in the
default run: 1.4."""


def loading_bytes(program: RingProgram, examples: int, kept: int) -> int:
    """What a party takes while a set of so many examples arrives: what it keeps meanwhile, their inputs, and the tiles
    that it computes at the same time."""
    given = examples * 16 * sum(v.size for v in program.inputs("example"))
    return _with_tiles(program, Stage.EXAMPLE, 1, examples, PROCESS + kept + given)


def step_bytes(program: RingProgram, candidates: int, examples: int, kept: int) -> int:
    """What a party takes in a step: what it keeps, tiles, and what is dealt ahead."""
    ahead = ahead_bytes(program, candidates, examples)
    return _with_tiles(program, Stage.PAIR, candidates, examples, PROCESS + kept + ahead)


def ahead_bytes(program: RingProgram, candidates: int, examples: int) -> int:
    """Tuples that are dealt to a party between such steps."""
    return min(AHEAD_MB << 20, generation_cost(program, candidates, examples).corrections // 3)


def _with_tiles(program: RingProgram, stage: Stage, candidates: int, examples: int, rest: int) -> int:
    """The rest, tiles of a stage in all lanes at once, and memory that was in use shortly before
    (`vm/mpc/engine.cpp`)."""
    values = [v for v in program if v.stage == stage and v.inputs]
    if not values:
        return rest
    largest, (live, busy) = max(v.size for v in values), _live_bytes(program, values)
    brought = 0
    if stage == Stage.EXAMPLE:
        largest = max(largest, live // 8 // LIVE_VALUES)
    else:
        brought = _brought_bytes(program, values)
    tile = max(1, min(TILE_WORDS // LANES // largest, -(-candidates * examples // LANES)))
    taken = min(candidates * examples, LANES * tile) * busy + min(examples, LANES * tile) * brought
    idle = max(IDLE_MB << 20, (AMPLE_MB << 20) - rest - taken)
    return rest + taken + min(round(IDLE_SHARE * taken), idle)


def _live_bytes(program: RingProgram, values: list[RingValue]) -> tuple[int, int]:
    """The most of one instance's values that is there at one time (`vm/mpc/footprint.cpp`), and the same with what a
    round sends a party. What stays is left out once nothing else reads it: it has its place elsewhere."""
    own = {v.id for v in values}
    last = {i: v.id for v in values for i in v.inputs if i in own}
    now = live = busy = 0
    for _, group in groupby(values, lambda v: v.attrs["group"] if v.kind in COMMUNICATING else -v.id - 1):
        made = list(group)
        now += sum(map(_words, made))
        sent = sum(program[v.inputs[0]].size * traffic(program, v).bits for v in made if v.kind in COMMUNICATING)
        live, busy = max(live, now), max(busy, now + sent // 24)
        ending = {i for v in made for i in (*v.inputs, v.id) if i in own and last.get(i, i) <= made[-1].id}
        now -= sum(_words(program[i]) for i in ending)
    return live, busy


def _brought_bytes(program: RingProgram, values: list[RingValue]) -> int:
    """The most of one example's kept values that pairs read at one time: each is unpacked at its first use, and freed
    after its last."""
    uses: dict[int, tuple[int, int]] = {}
    for at, v in enumerate(values):
        for i in v.inputs:
            if program[i].stage == Stage.EXAMPLE and program[i].kind != "state":
                uses[i] = (uses.get(i, (at, at))[0], at)
    changes = Counter[int]()
    for i, (first, last) in uses.items():
        changes[first] += _words(program[i])
        changes[last + 1] -= _words(program[i])
    return max(accumulate(changes[at] for at in range(len(values))))


def kept_bytes(program: RingProgram, stage: Stage) -> int:
    """Memory for a stage's values (one instance) that stay from step to step: those that a later stage reads.

    A replicated value has two parts. Weights that products alone read are packed for these (`packed_rings`); of what
    stays of an example the bits of its ring are (`vm/mpc/example_sets.h`).
    """
    kept = {o.value for o in program.outputs} | {i for v in program for i in v.inputs if program[i].stage != v.stage}
    if stage == Stage.SETUP:
        kept |= {v.id for v in program.inputs("weight")}
    values = [v for v in program if v.stage == stage and v.id in kept]
    if stage == Stage.EXAMPLE:
        return sum(map(_kept, values))
    rings = packed_rings(program)
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
    return 8 * v.size * _parts(v)


def _kept(v: RingValue) -> int:
    """Words of a state, which steps write into; else packed bits."""
    return _words(v) if v.kind == "state" else 8 * -(-v.size * v.ring // 64) * _parts(v)


def _parts(v: RingValue) -> int:
    return 2 if v.sharing is Sharing.REP else 1


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
