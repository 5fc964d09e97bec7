"""Sweeps: the same table from every backend, progress, and going on after an end in the middle."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from secfwt.runtime.errors import SecfwtError

import cells
import rows as common
from accuracy import prototypes
from accuracy.prototypes import Embedded, LabelTexts, unit

HIDDEN, TEXTS = 6, 120


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The prototypes command on rows that are made up; returns what a call prints, and its file."""
    rng = np.random.default_rng(3)
    labels = np.arange(TEXTS) % 4
    texts = unit(rng.normal(size=(4, HIDDEN)))
    pool = Embedded(unit(texts[labels] + 0.7 * rng.normal(size=(TEXTS, HIDDEN))), labels)
    monkeypatch.setattr(prototypes, "pool", lambda task, data: [])
    head = LabelTexts(texts)
    monkeypatch.setattr(prototypes, "embedded", lambda task, attention, data, examples: ({"pool": pool}, head))
    monkeypatch.setattr(common, "FIGURES", tmp_path)

    def sweep(backend: str, out: Path, draws: int = 3) -> None:
        parser = argparse.ArgumentParser()
        prototypes.add_options(parser, "prototypes")
        words = ["ag_news", "--shots", "2,4", "--draws", str(draws), "--backend", backend, "--jobs", "2"]
        prototypes.main(parser.parse_args([*words, "--out", str(out)]))

    return sweep


def numbers(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        found = [{k: v for k, v in row.items() if k not in ("commit", "command")} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: (row["shots"], row["draw"]))


@pytest.fixture
def reference(swept: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    swept("sequential", tmp_path / "sequential.csv")
    return tmp_path / "sequential.csv", table(capsys)


def table(capsys: pytest.CaptureFixture[str]) -> str:
    return "\n".join(line for line in capsys.readouterr().out.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_a_seed_gives_the_same_table_on_every_backend(
    swept: Any, reference: tuple[Path, str], backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "other.csv"
    swept(backend, out)
    assert numbers(out) == numbers(reference[0])
    assert len(numbers(out)) == 6
    assert table(capsys) == reference[1]


def test_a_sweep_goes_on_where_it_ended(
    swept: Any, reference: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, lines = reference[0], reference[0].read_text().splitlines(keepends=True)
    part = tmp_path / "part.csv"
    part.write_text("".join(lines[:4]))
    swept("threading", part)
    said = capsys.readouterr().out
    assert "1 of 3 cells, " in said
    assert "3 of 3 cells, 0:00 left" in said
    assert numbers(part) == numbers(whole)
    swept("threading", part)
    assert " cells, " not in capsys.readouterr().out


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def cells_of(backend: str, scheduler: str = "") -> list[tuple[int, int]]:
        options = argparse.Namespace(backend=backend, jobs=1, scheduler=scheduler)
        return list(cells.computed(abs, [(-1,), (2,)], options))

    assert cells_of("loky") == [(0, 1), (1, 2)]
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SecfwtError, match=r"^--backend is ray: package ray is missing$"):
        cells_of("ray")
    with pytest.raises(SecfwtError, match=r"^--scheduler is tcp://a:1: --backend loky has none$"):
        cells_of("loky", "tcp://a:1")
