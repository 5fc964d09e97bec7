"""The rows of faults.csv as a table for docs/deployment.md."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from processes.federation import COORDINATOR
from processes.service import ENGINES, PARTIES
from survival.cells import Row
from survival.faults import FAULTS

KINDS = {
    "coordinator": (COORDINATOR,), "data owner": ("data owner",), "model owner": ("model owner",), "a party": PARTIES
}  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """One line per engine and kind of process: in how many cells the run went on, and when it ended in others."""
    lines = ["| engine | process | " + " | ".join(FAULTS) + " |", "|---" * (2 + len(FAULTS)) + "|"]
    for engine in ENGINES:
        for kind, roles in KINDS.items():
            of_kind = [row for row in rows if row.engine == engine and row.process in roles]
            parts = [_cell([row for row in of_kind if row.fault == fault]) for fault in FAULTS]
            if of_kind:
                lines.append(f"| {engine} | {kind} | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[Row]) -> str:
    ended = [row for row in rows if row.outcome.startswith("exit")]
    parts = [f"{len(rows) - len(ended)} went on"] if len(rows) > len(ended) else []
    parts += [f"{len(ended)} ended within {ceil(max(row.seconds for row in ended))} s"] if ended else []
    wrong = sum(row.verdict != "as documented" for row in rows)
    parts += [f"**{wrong} not as documented**"] if wrong else []
    return "; ".join(parts) or "–"
