"""Order a ring program so that independent communication shares rounds, and drop what no output needs."""

from __future__ import annotations

from dataclasses import replace

from ..plan.graph import Stage
from .operations import COMMUNICATING, INPUTS
from .program import RingProgram, RingValue


def schedule(program: RingProgram) -> RingProgram:
    """The same program, stage by stage; within a stage by *level*, the number of communicating operations before a
    value.

    All communicating operations of one level form a group, whose rounds run side by side. Local operations come as
    late as their first reader allows, which keeps memory short. Value ids are renumbered.
    """
    live = program.needed(program.outputs)
    when, level = _levels(program)
    order: list[int] = []
    group: dict[int, int] = {}
    placed: set[int] = set()

    def place(i: int) -> None:
        if i not in placed:
            placed.add(i)
            for j in program[i].inputs:
                place(j)
            order.append(i)

    for kind in INPUTS:
        for v in program.inputs(kind):
            if v.id in live:
                place(v.id)
    groups = 0
    for stage in (Stage.SETUP, Stage.EXAMPLE, Stage.CANDIDATE, Stage.PAIR):
        members = [v for v in program if when[v.id] == stage and v.id in live]
        talking = [v for v in members if v.kind in COMMUNICATING]
        for step in sorted({level[v.id] for v in talking}):
            together = [v for v in talking if level[v.id] == step]
            for v in together:
                for j in v.inputs:
                    place(j)
            for v in together:
                group[v.id] = groups
                place(v.id)
            groups += 1
        for v in members:
            place(v.id)
    number = {old: new for new, old in enumerate(order)}
    values = [_renumbered(program[old], number, group.get(old)) for old in order]
    outputs = [
        replace(o, value=number[o.value], keep=None if o.keep is None else number[o.keep]) for o in program.outputs
    ]
    return RingProgram(values, outputs, program.fits)


def _levels(program: RingProgram) -> tuple[dict[int, int], dict[int, int]]:
    """By value the stage it is computed in, and its level there."""
    when: dict[int, int] = {}
    level: dict[int, int] = {}
    for v in program:
        # a sum over examples is a candidate's value, but comes after the pairs it sums
        when[v.id] = max([int(v.stage), *(when[i] for i in v.inputs)])
        before = max((level[i] for i in v.inputs if when[i] == when[v.id]), default=0)
        level[v.id] = before + (v.kind in COMMUNICATING)
    return when, level


def _renumbered(v: RingValue, number: dict[int, int], group: int | None) -> RingValue:
    attrs = v.attrs if group is None else {**v.attrs, "group": group}
    return replace(v, id=number[v.id], inputs=tuple(number[i] for i in v.inputs), attrs=attrs)
