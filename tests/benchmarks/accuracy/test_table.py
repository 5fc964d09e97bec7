"""Rows of the accuracy benchmark, their table and figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accuracy.table import AccuracyRow, append, figure, read, spread, table


def row(seed: int, share: float, **more: Any) -> AccuracyRow:
    values: dict[str, Any] = {
        "task": "films", "method": "zero-shot", "seed": seed, "settings": "a=1", "adapter": "", "shots": 2,
        "evaluations": 8, "start_loss": 0.5, "best_loss": 0.4, "start_dev": 0.5, "best_dev": 0.4,
        "accuracy": share, "f1": 0.4, "tested": 8, "seconds": 1.0, "megabytes": 0.0, "commit": "c", "command": "d",
    }  # fmt: skip
    return AccuracyRow(**(values | more))


def test_rows_come_back_and_are_tabulated(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert read(path) == []
    rows = [row(1, 0.5), row(2, 0.75), row(1, 0.25, method="other")]
    for each in rows:
        append(path, each)
    assert read(path) == rows
    lines = table(rows, ["zero-shot", "other", "absent"]).splitlines()
    assert lines[2:] == ["| zero-shot | 62.5 ± 17.7 | 2 |", "| other | 25.0 | 1 |"]
    assert spread([]) == "–"
    figure(rows, ["zero-shot", "other"], tmp_path / "figures" / "f.png")
    assert (tmp_path / "figures" / "f.png").stat().st_size > 1000
