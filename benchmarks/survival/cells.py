"""One cell of the matrix: a run, a fault in it, and everything that has to hold afterwards."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from processes.federation import Federation
from processes.service import PARTIES, Prepared, Process, Service
from survival.documented import Cell, documented
from survival.faults import disks, inflicted

GENERATIONS = 2
GATE = 6000
"""Bytes to party 1 after which its message is held: behind the handshake, within the weights or examples."""
FINISH_SECONDS = 240.0
ENDED_SECONDS = 15.0
"""Within which a process that was told to end has ended, also one that is busy with its imports."""
AGAIN_SECONDS = 5
"""After which a data owner without weights has lost them: it hears a moment later than the model owner that they are
shared."""
TOLERANCE = 0.02
"""Between a generation's losses under shares, twice: rounding is drawn anew."""


@dataclass(frozen=True)
class Row:
    """What became of a cell."""

    engine: str
    process: str
    phase: str
    fault: str
    outcome: str
    seconds: float
    """From the fault to the end of the run that it ended; 0 where it went on."""
    parties: str
    """Their exit codes; a dash for one that runs on."""
    message: str
    verdict: str
    """`as documented`, or what was not."""
    commit: str = ""

    def __str__(self) -> str:
        where = f"{self.engine}, {self.process}, {self.phase}: {self.fault}"
        return f"{where}: {self.outcome} ({self.seconds:.1f} s; parties {self.parties}): {self.verdict}"


class WrongError(Exception):
    """Something that must not be."""


def run_cell(cell: Cell, prepared: Prepared, folder: Path, expected: list[float], commit: str = "") -> Row:
    """Run it; `expected`: the first generation's losses of a run that nothing happens to (empty: not known).

    Raises NoDiskError where the fault needs a disk that cannot be had.
    """
    folder.mkdir(parents=True)
    kind = kind_of(prepared)
    with disks(folder, kind.roles) as (places, refused):
        if refused and cell.fault == "disk full":
            raise NoDiskError(refused)
        service = kind(prepared, folder, places)
        outcome, seconds, codes, message, verdict = "", 0.0, "", "", ""
        try:
            try:
                outcome, seconds, codes, message = _suffer(service, cell)
                _recover(service)
                _check(service, cell, outcome, seconds, expected)
            except WrongError as wrong:
                verdict = str(wrong)
        finally:
            orphans = service.close()
        if orphans:
            verdict = f"left behind: {orphans[0]}"
        return Row(
            cell.engine, cell.role, cell.phase, cell.fault, outcome, seconds, codes, message,
            verdict or "as documented", commit,
        )  # fmt: skip


def kind_of(prepared: Prepared) -> type[Service]:
    """Whose processes there are."""
    return Federation if prepared.engine == "owners" else Service


class NoDiskError(Exception):
    """No file system of a size of its own can be had here."""


def losses(run: Path) -> list[float]:
    """Of the first generation."""
    (line, *_) = (run / "history.jsonl").read_text().splitlines()
    return list(json.loads(line)["losses"])


def _suffer(service: Service, cell: Cell) -> tuple[str, float, str, str]:
    """Bring the run to the phase, do it, and see what becomes of it: outcome, seconds, parties' codes, a message."""
    client = _reach(service, cell)
    began, ended = time.monotonic(), dict[str, float]()
    for role, each in service.processes.items():
        each.when_ended(lambda role=role: ended.setdefault(role, time.monotonic()))
    with inflicted(cell.fault, service, cell.role):
        for role in service.clients:
            for wire in service.network.wires(role, "party 1"):
                wire.open()
        if cell.phase == "between steps" and (cell.role, cell.fault) != (service.searcher, "SIGSTOP"):
            service.processes[service.searcher].signal(signal.SIGCONT)
    if client is None:
        code = service.processes[cell.role].wait(ENDED_SECONDS if cell.fault == "SIGTERM" else 1.0)
        return ("restarted" if code is not None else "goes on"), 0.0, _codes(service), ""
    if cell.phase == "weights" and service.prepared.engine == "mp-spdz" and cell.role != client:
        _begin_again(service, cell.role)  # owners wait for it
    process = service.processes[client]
    code = _end(service, process)
    seconds = ended.get(client, time.monotonic()) - began
    if code is None:
        raise WrongError(f"{client} neither ended nor went on in {FINISH_SECONDS:.0f} s: {process.lines[-1:]}")
    said = [line for line in process.lines if line.startswith(("error:", "terminated"))]
    time.sleep(0.5)  # for parties that go as well
    if code == 0:
        return "goes on", 0.0, _codes(service), ""
    return f"exit {code}", seconds, _codes(service), said[-1] if said else ""


def _end(service: Service, process: Process) -> int | None:
    """Its exit code; None if it does not end in time. MP-SPDZ's data owner waits for weights that are for its session:
    the model owner shares them as often as they are lost, but not while a session has them (which would end it).
    """
    waited, deadline = 0, time.monotonic() + FINISH_SECONDS
    while (code := process.wait(1.0)) is None and time.monotonic() < deadline:
        if service.prepared.engine != "mp-spdz" or process is not service.processes.get("data owner"):
            continue
        model_owner = service.processes.get("model owner")
        served = (model_owner and model_owner.running) or process.says("weights  shared", 0)
        waited = 0 if served else waited + 1
        if not model_owner or waited > AGAIN_SECONDS:
            service.start_model_owner()
    return code


