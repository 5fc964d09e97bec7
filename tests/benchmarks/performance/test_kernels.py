"""Rates of the kernels of matrix products."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pytest
from secfwt.codegen.native.simulator import KernelRate, PackingRate, chosen_kernel, kernel_rates

import rows
from performance import kernels


def test_the_kernels_that_run_are_measured_and_none_beats_its_peak() -> None:
    rates = {rate.name: rate for rate in kernel_rates()}
    assert rates["portable"].bits == 64
    for bits in (32, 40, 52, 64):
        assert rates[chosen_kernel(bits)].bits >= bits
    assert all(0 < rate.rate < 1.1 * rate.peak for rate in rates.values())


def test_rows_are_written_unless_dry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = [KernelRate("portable", 64, 3.0, 4.0), KernelRate("fast", 52, 9.0, 10.0)]
    monkeypatch.setattr(rows.write, "__defaults__", (tmp_path,))
    monkeypatch.setattr(kernels, "kernel_rates", lambda: iter(measured))
    monkeypatch.setattr(kernels, "chosen_kernel", lambda bits: "fast" if bits <= 52 else "other")
    monkeypatch.setattr(kernels, "packing_rate", lambda bits: PackingRate(5.0, 6.0, 7.0))
    kernels.main(argparse.Namespace(dry=True))
    assert not list(tmp_path.iterdir())
    kernels.main(argparse.Namespace(dry=False))
    written = read(tmp_path / "kernels.csv")
    assert [(row["kernel"], row["bits"], row["rate"], row["peak"], row["runs"]) for row in written] == [
        ("portable", "64", "3", "4", "False"),
        ("fast", "52", "9", "10", "True"),
    ]
    packing = read(tmp_path / "packing.csv")
    assert [row["bits"] for row in packing] == [str(bits) for bits in kernels.PACKED]
    assert {(row["pack"], row["unpack"], row["copy"]) for row in packing} == {("5", "6", "7")}


def test_the_kernel_that_ran_when_rows_were_recorded_was_within_four_fifths_of_the_best() -> None:
    recorded = read(rows.RESULTS / "kernels.csv")
    for processor, commit, bits in {(row["processor"], row["commit"], row["bits"]) for row in recorded}:
        able = [
            row
            for row in recorded
            if (row["processor"], row["commit"]) == (processor, commit) and int(row["bits"]) >= int(bits)
        ]
        best = max(float(row["rate"]) for row in able)
        assert [row for row in able if row["runs"] == "True" and float(row["rate"]) >= 0.8 * best]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
