"""What a ring program costs: bytes and rounds exactly as the VM counts them, and multiply-accumulates."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import prod

from ..plan.graph import Plan, Sharing, Stage, Value
from ..series.fits import Fit
from .schedule import COMMUNICATING


@dataclass(frozen=True)
class Cost:
    """Bytes over all parties, communication rounds, multiply-accumulates over all parties (two ring products each)."""

    bytes: int = 0
    rounds: int = 0
    macs: int = 0
    corrections: int = 0
    """Of the bytes those that depend on no input: shares of randomness that another party knows."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def rounds(v: Value, fits: list[Fit]) -> int:
    """Rounds of one operation on its own."""
    if v.kind == "fourier":
        return 3 if fits[v.attrs["fit"]].format.ring_bits == 32 else 2
    return {"trunc": 3, "reshare": 1, "cos_sin": 2}.get(v.kind, 0)


def bits_per_value(v: Value, fits: list[Fit]) -> int:
    """Bits that all parties together send for one element of the input (docs/protocols.md)."""
    if v.kind == "trunc":
        return 194 + int(v.attrs["shift"])
    if v.kind == "reshare":
        return 192
    if v.kind == "cos_sin":
        # opening, one complex harmonic, two results reshared between two parties
        return 4 * int(v.attrs["k"]) + 128 + 2 * 128
    if v.kind == "fourier":
        fit: Fit = fits[v.attrs["fit"]]
        lift = 34 if fit.format.ring_bits == 32 else 0
        return 4 * fit.format.phase_bits + 2 * fit.format.ring_bits * len(fit.m) + lift + 128
    return 0


def correction_bits(v: Value, fits: list[Fit]) -> int:
    """Of `bits_per_value` those that depend on no input: the wrap's product of one-time bits, rotated harmonics."""
    if v.kind == "trunc":
        return int(v.attrs["shift"])
    if v.kind == "cos_sin":
        return 128
    if v.kind == "fourier":
        fit: Fit = fits[v.attrs["fit"]]
        return 2 * fit.format.ring_bits * len(fit.m) + (32 if fit.format.ring_bits == 32 else 0)
    return 0


def macs(plan: Plan, v: Value) -> int:
    """Ring multiply-accumulates of one instance at all three parties."""
    if v.kind != "matmul":
        return 0
    pair = [plan[i].sharing.value for i in v.inputs]
    products = 2 if pair == ["rep", "rep"] else 2 if "rep" in pair else 1
    return 3 * products * prod(v.shape) * plan[v.inputs[0]].shape[-1]


def _traffic(v: Value, fits: list[Fit], elements: int) -> Cost:
    sent, corrections = (-(-elements * bits(v, fits) // 8) for bits in (bits_per_value, correction_bits))
    return Cost(bytes=sent, corrections=corrections)


def stage_cost(plan: Plan, fits: list[Fit], stage: Stage, instances: int) -> Cost:
    """One pass over a stage with that many instances, evaluated in one tile."""
    total = Cost()
    groups: dict[int, int] = {}
    for v in plan:
        if v.stage != stage:
            continue
        elements = plan[v.inputs[0]].size if v.kind in COMMUNICATING else 0
        total += _traffic(v, fits, elements * instances) + Cost(macs=macs(plan, v) * instances)
        if v.kind in COMMUNICATING:
            groups[v.attrs["group"]] = max(groups.get(v.attrs["group"], 0), rounds(v, fits))
    return total + Cost(rounds=sum(groups.values()))


def kept_bytes(plan: Plan, stage: Stage) -> int:
    """Memory that one party needs for shares of a stage's values (one instance) that stay from step to step: those that
    a later stage reads. A replicated value is two components of eight bytes."""
    kept = {o.value for o in plan.outputs} | {i for v in plan for i in v.inputs if plan[i].stage != v.stage}
    if stage == Stage.SETUP:
        kept |= {v.id for v in plan.inputs("weight")}
    return sum(8 * v.size * (2 if v.sharing is Sharing.REP else 1) for v in plan if v.stage == stage and v.id in kept)


def generation_cost(plan: Plan, fits: list[Fit], candidates: int, examples: int) -> Cost:
    """One step: the candidate stage once per candidate, the pair stage for all pairs, in one tile."""
    return stage_cost(plan, fits, Stage.CANDIDATE, candidates) + stage_cost(
        plan, fits, Stage.PAIR, candidates * examples
    )


def site_costs(plan: Plan, fits: list[Fit], candidates: int, examples: int) -> dict[str, tuple[int, Cost]]:
    """Per part of the model: secret parameters, and what one generation costs there (rounds as if the part ran
    alone)."""
    instances = {Stage.SETUP: 0, Stage.EXAMPLE: 0, Stage.CANDIDATE: candidates, Stage.PAIR: candidates * examples}
    result: dict[str, tuple[int, Cost]] = {}
    groups: dict[str, dict[int, int]] = {}
    for v in plan:
        parameters, cost = result.get(v.site, (0, Cost()))
        if v.kind == "weight":
            result[v.site] = (parameters + v.size, cost)
            continue
        elements = plan[v.inputs[0]].size * instances[v.stage] if v.kind in COMMUNICATING else 0
        if elements:
            own = groups.setdefault(v.site, {})
            own[v.attrs["group"]] = max(own.get(v.attrs["group"], 0), rounds(v, fits))
        cost += _traffic(v, fits, elements) + Cost(macs=macs(plan, v) * instances[v.stage])
        result[v.site] = (parameters, cost)
    return {
        site: (count, cost + Cost(rounds=sum(groups.get(site, {}).values()))) for site, (count, cost) in result.items()
    }