def _begin_again(service: Service, role: str) -> None:
    """As its operator does who sees that it has ended without having done what it was for."""
    if service.processes[role].wait(2.0):
        service.start_model_owner() if role == "model owner" else service.start_parties()


def _reach(service: Service, cell: Cell) -> str | None:
    """Start things in their order, up to the phase; the role whose run it interrupts, None where there is none yet."""
    remote = service.prepared.engine == "mp-spdz"
    if cell.phase == "start" and cell.role in PARTIES:
        service.start_party(cell.role)
        time.sleep(1.0)
        return None
    service.start_parties()
    if cell.phase == "start":
        service.start_model_owner() if cell.role == "model owner" else service.start_search()
        time.sleep(0.7)
        return None
    gated = service.network.wire("model owner" if cell.phase == "weights" else "data owner", "party 1")
    if cell.phase in ("weights", "examples"):
        gated.gate(GATE)
    model_owner = service.start_model_owner()
    if cell.phase == "weights" and not remote:
        _expect(gated.wait_at_gate(60), "the weights were not sent", service)
        return "model owner"
    if not remote:
        _expect(model_owner.wait(60) == 0, "the weights were not shared", service)
    service.start_owners()
    searcher = service.start_search()
    if cell.phase in ("weights", "examples"):
        _expect(gated.wait_at_gate(60), f"the {cell.phase} were not sent", service)
        return service.searcher
    last = GENERATIONS if cell.phase in ("test", "end") else 1
    _expect(searcher.says(f"generation {last}/", 120), f"generation {last} did not come", service)
    if cell.phase == "between steps":
        searcher.signal(signal.SIGSTOP)
        time.sleep(1.5)
    if cell.phase == "end":
        deadline = time.monotonic() + 60
        while not (service.run / "prompt.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.002)
    return service.searcher


def _expect(holds: bool, otherwise: str, service: Service) -> None:
    if not holds:
        said = {role: process.lines[-1:] for role, process in service.processes.items()}
        raise WrongError(f"before the fault: {otherwise}: {said}")


def _codes(service: Service) -> str:
    codes = [service.processes[role].wait(0) if role in service.processes else None for role in PARTIES]
    return " ".join("-" if code is None else str(code) for code in codes)


def _recover(service: Service) -> None:
    """As docs/deployment.md says: start what has ended, the weights, and `--resume`."""
    embedded = service.prepared.engine != "mp-spdz"
    lost = [role for role in PARTIES if role not in service.processes or not service.processes[role].running]
    if embedded and lost and len(service.processes) > 1 and service.searcher in service.processes:
        for role in PARTIES:  # a loss that the others have yet to notice
            if role not in lost and service.processes[role].wait(30) is None:
                raise WrongError(f"{role} runs on without {', '.join(lost)}")
    service.start_parties()
    searcher = service.processes.get(service.searcher)
    if searcher and searcher.running:
        _expect(_end(service, searcher) is not None, f"the {service.searcher} does not end", service)
    for _ in range(3):
        if (service.run / "result.json").exists() and searcher and searcher.wait(0) == 0:
            return
        model_owner = service.processes.get("model owner")
        failed = embedded and model_owner and model_owner.wait(60)  # it ends once it has shared, or was told to
        if not model_owner or failed or (not model_owner.running and service.needs_weights(bool(lost))):
            model_owner = service.start_model_owner()
        if embedded:
            _expect(model_owner.wait(60) == 0, "the weights were not shared afterwards", service)
        service.start_owners()
        searcher = service.start_search()
        if _end(service, searcher) is None:
            raise WrongError(f"--resume did not end in {FINISH_SECONDS:.0f} s: {searcher.lines[-1:]}")
    raise WrongError(f"--resume did not give the run: {searcher.lines[-2:] if searcher else ''}")


def _check(service: Service, cell: Cell, outcome: str, seconds: float, expected: list[float]) -> None:
    said = documented(cell)
    if outcome == "goes on" and not said.goes_on:
        raise WrongError("it went on")
    if outcome.startswith("exit"):
        if not said.ends:
            raise WrongError(f"it ended: {outcome}")
        if seconds > said.seconds:
            raise WrongError(f"it ended after {seconds:.0f} s, documented are {said.seconds:.0f}")
    lines = [json.loads(line) for line in (service.run / "history.jsonl").read_text().splitlines()]
    if [line["generation"] for line in lines] != list(range(1, GENERATIONS + 1)):
        raise WrongError(f"generations {[line['generation'] for line in lines]}")
    if expected and not np.allclose(losses(service.run), expected, atol=TOLERANCE):
        raise WrongError(f"losses {losses(service.run)}, expected {expected}")


def undisturbed(prepared: Prepared, folder: Path) -> list[float]:
    """The first generation's losses of a run that nothing happens to. Raises WrongError."""
    folder.mkdir(parents=True)
    kind = kind_of(prepared)
    service = kind(prepared, folder, dict.fromkeys(kind.roles, folder))
    try:
        _recover(service)
        return losses(service.run)
    finally:
        service.close()
