"""The same ring program without stages, as a system that does not know them runs it: what staging saves is measured,
and tested, against this."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import or_

from ..plan.graph import Plan, Value
from .schedule import schedule


def unstaged(ring: Plan) -> Plan:
    """A scheduled program in which every value that depends on an example is computed for every pair of candidate and
    example.

    Example inputs become a pair's by adding zero times the candidate's first coordinate.
    """
    result = Plan(meta=ring.meta)
    new: dict[int, int] = {}

    def put(v: Value, inputs: tuple[int, ...], **changes: object) -> int:
        stage = v.stage
        if inputs and v.kind != "reduce_examples":
            stage = reduce(or_, (result[i].stage for i in inputs))
        attrs = {k: x for k, x in v.attrs.items() if k != "group"}
        fields = {"attrs": attrs, **changes, "id": len(result.values), "inputs": inputs, "stage": stage}
        result.values.append(replace(v, **fields))  # type: ignore[arg-type]
        return len(result.values) - 1

    for v in ring:
        if not v.inputs:
            new[v.id] = put(v, ())
    (z,) = result.inputs("candidate")
    one = put(z, (z.id,), kind="slice", shape=(1,), attrs={"axis": -1, "lo": 0, "hi": 1})
    for v in ring.inputs("example"):
        zero = put(v, (one,), kind="scale", shape=(1,), attrs={"by": 0})
        new[v.id] = put(v, (new[v.id], zero), kind="add", attrs={})
    for v in ring:
        if v.inputs:
            new[v.id] = put(v, tuple(new[i] for i in v.inputs))
    result.outputs = [replace(o, value=new[o.value]) for o in ring.outputs]
    return schedule(result)
