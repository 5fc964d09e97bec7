"""MP-SPDZ's parties as processes of this machine: certificates, command lines, and what became of them.

The virtual machine ends with its first error, so there is nothing to mend: whatever happens to one party ends the run,
and the run starts all of them again.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..codegen.mpspdz_options import PROTOCOLS
from .engine import Cost
from .errors import ServiceError
from .mpspdz_guard import guarded
from .processes import PartyProcesses

HOST = "localhost"
GRACE = 1.0
"""Seconds that the other parties get to fail too, so that the message can name the cause."""
CHECK_SECONDS = 0.2
STALL_SECONDS = 60.0
"""Nobody computes for that long while a client waits: the parties hang."""
TIMER = re.compile(r"Stopped timer 1 at ([\d.e+-]+) \(([\d.e+-]+) MB, (\d+) rounds\)")
NOISE = re.compile(
    r"^(terminate called|Using |Trying to run|Please report|The following |This program might|Consider adding|\t"
    r"|Fatal error at .*Crash requested by program|Starting timer|Stopped timer|Aborted|\s*$)"
)
"""What explains no failure; a program that crashes on purpose has said why before."""


@dataclass(frozen=True)
class Runtime:
    """How a protocol's party program is called."""

    batch: int
    """Size of a preprocessing batch (`-b`): what is made ahead and thrown away at the end, and what shares rounds."""
    encrypt: tuple[str, ...] = ()
    """Honest-majority programs use TLS by themselves; the others are told to."""


RUNTIME = {
    "ring": Runtime(1_000_000),
    "rep4-ring": Runtime(10_000),
    "ps-rep-ring": Runtime(10_000),
    "sy-rep-ring": Runtime(10_000),
    "semi2k": Runtime(10_000, ("-e", "-N", "2")),
    "dealer-ring": Runtime(10_000),
}


class MpSpdzParties(PartyProcesses):
    """All parties of a compiled program in one working directory, for as long as the context lasts.

    They end when this process does, however it ends. `folder` must hold the compiled program and `Player-Data` with
    the certificates. Their output goes to `logs/party<i>.log`. `clients[i]` is where party i waits for clients.
    """

    def __init__(
        self, binary: Path, protocol: str, program: str, folder: Path, logs: Path, *, stall: float = STALL_SECONDS
    ) -> None:
        super().__init__()
        self.count = PROTOCOLS[protocol].parties
        self._folder, self._stall = folder, stall
        self._logs = [logs / f"party{i}.log" for i in range(self.count)]
        self._checked = 0.0
        self._busy = (0.0, time.monotonic())
        ports = free_ports(self.count)
        base = neighbouring_ports(self.count)
        self.clients = [(HOST, base + i) for i in range(self.count)]
        self._ports = {base + i for i in range(self.count)} | set(ports)
        (folder / "hosts").write_text("".join(f"{HOST}:{port}\n" for port in ports))
        public_input = folder / "Programs" / "Public-Input" / program
        public_input.parent.mkdir(parents=True, exist_ok=True)
        public_input.write_text(f"{base}\n")
        runtime = RUNTIME[protocol]
        self._command = [str(binary), "-ip", "hosts", "-b", str(runtime.batch), *runtime.encrypt]
        self._program = program

    def start(self) -> None:
        """Start all parties; they wait for clients for a minute."""
        try:
            for i, path in enumerate(self._logs):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as log:
                    command = guarded([*self._command, "-p", str(i), self._program])
                    self._processes.append(
                        subprocess.Popen(
                            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                            start_new_session=True,
                        )
                    )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Raise ServiceError when a party has ended, cannot listen, or when nobody has computed for too long.

        To be called while a client waits; cheap, however often.
        """
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        if any(process.poll() is not None for process in self._processes):
            raise self._ended()
        for i, path in enumerate(self._logs):
            head = _read(path, 0, 4096)
            if "trying again in a second" in head and (port := re.search(r"socket on \S+:(\d+) failed", head)):
                raise ServiceError(i, "refused", f"port {port.group(1)} is in use by another program")
        busy = sum(sum(_times(pid)) for pid in self.pids)
        if busy > self._busy[0]:
            self._busy = busy, now
        elif now - self._busy[1] > self._stall:
            raise ServiceError(
                self._stopped(), "lost",
                f"no party has computed anything for {self._stall:.0f} s (logs: {self._logs[0].parent})",
            )  # fmt: skip

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

    def _timers(self, commands: int) -> list[tuple[float, float, int]]:
        """Every party's seconds, megabytes and rounds, once that many commands are over: results come before the line,
        and sharing examples has no result. Raises ServiceError as `check` does.
        """
        while True:
            stops = [TIMER.findall(path.read_text(errors="replace")) for path in self._logs]
            if all(len(found) >= commands for found in stops):
                break
            self.check()
            time.sleep(0.01)
        last = [found[-1] if found else (0, 0, 0) for found in stops]
        return [(float(seconds), float(megabytes), int(rounds)) for seconds, megabytes, rounds in last]

    def _ended(self) -> ServiceError:
        """The message of the party that says most: all others only miss one."""
        first = next(i for i, process in enumerate(self._processes) if process.poll() is not None)
        self.wait(GRACE)
        said = {i: _complaint(path) for i, path in enumerate(self._logs) if self._processes[i].poll() is not None}
        for i, text in said.items():
            if "built for another program" in text:
                return ServiceError(i, "refused", text)
        if not said[first]:
            first = next((i for i, text in said.items() if text), first)
        code = self._processes[first].returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        reason = f": {said[first]}" if said[first] else ""
        return ServiceError(first, "lost", f"{how}{reason} (log: {self._logs[first]})")

    def _stopped(self) -> int:
        """A party that somebody has stopped, else party 0."""
        for i, pid in enumerate(self.pids):
            try:
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    return i
            except psutil.Error:
                continue
        return 0


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def neighbouring_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nothing listens on: the virtual machine wants them so."""
    while True:
        (base,) = free_ports(1)
        try:
            with ExitStack() as stack:
                for port in range(base, base + count):
                    stack.enter_context(socket.socket()).bind(("", port))
            return base
        except (OSError, OverflowError):
            continue


def _read(path: Path, start: int, length: int) -> str:
    """A part of a log; a negative start counts from the end."""
    with path.open("rb") as log:
        size = log.seek(0, 2)
        log.seek(max(0, size + start) if start < 0 else start)
        return log.read(length).decode(errors="replace")


def _complaint(path: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in _read(path, -4096, 4096).splitlines() if not NOISE.match(line)]
    return lines[-1] if lines else ""


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
