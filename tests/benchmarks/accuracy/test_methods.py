"""The methods on the same shots, the shots themselves, and the two commands that run them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from secfwt.runtime.tuning.search import SearchError

import run
from accuracy import explore
from accuracy import run as accuracy
from accuracy.fixed import FixedPointEngine
from accuracy.methods import METHODS, OPENED, measure
from accuracy.table import f1, read
from accuracy.tasks import Task, draw, draw_held_out

TASK = Task("films", "films", 4, 5, 10, {"good": "good film", "bad": "bad film"})
SETTINGS = {"k_shot": 2, "n_prompt_tokens": 2, "prompt_layer": 1, "intrinsic_dim": 6, "popsize": 4, "budget": 24}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "films").mkdir()
    for name, count in (("train", 24), ("dev", 8)):
        rows = [f"film number {i} was very {label}\t{label}" for i in range(count // 2) for label in ("good", "bad")]
        (folder / "films" / f"{name}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return folder


def test_shots_are_of_rows_that_nothing_was_trained_on(data: Path) -> None:
    public = {example.text for example in draw_held_out(TASK, data, 2, 1, 0).train}
    drawn = draw(TASK, data, 2, 1)
    assert [len(part) for part in (drawn.train, drawn.dev, drawn.test)] == [4, 4, 5]
    assert {e.text for e in drawn.train} == public
    for seed in range(5):
        drawn = draw(TASK, data, 2, seed)
        assert not {"film number 0 was very good", "film number 1 was very bad"} & {
            e.text for e in drawn.train + drawn.dev
        }
        held_out = draw_held_out(TASK, data, 2, seed, 100)
        assert not {e.text for e in held_out.test} & {e.text for e in held_out.train + held_out.dev}


def test_rows_of_the_training_file_that_are_tested_are_never_drawn(data: Path) -> None:
    task = replace(TASK, first_row=0, test_file="train.tsv", test_row=16, tested=6, f1_of="good")
    for seed in range(5):
        drawn = draw(task, data, 4, seed)
        numbers = [int(example.text.split()[2]) for example in drawn.test]
        assert numbers == [8, 8, 9, 9, 10, 10]
        assert not {e.text for e in drawn.test} & {e.text for e in drawn.train + drawn.dev}


def test_the_f1_of_a_label_is_told_where_a_task_asks_for_it(directory: Path, data: Path) -> None:
    settings = SETTINGS | {"model": str(directory)}
    assert np.isnan(measure(TASK, "zero-shot", 1, settings, data).f1)
    row = measure(replace(TASK, f1_of="good"), "zero-shot", 1, settings, data)
    assert 0 <= row.f1 <= 1
    assert f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]), 0) == pytest.approx(2 / 3)
    assert f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0]), 1) == 0


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No parties are left."""
    yield
    OPENED.close()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_a_row(directory: Path, data: Path, name: str) -> None:
    row = measure(TASK, name, 1, SETTINGS | {"model": str(directory)}, data)
    assert 0 <= row.accuracy <= 1
    searched = METHODS[name].search in ("gradient", "evolution")
    assert (row.evaluations > 0) == searched
    assert (row.megabytes > 0) == (METHODS[name].engine == "parties")
    if searched:
        assert row.best_loss < row.start_loss
        assert row.best_dev <= row.start_dev


def test_shots_whose_losses_cannot_be_make_no_row(directory: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of texts that leave the calibrated ranges."""
    losses = FixedPointEngine.losses
    monkeypatch.setattr(FixedPointEngine, "losses", lambda self, name, z: losses(self, name, z) - 5)
    name = "private shots, softmax, fixed-point oracle"
    with pytest.raises(SearchError, match="the texts leave the ranges that the program was calibrated for"):
        measure(TASK, name, 1, SETTINGS | {"model": str(directory)}, data)


def test_private_row_is_the_clear_ones_up_to_fixed_point(directory: Path, data: Path) -> None:
    settings = SETTINGS | {"model": str(directory)}
    names = ("Black-Box Tuning, RFA", "private, fixed-point oracle", "private, three parties over TLS")
    clear, oracle, parties = (measure(TASK, name, 1, settings, data) for name in names)
    for private in (oracle, parties):
        assert private.start_loss == pytest.approx(clear.start_loss, abs=0.05)
        assert private.start_dev == pytest.approx(clear.start_dev, abs=0.05)
    assert parties.start_loss == pytest.approx(oracle.start_loss, abs=0.01)


def test_what_is_measured_is_not_measured_again(
    tmp_path: Path, directory: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "TASKS", {"films": TASK})
    monkeypatch.setattr(accuracy, "SETTINGS", SETTINGS | {"model": str(directory)})
    monkeypatch.setattr(accuracy, "FIGURE", tmp_path / "figure.png")
    arguments = ["--data", str(data), "--tasks", "films", "--methods", "0,3", "--out", str(tmp_path / "rows.csv")]
    for seeds in ("1", "1", "1,2"):
        monkeypatch.setattr(sys, "argv", ["run.py", "accuracy", *arguments, "--seeds", seeds])
        run.main()
    assert sorted((r.method, r.seed) for r in read(tmp_path / "rows.csv")) == [  # in the order they were done in
        ("Black-Box Tuning, softmax", 1), ("Black-Box Tuning, softmax", 2), ("zero-shot", 1),
    ]  # fmt: skip
    assert "| Black-Box Tuning, softmax |" in capsys.readouterr().out
    assert not (tmp_path / "figure.png").exists()
    monkeypatch.setattr(sys, "argv", ["run.py", "accuracy", *arguments, "--report"])
    run.main()
    assert (tmp_path / "figure.png").exists()


def test_exploration_changes_one_thing() -> None:
    base = explore.settings_of("ag_news", "base")
    for variant, change in explore.VARIANTS.items():
        settings = explore.settings_of("ag_news", variant)
        assert {name for name in settings if settings[name] != base.get(name)} <= change.keys()
    assert explore.settings_of("ag_news", "half the evaluations")["budget"] == base["budget"] / 2
