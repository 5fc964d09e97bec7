"""Rotary positions in the ring: R x = x∘cos + swap(x)∘sin with public tables, before a truncation that is due anyway.

The tables stand in the program's text, and so in its hash: parties that computed cosines themselves might round them
otherwise.
"""

from __future__ import annotations

from typing import Any

from ...model.decoders.rope import Rope
from ...ring.builder import RingBuilder

TURNED = 14
"""Scale of cosines and sines: they err by 3e-5."""


def rotated(r: RingBuilder, x: int, rope: dict[str, Any] | None, rows: int, *, steps: int = 0) -> int:
    """Rows `[n, heads, D]`, the last n of `rows` slots, turned by their slots' numbers: at a scale larger by `TURNED`,
    additive where they are. Without `rope` as they are. `steps`: they are rows of a step, behind those slots, where
    there are so many for all steps."""
    if rope is None:
        return x
    n, dim = r[x].shape[0], r[x].shape[-1]
    tables = Rope(**rope).tables(rows + steps, dim)
    cos, sin = (
        r.table(f"rope.{name}.{rows + steps}x{dim}", table[:, None], TURNED)
        for name, table in zip(("cos", "sin"), tables, strict=True)
    )
    if steps:
        cos, sin = (r.window(r.slice(table, -3, rows, rows + steps), n) for table in (cos, sin))
    else:
        cos, sin = (r.slice(table, -3, rows - n, rows) for table in (cos, sin))
    swapped = r.concat((r.slice(x, -1, dim // 2, dim), r.slice(x, -1, 0, dim // 2)), -1)
    bound = 1.5 * r[x].bound  # a pair turns within its circle
    return r.declare(r.add(r.mul(x, cos), r.mul(swapped, sin)), bound=bound)
