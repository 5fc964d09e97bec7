"""A small part of benchmarks/faults.py, another one each time: what becomes of a run in which something dies."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from helpers.tune_runs import write_toy

from processes.service import PARTIES, Prepared
from survival.cells import run_cell, undisturbed
from survival.documented import Cell, matrix
from survival.prepare import prepare

QUICK = ("SIGKILL", "SIGTERM", "cut")
"""Faults of which nobody has to wait for the end."""


def chosen(seed: str) -> list[Cell]:
    """One of a party, one of an owner, or of several."""
    quick = [cell for cell in matrix() if cell.engine != "mp-spdz" and cell.fault in QUICK]
    chance = random.Random(seed)
    return [chance.choice([cell for cell in quick if (cell.role in PARTIES) == of_party]) for of_party in (True, False)]


@pytest.mark.slow
def test_a_run_survives_what_is_done_to_its_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = os.environ.get("SECFWT_FAULTS_SEED") or str(time.time_ns() % 2**32)
    model, _ = write_toy(tmp_path)
    known: dict[str, tuple[Prepared, list[float]]] = {}
    for number, cell in enumerate(chosen(seed)):
        if cell.engine not in known:
            (folder := tmp_path / cell.engine).mkdir()
            prepared = prepare(cell.engine, model, folder)
            known[cell.engine] = prepared, undisturbed(prepared, folder / "undisturbed")
        with capsys.disabled():
            print(f"\nSECFWT_FAULTS_SEED={seed}: {cell} … ", end="", flush=True)
        row = run_cell(cell, known[cell.engine][0], tmp_path / str(number), known[cell.engine][1])
        assert row.verdict == "as documented", row
