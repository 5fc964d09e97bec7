"""Dead rows of encoder layers: a layer computes only the output rows that somebody reads."""

from __future__ import annotations

from .graph import Plan, Value

POOLS = ("first_row", "select_row", "mean_rows", "token_rows")


def pooled_by(plan: Plan, layer: Value) -> Value | None:
    """The choice of rows that alone reads a layer's output, None where other values read it or all rows count."""
    readers = [value for value in plan if layer.id in value.inputs]
    return readers[0] if len(readers) == 1 and readers[0].kind in POOLS else None
