"""Rows of a benchmark: one CSV line a measurement, with everything needed to read it later."""

from __future__ import annotations

import csv
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One measurement. Bytes over all parties; seconds is the median of `runs`; error against float64 on clear data."""

    benchmark: str
    engine: str
    protocol: str
    parties: int
    shape: str
    tokens: int
    seconds: float
    seconds_min: float
    seconds_max: float
    runs: int
    megabytes: float
    rounds: int
    max_error: float
    rms_error: float
    peak_memory_mb: float
    threads: int
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.engine} {self.shape}, {self.tokens} tokens: {self.seconds:.3f} s "
            f"({self.seconds_min:.3f}-{self.seconds_max:.3f}), {self.megabytes:.1f} MB, {self.rounds} rounds, "
            f"max error {self.max_error:.2g}, rms {self.rms_error:.2g}, {self.peak_memory_mb:.0f} MB a party"
        )


def commit() -> str:
    """Short hash of the checkout, with a plus where it has changes."""
    here = Path(__file__).parent
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True
    ).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True).stdout
    return head + ("+" if dirty.strip() else "")


def command() -> str:
    """The command line as anyone can type it."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def write(name: str, rows: Sequence[Row]) -> Path:
    """Append rows to `results/<name>.csv`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        if new:
            writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows)
    return path
