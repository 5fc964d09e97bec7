"""A ring program as text (docs/program.md, "Ring program: text format")."""

from __future__ import annotations

from .header import FIRST_LINE
from .program import RingProgram, RingValue, noise_units


def program_text(program: RingProgram) -> str:
    """The program file of a scheduled program; deterministic."""
    lines = [FIRST_LINE]
    lines += [f"fit {i} {fit.text()}" for i, fit in enumerate(program.fits)]
    lines += [_line(v) for v in program]
    for o in program.outputs:
        keys = {
            "ring": program[o.value].ring, "max_candidates": o.max_candidates, "max_opened": o.max_opened,
            "keep": o.keep, "noise": noise_units(program, o) or None, "min_owners": o.min_owners,
        }  # fmt: skip
        lines.append(f"out {o.name} {o.value}" + "".join(f" {k}={n}" for k, n in keys.items() if n is not None))
    return "\n".join([*lines, "end", ""])


def _line(v: RingValue) -> str:
    shape = "x".join(map(str, v.shape))
    inputs = ",".join(map(str, v.inputs)) or "-"
    keys = "".join(f" {k}={_text(x)}" for k, x in v.attrs.items())
    return f"v {v.id} {v.stage.label} {v.sharing.value} {v.scale} {shape} {v.kind} {inputs}{keys}"


def _text(x: object) -> str:
    return ",".join(map(str, x)) if isinstance(x, tuple) else str(x)
