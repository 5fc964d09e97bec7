"""What a ring program costs: bytes and rounds exactly as the VM counts them, and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from ..plan.graph import Stage
from .operations import COMMUNICATING, OPERATIONS
from .program import RingProgram, RingValue, Sharing
from .traffic import SILENT, Traffic, comparison

SEEDS = 4 * 16
"""Bytes that sharing takes besides values: two seeds, each for two parties."""


@dataclass(frozen=True)
class Estimate:
    """Bytes over all parties, communication rounds, multiply-accumulates over all parties (two ring products each)."""

    bytes: int = 0
    rounds: int = 0
    macs: int = 0
    corrections: int = 0
    """Of the bytes those that depend on no input: shares of randomness that another party knows."""

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def traffic(program: RingProgram, v: RingValue) -> Traffic:
    """What a value's operation sends for one element of its input."""
    rule = OPERATIONS[v.kind].traffic
    return rule(program.use(v)) if rule else SILENT


def macs(program: RingProgram, v: RingValue) -> int:
    """Ring multiply-accumulates of one instance at all three parties."""
    if v.kind != "matmul":
        return 0
    inputs = [program[i] for i in v.inputs]
    # a party multiplies its two parts of a replicated matrix, or its one part of an additive one
    products = 2 if any(x.sharing is Sharing.REP for x in inputs) else 1
    return 3 * products * v.size * inputs[0].shape[-1]


def _sent(program: RingProgram, v: RingValue, instances: int) -> Estimate:
    """Bytes and multiply-accumulates of a value, evaluated for that many instances at once; no rounds."""
    elements = program[v.inputs[0]].size * instances if v.kind in COMMUNICATING else 0
    each = traffic(program, v)
    sent, corrections = (-(-elements * bits // 8) for bits in (each.bits + each.checks, each.corrections + each.checks))
    return Estimate(bytes=sent, macs=macs(program, v) * instances, corrections=corrections)


def _rounds(program: RingProgram, values: Iterable[RingValue]) -> int:
    """Rounds of some values: those of a group run side by side."""
    groups: dict[int, int] = {}
    for v in values:
        if v.kind in COMMUNICATING:
            groups[v.attrs["group"]] = max(groups.get(v.attrs["group"], 0), traffic(program, v).rounds)
    return sum(groups.values())


def stage_cost(program: RingProgram, stage: Stage, instances: int) -> Estimate:
    """One pass over a stage with that many instances, evaluated in one tile; of a scheduled program. What only kept
    outputs need is left out: it is computed once."""
    opened = program.needed(o for o in program.outputs if o.keep is None)
    values = [v for v in program if v.stage == stage and v.id in opened]
    sent = sum((_sent(program, v, instances) for v in values), Estimate())
    return sent + Estimate(rounds=_rounds(program, values))


def generation_cost(program: RingProgram, candidates: int, examples: int) -> Estimate:
    """One step: the candidate stage once per candidate, the pair stage for all pairs, in one tile; and the parties'
    comparison of what they hold, before the result leaves."""
    pairs = stage_cost(program, Stage.PAIR, candidates * examples)
    compared = comparison()
    end = Estimate(bytes=compared.data // 8, rounds=compared.rounds)
    return stage_cost(program, Stage.CANDIDATE, candidates) + pairs + end


def site_costs(program: RingProgram, candidates: int, examples: int) -> dict[str, tuple[int, Estimate]]:
    """Per part of the model: secret parameters, and what one generation costs there (rounds as if the part ran
    alone)."""
    instances = {Stage.SETUP: 0, Stage.EXAMPLE: 0, Stage.CANDIDATE: candidates, Stage.PAIR: candidates * examples}
    sites: dict[str, list[RingValue]] = {}
    opened = program.needed(o for o in program.outputs if o.keep is None)
    for v in program:
        if v.id in opened or v.kind == "weight":
            sites.setdefault(v.site, []).append(v)
    result = {}
    for site, values in sites.items():
        parameters = sum(v.size for v in values if v.kind == "weight")
        sent = sum((_sent(program, v, instances[v.stage]) for v in values), Estimate())
        rounds = _rounds(program, [v for v in values if instances[v.stage]])
        result[site] = parameters, sent + Estimate(rounds=rounds)
    return result


def uploaded_bytes(program: RingProgram, kind: str, instances: int = 1) -> int:
    """What an owner sends all parties to share that many instances of all inputs of a kind (docs/wire.md, "Shares"):
    what is left of the values behind two seeds, packed to their rings, goes to two parties."""
    return SEEDS + 2 * sum(-(-v.size * instances * v.ring // 8) for v in program.inputs(kind))
