"""Five roles as processes of this machine, each with a deployment file, a disk and a network of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from secfwt.runtime.mpspdz.machines import HOST, local_addresses
from secfwt.runtime.parties.deployment import PartyAddress

from processes.network import Network

EngineName = Literal["embedded", "mp-spdz", "owners"]
ENGINES: tuple[EngineName, ...] = ("embedded", "mp-spdz", "owners")
"""`owners`: the embedded one, for several data owners (`federation.py`)."""
PARTIES = ("party 0", "party 1", "party 2")
OWNERS = ("data owner", "model owner")
ROLES = (*OWNERS, *PARTIES)
DELAYS = {"embedded": 0.002, "mp-spdz": 0.0005, "owners": 0.002}
"""Seconds of every wire where nothing else is said: a step of MP-SPDZ has hundreds of rounds."""
START_SECONDS = 120.0


class Process:
    """One process, and what it has written to its log."""

    def __init__(self, command: Sequence[str], log: Path, folder: Path, temporary: Path) -> None:
        self._log = log
        environment = {**os.environ, "TMPDIR": str(temporary), "COLUMNS": "200"}
        with log.open("ab") as out:
            self._begins = out.tell()
            self._popen = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._popen.pid

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        with self._log.open("rb") as log:
            log.seek(self._begins)
            return log.read().decode(errors="replace").splitlines()

    def says(self, text: str, seconds: float) -> bool:
        """Whether a line with that text comes within that time, before the process ends."""
        deadline = time.monotonic() + seconds
        while True:
            over = not self.running or time.monotonic() > deadline
            if any(text in line for line in self.lines):
                return True
            if over:
                return False
            time.sleep(0.005)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
        return self._popen.poll()

    def when_ended(self, call: Callable[[], object]) -> None:
        """Call that at once when it ends, from another thread."""

        def watch() -> None:
            while self.running:
                time.sleep(0.05)
            call()

        threading.Thread(target=watch, daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def tree(self) -> list[psutil.Process]:
        """It and what it started."""
        try:
            top = psutil.Process(self.pid)
            return [top, *top.children(recursive=True)]
        except psutil.Error:
            return []

    def signal(self, number: signal.Signals) -> None:
        """To it; stopping and going on also to what it started."""
        everybody = number in (signal.SIGSTOP, signal.SIGCONT)
        with suppress(psutil.NoSuchProcess):
            for process in self.tree()[: None if everybody else 1]:
                process.send_signal(number)


@dataclass(frozen=True)
class Prepared:
    """What all runs of an engine share: a bundle, data for it, certificates."""

    engine: EngineName
    bundle: Path
    certificates: Path
    data: Sequence[str]
    """Options of `tune.py` that say what is tuned on."""
    owners: Sequence[str] = ()
    """Options of `secfwt-join`, for each of several data owners."""


class Service:
    """The processes of one run in one folder. `disks[role]` is a folder that this role alone writes to."""

    searcher = "data owner"
    """Whose run it is."""
    clients: tuple[str, ...] = OWNERS
    roles: tuple[str, ...] = ROLES

    def __init__(
        self, prepared: Prepared, folder: Path, disks: dict[str, Path], network: Network | None = None
    ) -> None:
        self.prepared, self.folder, self.disks = prepared, folder, disks
        self.network = network or Network(DELAYS[prepared.engine])
        self.processes: dict[str, Process] = {}
        addresses = local_addresses(3)
        for role in self.roles:
            self._write_deployment(role, addresses)
        self.run = disks[self.searcher] / "run"

    def start_party(self, role: str) -> Process:
        """Start one; returns before it serves."""
        return self._start(role, "party", "--party", role.split()[1])

    def start_parties(self) -> None:
        """Start those that do not run, and wait until all serve."""
        started = [role for role in PARTIES if role not in self.processes or not self.processes[role].running]
        for role in started:
            self.start_party(role)
        for role in started:
            if not self.serves(role):
                raise RuntimeError(f"{role} does not start: {self.processes[role].lines[-3:]}")

    def serves(self, role: str) -> bool:
        """Whether a party waits for clients, in time."""
        said = "waits for clients" if self.prepared.engine == "mp-spdz" else "listening"
        return self.processes[role].says(said, START_SECONDS)

    def start_model_owner(self) -> Process:
        """Share the weights."""
        return self._start("model owner", "weights")

    def start_owners(self) -> None:
        """Of several data owners, those that do not run."""

    def needs_weights(self, lost: bool) -> bool:
        """Whether the model owner shares them before a run is begun or gone on with; `lost`: a party has ended."""
        return True

    def start_search(self) -> Process:
        """Begin the run, or go on with it where there is one to go on with."""
        if (self.run / "options.json").exists():
            return self._start("data owner", "tune", "--resume", self.run, common=False)
        words = ["--engine", self.prepared.engine, *self.prepared.data, "--run", self.run]
        return self._start("data owner", "tune", *words)

    def close(self) -> list[str]:
        """End everything; returns the command lines of what outlived its parent."""
        for process in self.processes.values():
            if process.running:
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in self.processes.values():
            if process.wait(15.0) is None:
                process.signal(signal.SIGKILL)
                process.wait(5.0)
        self.network.close()
        return self.orphans()

    def orphans(self) -> list[str]:
        """Processes of this run's folder that nobody has an eye on, once they have had a moment to end."""
        deadline = time.monotonic() + 5.0
        while left := [line for process in psutil.process_iter() if (line := self._of_run(process))]:
            if time.monotonic() > deadline:
                return left
            time.sleep(0.1)
        return []

    def _of_run(self, process: psutil.Process) -> str:
        own = {each.pid for each in self.processes.values() if each.running}
        try:
            line = " ".join(process.cmdline())
            inside = str(self.folder) in line or str(self.folder) in process.cwd()
            known = process.pid in own or any(parent.pid in own for parent in process.parents())
        except psutil.Error:
            return ""
        return line if inside and not known and process.pid != os.getpid() else ""

    def _start(self, role: str, module: str, *words: object, common: bool = True) -> Process:
        given = ["--deployment", self._deployment_file(role), "--bundle", self.prepared.bundle] if common else []
        places = {"tune": "secfwt.runtime.tune", "join": "secfwt.runtime.federation.command"}
        place = places.get(module, f"secfwt.runtime.commands.{module}")
        command = [sys.executable, "-u", "-m", place, *map(str, [*given, *words])]
        # The owners' terminals do not fill up; what a party says goes to its disk.
        logs = self.disks[role] if role in PARTIES else self.folder
        process = Process(command, logs / f"{role}.log", self.folder, self.disks[role])
        self.processes[role] = process
        return process

    def _deployment_file(self, role: str) -> Path:
        return self.folder / f"{role.replace(' ', '-')}.toml"

    def _deployment_lines(self, certificates: Path) -> list[str]:
        return [f'certificates = "{certificates}"', "threads = 1", "stall_timeout = 20"]

    def _write_deployment(self, role: str, addresses: Sequence[PartyAddress]) -> None:
        """Where this role reaches each party: through a wire of its own."""
        mp_spdz = self.prepared.engine == "mp-spdz"
        lines = self._deployment_lines(self.prepared.certificates)
        lines += ['engine = "mp-spdz"', 'protocol = "ring"'] if mp_spdz else []
        for target, address in zip(PARTIES, addresses, strict=True):
            port, client_port = address.port, address.client_port
            if role in PARTIES and role != target:
                port = self.network.port(role, target, port)
            elif role not in PARTIES and mp_spdz:
                client_port = self.network.port(role, target, client_port)
            elif role not in PARTIES:
                port = self.network.port(role, target, port)
            lines += ["[[parties]]", f'host = "{HOST}"', f"port = {port}"]
            lines += [f"client_port = {client_port}"] if mp_spdz else []
        self._deployment_file(role).write_text("\n".join(lines) + "\n")
