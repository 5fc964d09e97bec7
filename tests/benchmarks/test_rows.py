"""Rows of a benchmark: written, read, summed up."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.benchmark_rows import ROW

import rows


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows.write("layer", [ROW], tmp_path)
    other = replace(ROW, tokens=64, engine="SPU, ABY3")
    rows.write("layer", [other], tmp_path)
    assert rows.read("layer", tmp_path) == [ROW, other]
    assert rows.read("absent", tmp_path) == []


@pytest.mark.parametrize("name", ["layer", "forward", "generation", "mpspdz_layer", "peers"])
def test_rows_of_the_repository_are_whole(name: str) -> None:
    for row in rows.read(name):
        assert row.seconds_min <= row.seconds <= row.seconds_max
        assert row.megabytes > 0
        assert row.commit
        assert row.command.startswith("python benchmarks/")


def test_the_first_run_is_the_cold_one_and_counts_only_when_alone() -> None:
    known = {k: getattr(ROW, k) for k in ("benchmark", "engine", "protocol", "parties", "shape", "tokens", "threads")}
    cost = {"bytes_sent": 2_000_000, "peak_bytes": 3_000_000, "error": np.array([3.0, -4.0]), "rounds": 5}
    row = rows.measured(seconds=[9.0, 1.0, 3.0, 2.0], **cost, **known)
    assert (row.cold_seconds, row.seconds, row.seconds_min, row.seconds_max, row.runs) == (9.0, 2.0, 1.0, 3.0, 3)
    assert (row.megabytes, row.peak_memory_mb, row.max_error) == (2.0, 3.0, 4.0)
    assert row.rms_error == pytest.approx(np.sqrt(12.5))
    assert rows.measured(seconds=[9.0], **cost, **known).seconds == 9.0


def test_commands_show_no_folders_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/x/run.py", "peers", "--spu-python", "/home/someone/bin/python", "--tokens", "8"]
    )
    assert rows.command() == "python benchmarks/run.py peers --spu-python python --tokens 8"
