"""MP-SPDZ's parties as processes of this machine: certificates, command lines, and what became of them.

The virtual machine ends with its first error, so there is nothing to mend: whatever happens to one party ends the run,
and the run starts all of them again.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from ...codegen.mpspdz.batches import LEAST
from ...codegen.mpspdz.protocols import PROTOCOLS
from ..engine import Cost
from ..errors import ServiceError
from ..parties.deployment import PartyAddress
from ..parties.ports import check_loopback, free_ports
from ..parties.processes import PartyProcesses
from ..run_folder import private_file
from .guard import guarded
from .log import Log

HOST = "localhost"
GRACE = 1.0
"""Seconds that the other parties get to fail too, so that the message can name the cause."""
FAREWELL = 10.0
"""Seconds that parties get to end by themselves."""
CHECK_SECONDS = 0.2
STALL_SECONDS = 60.0
"""Nobody computes for that long while a client waits: the parties hang."""


class MpSpdzParties(PartyProcesses):
    """Parties of a compiled program in one working directory, for as long as the context lasts.

    All of them, or `only` one where the others run elsewhere; at `addresses`, or on free ports of this machine. They
    end when this process does, however it ends. `folder` must hold the compiled program and `Player-Data` with the
    certificates. `batch` is what its compiler's `Compiled` says, the same for all parties. Their output goes to
    `logs/party<i>.log`. `clients[i]` is where party i waits for clients.
    """

    def __init__(
        self, binary: Path, protocol: str, program: str, folder: Path, logs: Path, *,
        batch: int = LEAST, addresses: Sequence[PartyAddress] = (), only: int | None = None,
        stall: float = STALL_SECONDS,
    ) -> None:  # fmt: skip
        super().__init__()
        row = PROTOCOLS[protocol]
        addresses = addresses or local_addresses(row.parties)
        self.numbers = range(len(addresses)) if only is None else range(only, only + 1)
        self.clients = [(each.host, each.client_port) for each in addresses]
        self._folder, self._stall = folder, stall
        self._logs = [Log(logs / f"party{i}.log") for i in self.numbers]
        self._checked = 0.0
        self._busy = (0.0, time.monotonic())
        (folder / "hosts").write_text("".join(f"{each.host}:{each.port}\n" for each in addresses))
        public_input = folder / "Programs" / "Public-Input" / program
        public_input.parent.mkdir(parents=True, exist_ok=True)
        first = self.numbers[0]
        public_input.write_text(f"{addresses[first].client_port - first}\n")  # party i adds i
        self._command = [str(binary), "-v", "-ip", "hosts", "-b", str(batch), *row.options]
        self._program = program

    def start(self) -> None:
        """Start the parties; they wait for clients for a minute."""
        try:
            for i, log in zip(self.numbers, self._logs, strict=True):
                log.path.parent.mkdir(parents=True, exist_ok=True)
                with private_file(log.path) as file:
                    command = guarded([*self._command, "-p", str(i), self._program])
                    self._processes.append(
                        subprocess.Popen(
                            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                            start_new_session=True,
                        )
                    )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def check(self, *, may_end: bool = False) -> None:
        """Raise ServiceError when a party has ended, cannot listen, or when nobody has computed for too long.

        To be called while a client waits; cheap, however often. `may_end`: with code 0, when its session is over.
        """
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        for i, process in enumerate(self._processes):
            if process.poll() is not None and not (may_end and process.returncode == 0):
                raise self._ended(i)
        for i, log in zip(self.numbers, self._logs, strict=True):
            if port := log.port_in_use():
                raise ServiceError(i, "refused", f"port {port} is in use by another program")
        busy = sum(sum(_times(pid)) for pid in self.pids)
        if busy > self._busy[0]:
            self._busy = busy, now
        elif now - self._busy[1] > self._stall:
            raise self._hangs()

    def idle(self) -> None:
        """The parties wait for a client: that is no hang."""
        self._busy = self._busy[0], time.monotonic()

    def cost(self, commands: int) -> Cost:
        """What the commands so far have cost, all of them done, by the virtual machine's own timer: bytes of all
        parties, the largest rounds and seconds.
        """
        found = self._timers(commands)
        return Cost(
            seconds=max(seconds for seconds, _, _ in found),
            bytes_sent=round(sum(megabytes for _, megabytes, _ in found) * 1e6),
            rounds=max(rounds for *_, rounds in found),
            peak_bytes=max((_peak(pid) for pid in self.pids), default=0),
        )

    def sent(self, commands: int) -> list[int]:
        """Bytes that every party has sent in the commands so far, all of them done."""
        return [round(megabytes * 1e6) for _, megabytes, _ in self._timers(commands)]

    @property
    def commanded(self) -> bool:
        """Whether a command is being carried out."""
        return any(log.commanded() for log in self._logs)

    @property
    def stopped(self) -> int | None:
        """A party whose process somebody has stopped."""
        for i, pid in zip(self.numbers, self.pids, strict=True):
            with suppress(psutil.Error):
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    return i
        return None

    def stop(self) -> None:
        """Let parties end that have been told to; what they say then is in their logs."""
        self.wait(FAREWELL)

    def _timers(self, commands: int) -> list[tuple[float, float, int]]:
        """Every party's seconds, megabytes and rounds, once that many commands are over: results come before the line,
        and sharing examples has no result. Raises ServiceError as `check` does.
        """
        while True:
            stops = [log.timers() for log in self._logs]
            if all(len(found) >= commands for found in stops):
                break
            self.check()
            time.sleep(0.01)
        return [found[-1] if found else (0.0, 0.0, 0) for found in stops]

    def _ended(self, first: int) -> ServiceError:
        """The message of the party that says most, once the `first` has ended: all others only miss one."""
        self.wait(GRACE)
        said = {i: log.complaint() for i, log in enumerate(self._logs) if self._processes[i].poll() is not None}
        for i, text in said.items():
            if "built for another program" in text:
                return ServiceError(self.numbers[i], "refused", text)
        if not said[first]:
            first = next((i for i, text in said.items() if text), first)
        code = self._processes[first].returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        reason = f": {said[first]}" if said[first] else ""
        return ServiceError(self.numbers[first], "lost", f"{how}{reason} (log: {self._logs[first].path})")

    def _hangs(self) -> ServiceError:
        """The message about a party that somebody has stopped, else about all of them."""
        where = f"(logs: {self._logs[0].path.parent})"
        stopped = self.stopped
        if stopped is not None:
            return ServiceError(stopped, "lost", f"is stopped, nothing computed for {self._stall:.0f} s {where}")
        text = f"nothing computed for {self._stall:.0f} s: a party hangs {where}"
        return ServiceError(self.numbers[0], "lost", text)


def local_addresses(count: int) -> list[PartyAddress]:
    """Addresses of parties on this machine; the owners' ports are neighbours, as one program for all wants them."""
    check_loopback("127.0.0.1")
    ports = free_ports(2 * count)
    pairs = zip(ports[:count], ports[count:], strict=True)
    return [PartyAddress(host=HOST, port=port, client_port=client_port) for port, client_port in pairs]


def _times(pid: int) -> tuple[float, float]:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0, 0.0
    return times.user, times.system


def _peak(pid: int) -> int:
    """Largest resident memory of a process in bytes (Linux; elsewhere the present one)."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else int(psutil.Process(pid).memory_info().rss)
    except (OSError, psutil.Error):
        return 0
