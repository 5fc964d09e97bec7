"""The same ring program without stages, as a system that does not know them runs it: what staging saves is measured,
and tested, against this."""

from __future__ import annotations

from dataclasses import replace

from .operations import OPERATIONS
from .program import WORD, RingProgram, RingValue
from .schedule import schedule


def unstaged(program: RingProgram) -> RingProgram:
    """A scheduled program in which every value that depends on an example is computed for every pair of candidate and
    example.

    Example inputs become a pair's by adding zero times the candidate's first coordinate.
    """
    result = RingProgram(fits=program.fits)
    new: dict[int, int] = {}

    def put(v: RingValue, inputs: tuple[int, ...], **changes: object) -> int:
        v = replace(v, id=len(result.values), inputs=inputs, **changes)  # type: ignore[arg-type]
        fixed = OPERATIONS[v.kind].stage
        stage = result.joined_stage(inputs) if fixed is None else fixed
        attrs = {key: x for key, x in v.attrs.items() if key != "group"}
        result.values.append(replace(v, stage=stage, attrs=attrs))
        return v.id

    for v in program:
        if not v.inputs:
            new[v.id] = put(v, ())
    z = result.inputs("candidate")[0]
    one = put(z, (z.id,), kind="slice", shape=(1,), attrs={"axis": -1, "lo": 0, "hi": 1})
    for v in program.inputs("example"):
        zero = put(v, (one,), kind="scale", shape=(1,), attrs={"by": 0}, ring=WORD)
        new[v.id] = put(v, (new[v.id], zero), kind="add", attrs={})
    for v in program:
        if v.inputs:
            new[v.id] = put(v, tuple(new[i] for i in v.inputs))
    result.outputs = [replace(o, value=new[o.value]) for o in program.outputs if o.keep is None]
    return schedule(result)
