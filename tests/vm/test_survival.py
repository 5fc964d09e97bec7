"""A small part of benchmarks/faults.py, another one each time: what becomes of a run in which something dies."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from helpers.tune_runs import write_toy

from processes.service import PARTIES
from survival.cells import run_cell, undisturbed
from survival.documented import Cell, matrix
from survival.prepare import prepare

QUICK = ("SIGKILL", "SIGTERM", "cut")
"""Faults of which nobody has to wait for the end."""


def chosen(seed: str) -> list[Cell]:
    """One of a party, one of an owner."""
    quick = [cell for cell in matrix() if cell.engine == "embedded" and cell.fault in QUICK]
    chance = random.Random(seed)
    return [chance.choice([cell for cell in quick if (cell.role in PARTIES) == of_party]) for of_party in (True, False)]


@pytest.mark.slow
def test_a_run_survives_what_is_done_to_its_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = os.environ.get("SECFWT_FAULTS_SEED") or str(time.time_ns() % 2**32)
    model, _ = write_toy(tmp_path)
    prepared = prepare("embedded", model, tmp_path)
    expected = undisturbed(prepared, tmp_path / "undisturbed")
    for number, cell in enumerate(chosen(seed)):
        with capsys.disabled():
            print(f"\nSECFWT_FAULTS_SEED={seed}: {cell} … ", end="", flush=True)
        row = run_cell(cell, prepared, tmp_path / str(number), expected)
        assert row.verdict == "as documented", row
