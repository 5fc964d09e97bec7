"""Rates of the kernels of matrix products."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pytest
from secfwt.codegen.native.simulator import chosen_kernel, kernel_rates

import rows
from performance import kernels


def test_the_kernel_that_runs_is_measured_and_none_beats_its_peak() -> None:
    rates = dict(kernel_rates())
    assert "portable" in rates
    assert chosen_kernel() in rates
    assert all(0 < rate < 1.1 * peak for rate, peak in rates.values())


def test_rows_are_written_unless_dry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rows.write, "__defaults__", (tmp_path,))
    monkeypatch.setattr(kernels, "kernel_rates", lambda: iter([("portable", (3.0, 4.0)), ("fast", (9.0, 10.0))]))
    monkeypatch.setattr(kernels, "chosen_kernel", lambda: "fast")
    kernels.main(argparse.Namespace(dry=True))
    assert not list(tmp_path.iterdir())
    kernels.main(argparse.Namespace(dry=False))
    with (tmp_path / "kernels.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [(row["kernel"], row["rate"], row["peak"], row["runs"]) for row in written] == [
        ("portable", "3", "4", "False"),
        ("fast", "9", "10", "True"),
    ]


def test_the_kernel_that_ran_when_rows_were_recorded_was_within_four_fifths_of_the_best() -> None:
    with (rows.RESULTS / "kernels.csv").open(newline="") as file:
        recorded = list(csv.DictReader(file))
    for command in {(row["processor"], row["commit"]) for row in recorded}:
        run = [row for row in recorded if (row["processor"], row["commit"]) == command]
        best = max(float(row["rate"]) for row in run)
        assert [row for row in run if row["runs"] == "True" and float(row["rate"]) >= 0.8 * best]
