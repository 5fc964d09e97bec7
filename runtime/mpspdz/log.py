"""What a party of MP-SPDZ says in its log: costs, whether it computes, why it ended."""

from __future__ import annotations

import re
from pathlib import Path

from ...mpc_programs.lib.wire import TIMER

START = re.compile(rf"Starting timer {TIMER} at ")
STOP = re.compile(rf"Stopped timer {TIMER} at ([\d.e+-]+) \(([\d.e+-]+) MB, (\d+) rounds\)")
ONLINE = re.compile(r"^Spent \S+ seconds(?: \((\S+) MB, \d+ rounds\))? on the online phase", re.MULTILINE)
PORT = re.compile(r"socket on \S+:(\d+) failed .*trying again in a second")
NOISE = re.compile(
    r"^(terminate called|Using |Trying to run|Please report|The following |This program might|Consider adding|\t"
    r"|Fatal error at .*Crash requested by program|Starting timer|Stopped timer|Aborted"
    r"|Setup took |Party \d+ (is|received) |\s*$)"
)
"""What explains no failure; a program that crashes on purpose has said why before."""
END = 4096


class Log:
    """The log of one party, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def timers(self) -> list[tuple[float, float, int]]:
        """Seconds, megabytes and rounds in all, after every command (`lib/service.py`)."""
        found = STOP.findall(self.path.read_text(errors="replace"))
        return [(float(seconds), float(megabytes), int(rounds)) for seconds, megabytes, rounds in found]

    def commanded(self) -> bool:
        """Whether a command is being carried out."""
        text = self.path.read_text(errors="replace")
        return len(START.findall(text)) > len(STOP.findall(text))

    def online_megabytes(self) -> float | None:
        """What the party has sent, from start to end, but for its preprocessing: it says so once it has ended."""
        found = ONLINE.search(self.path.read_text(errors="replace"))
        return float(found.group(1) or 0) if found else None

    def port_in_use(self) -> str:
        """The port that the party cannot listen on, if it says so."""
        found = PORT.search(self._read(0, END))
        return found.group(1) if found else ""

    def complaint(self) -> str:
        """The last line that says something."""
        lines = [line.strip() for line in self._read(-END, END).splitlines() if not NOISE.match(line)]
        return lines[-1] if lines else ""

    def _read(self, start: int, length: int) -> str:
        """A part; a negative start counts from the end."""
        with self.path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size + start) if start < 0 else start)
            return log.read(length).decode(errors="replace")
