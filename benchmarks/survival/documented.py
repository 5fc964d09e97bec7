"""What docs/deployment.md says of each cell: whether the run goes on or has to be resumed, and within which seconds."""

from __future__ import annotations

from dataclasses import dataclass

from processes.federation import COORDINATOR
from processes.service import PARTIES, ROLES, EngineName
from survival.faults import FAULTS

PHASES = ("start", "weights", "examples", "in a step", "between steps", "test", "end")
SLACK = 10.0
"""Seconds that a busy machine adds, and an owner takes to write its message."""


@dataclass(frozen=True)
class Cell:
    """One process, at one time, and what happens to it."""

    engine: EngineName
    role: str
    phase: str
    fault: str

    def __str__(self) -> str:
        return f"{self.engine}, {self.role}, {self.phase}: {self.fault}"


@dataclass(frozen=True)
class Documented:
    """What may become of the run that is waited for (the model owner's, or the data owner's)."""

    goes_on: bool
    """Without anybody's doing."""
    ends: bool
    """With exit code 3, or by the fault itself, and is begun again."""
    seconds: float
    """Until it ends, where it does."""


def documented(cell: Cell) -> Documented:
    """The table of "What happens when something dies"."""
    party, embedded = cell.role in PARTIES, cell.engine != "mp-spdz"
    if cell.fault == "delay":
        return Documented(True, False, 0)
    if cell.fault in ("SIGKILL", "SIGTERM"):
        if not embedded and cell.phase == "weights" and cell.role != "data owner":
            return Documented(True, True, 60 + SLACK)  # the data owner tries until both are there again
        if not party:
            return Documented(cell.phase == "end", True, 5 + SLACK)
        return Documented(cell.phase in ("start", "end"), True, (10 if embedded else 60) + SLACK)
    if cell.fault == "disk full":
        # A party writes its log alone; MP-SPDZ's its compiled program too, before it serves.
        return Documented(True, cell.role in ("data owner", COORDINATOR) or (party and not embedded), 5 + SLACK)
    if cell.fault == "cut":
        return Documented(True, True, (10 if embedded else 60) + SLACK)
    return Documented(True, True, (30 if not party else 20 if embedded else 60) + SLACK)


def matrix() -> list[Cell]:
    """All cells there are. The model owner has gone once the weights are shared; the data owner of the embedded engine
    comes after that, the one of MP-SPDZ waits for them. Several data owners: what is not as with one.
    """
    engines: tuple[EngineName, ...] = ("embedded", "mp-spdz")
    several = [
        Cell("owners", role, phase, fault)
        for role in (COORDINATOR, "data owner")
        for phase in ("in a step", "between steps", "end")
        if not (role == "data owner" and phase == "end")
        for fault in FAULTS
    ]
    return several + [
        Cell(engine, role, phase, fault)
        for engine in engines
        for role in ROLES
        for phase in PHASES
        if not (role == "model owner" and phase not in ("start", "weights"))
        if not (role == "data owner" and phase == "weights" and engine == "embedded")
        for fault in FAULTS
    ]
