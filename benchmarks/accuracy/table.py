"""Rows of the accuracy benchmark, and what is read from them: a table and a figure, mean ± deviation over seeds."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import f1_score


@dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """One run. The accuracy is a share of `tested` rows, the same for every method."""

    task: str
    method: str
    seed: int
    settings: str
    adapter: str
    """First digits of the adapter's hash; empty for softmax attention."""
    shots: int
    evaluations: int
    """Candidates whose training loss was computed (gradient tuning: steps)."""
    start_loss: float
    best_loss: float
    start_dev: float
    best_dev: float
    accuracy: float
    f1: float
    """Of one label of a task that asks for it; else not a number."""
    tested: int
    seconds: float
    megabytes: float
    commit: str
    command: str

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same run."""
        return self.task, self.method, self.seed, self.settings, self.adapter, self.tested


def read(path: Path) -> list[AccuracyRow]:
    """The rows of a file, oldest first; none where there is no such file."""
    if not path.exists():
        return []
    kinds = {f.name: {"int": int, "float": float}.get(str(f.type), str) for f in fields(AccuracyRow)}
    with path.open(newline="") as file:
        return [AccuracyRow(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]


def append(path: Path, row: AccuracyRow) -> None:
    """Add one row; a new file gets a header."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(AccuracyRow)])
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in asdict(row).items()})


def f1(labels: NDArray[np.int64], chosen: NDArray[np.int64], label: int) -> float:
    """F1 of a label, of indices of labels `[E]` and of those that were chosen."""
    return float(f1_score(labels == label, chosen == label, zero_division=0.0))


def table(rows: Sequence[AccuracyRow], methods: Sequence[str]) -> str:
    """Markdown: a line a method, mean ± sample deviation over seeds of every task, in percent."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    lines = [
        "| method | " + " | ".join(f"{task} | seeds" for task in tasks) + " |",
        "|---" * (2 * len(tasks) + 1) + "|",
    ]
    for method in methods:
        chosen = [[row.accuracy for row in rows if (row.task, row.method) == (task, method)] for task in tasks]
        if any(chosen):
            lines.append(f"| {method} | " + " | ".join(f"{spread(shares)} | {len(shares)}" for shares in chosen) + " |")
    return "\n".join(lines)


def spread(shares: Sequence[float]) -> str:
    """Percent, mean ± sample deviation; the number alone where there is one or all are the same."""
    if not shares:
        return "–"
    mean = f"{100 * statistics.mean(shares):.1f}"
    return mean if len(set(shares)) == 1 else f"{mean} ± {100 * statistics.stdev(shares):.1f}"


def figure(rows: Sequence[AccuracyRow], methods: Sequence[str], path: Path) -> None:
    """Every seed a dot, every mean a line, a panel a task."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    methods = [method for method in methods if any(row.method == method for row in rows)]
    drawing = Figure(figsize=(2.5 + 3.4 * len(tasks), 3.8), layout="constrained")
    panels = drawing.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for axes, task in zip(panels, tasks, strict=True):
        for place, method in enumerate(methods):
            shares = [100 * row.accuracy for row in rows if (row.task, row.method) == (task, method)]
            if shares:
                axes.plot(shares, [place] * len(shares), "o", alpha=0.5)
                axes.plot([statistics.mean(shares)] * 2, [place - 0.3, place + 0.3], color="black")
        axes.set(title=task, xlabel="test accuracy, %", yticks=range(len(methods)), yticklabels=methods)
        axes.grid(alpha=0.3)
    panels[0].invert_yaxis()  # all have one
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=120, metadata={"Software": None})
