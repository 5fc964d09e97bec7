"""Rows of a benchmark: one CSV line a measurement, with everything needed to read it later."""

from __future__ import annotations

import csv
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parent.parent / "docs" / "figures"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement. Bytes over all parties; seconds is the median of `runs`; error against float64 on clear data."""

    benchmark: str
    engine: str
    protocol: str
    parties: int
    attention: str = "rfa"
    shape: str
    layers: int = 1
    prompt_layer: int = 0
    tokens: int
    features: int = 32
    candidates: int = 1
    examples: int = 1
    load_seconds: float = 0.0
    """Sharing the examples and computing once what no candidate changes. 0: not measured."""
    load_megabytes: float = 0.0
    cold_seconds: float = 0.0
    """The first run after the weights; not one of `runs`. 0: not measured."""
    seconds: float
    seconds_min: float
    seconds_max: float
    runs: int
    megabytes: float
    rounds: int
    max_error: float
    rms_error: float
    peak_memory_mb: float
    """Of the largest party."""
    threads: int
    """Of a party; 0: as the engine likes."""
    commit: str
    command: str

    def __str__(self) -> str:
        size = f"{self.layers} x {self.shape}, {self.tokens} tokens"
        if self.candidates * self.examples > 1:
            size += f", {self.candidates} candidates x {self.examples} examples"
        return (
            f"{self.engine}, {self.attention}, {self.benchmark} {size}: {self.seconds:.3f} s "
            f"({self.seconds_min:.3f}-{self.seconds_max:.3f}, cold {self.cold_seconds:.3f}), {self.megabytes:.1f} MB, "
            f"{self.rounds} rounds, max error {self.max_error:.2g}, rms {self.rms_error:.2g}, "
            f"{self.peak_memory_mb:.0f} MB a party"
        )


def measured(
    *, seconds: Sequence[float], bytes_sent: int, peak_bytes: int, error: np.ndarray, **known: str | int | float
) -> Row:
    """A row from the seconds of all runs, the cold one first (it counts where it is the only one), and the errors."""
    warm = seconds[1:] or seconds
    return Row(
        cold_seconds=seconds[0],
        seconds=statistics.median(warm),
        seconds_min=min(warm),
        seconds_max=max(warm),
        runs=len(warm),
        megabytes=bytes_sent / 1e6,
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2))),
        peak_memory_mb=peak_bytes / 1e6,
        commit=commit(),
        command=command(),
        **known,  # type: ignore[arg-type]
    )


@cache
def commit() -> str:
    """Short hash of the checkout, with a plus where its code has changes; as it was when first asked for."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "-uno", "--", ":(top)", ":(top,exclude)docs", f":(exclude){RESULTS.name}")
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip()


def command() -> str:
    """The command line as anyone can type it: without the folders of this machine."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def write(name: str, rows: Sequence[DataclassInstance], folder: Path = RESULTS) -> Path:
    """Append rows, all of one kind, to `<folder>/<name>.csv`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(rows[0])])
        if new:
            writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows)
    return path


def record(name: str, row: DataclassInstance, dry: bool) -> None:
    """Print a row as soon as it is there and, unless `dry`, append it to `<name>.csv`."""
    print(row, flush=True)
    if not dry:
        write(name, [row])


def read(name: str, folder: Path = RESULTS) -> list[Row]:
    """The rows of `<folder>/<name>.csv`, oldest first; none where there is no such file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    kinds = {f.name: {"int": int, "float": float}.get(str(f.type), str) for f in fields(Row)}
    with path.open(newline="") as file:
        return [Row(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]
