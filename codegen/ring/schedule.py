"""Order a ring program so that independent communication shares rounds, and drop what no output needs."""

from __future__ import annotations

from ..plan.graph import Plan, Stage, Value

COMMUNICATING = frozenset({"trunc", "reshare", "cos_sin", "fourier"})


def schedule(plan: Plan) -> Plan:
    """The same program, stage by stage; within a stage by *level*, the number of communicating operations before a
    value.

    All communicating operations of one level form a group, whose rounds run side by side. Local operations come as
    late as their first reader allows, which keeps memory short. Value ids are renumbered.
    """
    live = _live(plan)
    level: dict[int, int] = {}
    when: dict[int, int] = {}
    for v in plan:
        # a sum over examples is a candidate's value, but comes after the pairs it sums
        when[v.id] = max([int(v.stage), *(when[i] for i in v.inputs)])
        before = max((level[i] for i in v.inputs if when[i] == when[v.id]), default=0)
        level[v.id] = before + (v.kind in COMMUNICATING)
    order: list[int] = []
    group: dict[int, int] = {}
    placed: set[int] = set()

    def place(i: int) -> None:
        if i not in placed:
            placed.add(i)
            for j in plan[i].inputs:
                place(j)
            order.append(i)

    for kind in ("weight", "public", "example", "candidate"):
        for v in plan.inputs(kind):
            if v.id in live:
                place(v.id)
    groups = 0
    for stage in (Stage.SETUP, Stage.EXAMPLE, Stage.CANDIDATE, Stage.PAIR):
        members = [v for v in plan if when[v.id] == stage and v.id in live]
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
    values = [_renumbered(plan[old], number, group.get(old)) for old in order]
    outputs = [type(o)(o.name, number[o.value], o.max_candidates) for o in plan.outputs]
    return Plan(values, outputs, meta=plan.meta)


def _live(plan: Plan) -> set[int]:
    live = {o.value for o in plan.outputs}
    for v in reversed(plan.values):
        if v.id in live:
            live.update(v.inputs)
    return live


def _renumbered(v: Value, number: dict[int, int], group: int | None) -> Value:
    attrs = v.attrs if group is None else {**v.attrs, "group": group}
    return Value(**{**v.__dict__, "id": number[v.id], "inputs": tuple(number[i] for i in v.inputs), "attrs": attrs})
