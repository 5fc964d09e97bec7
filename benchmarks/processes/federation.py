"""The processes of a search on two data owners' examples: theirs, the coordinator's, and the parties'."""

from __future__ import annotations

from pathlib import Path

from processes.service import PARTIES, Process, Service

HOSPITALS = {"data owner": "mercy", "other data owner": "north"}
"""Names of the owners, by role."""
COORDINATOR = "coordinator"
ITS_NAME = "board"


class Federation(Service):
    """Owners that stay, and a coordinator that searches."""

    searcher = COORDINATOR
    clients = (COORDINATOR, *HOSPITALS, "model owner")
    roles = (*clients, *PARTIES)

    def start_owners(self) -> None:
        """Start those that are not there; one that was begins again with its log."""
        absent = [role for role in HOSPITALS if role not in self.processes or not self.processes[role].running]
        for role in absent:
            words = ["--owner", HOSPITALS[role], "--run", self.disks[role] / f"log of {role}", *self.prepared.owners]
            self._start(role, "join", *words)
        for role in absent:
            if not self.processes[role].says("joined ", 60):
                raise RuntimeError(f"{role} does not join: {self.processes[role].lines[-3:]}")

    def start_search(self) -> Process:
        """As the coordinator does."""
        if (self.run / "options.json").exists():
            return self._start(COORDINATOR, "tune", "--resume", self.run, common=False)
        return self._start(COORDINATOR, "tune", *self.prepared.data, "--run", self.run)

    def needs_weights(self, lost: bool) -> bool:
        """Weights that come again would begin a new count, and send the owners away."""
        return lost

    def _deployment_lines(self, certificates: Path) -> list[str]:
        names = ", ".join(f'"{name}"' for name in HOSPITALS.values())
        return [*super()._deployment_lines(certificates), f"data_owners = [{names}]", f'coordinator = "{ITS_NAME}"']
