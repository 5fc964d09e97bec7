"""The run folder and the tuning loop: resuming, refusing, full disks, progress."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_objective import DIM, ToyEngine, toy_objective
from rich.console import Console
from secfwt.runtime.engine import Floats
from secfwt.runtime.errors import RunFolderError
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.tuning.clear import ClearEngine
from secfwt.runtime.tuning.loop import Outcome, SearchOptions, tune
from secfwt.runtime.tuning.report import summary, write_report
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.search import SearchError

OPTIONS = SearchOptions(dim=DIM, prompts=1, popsize=6, budget=36, sigma=0.5, bound=0.0, eval_every=2, seed=1)
PRINTS = {"data": "d", "program": "p"}


class Killed(BaseException):
    """Stands for a process that ends between two instructions."""


class DyingEngine(ToyEngine):
    """Dies at its n-th evaluation of candidates."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def losses(self, name: str, z: Floats) -> Floats:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().losses(name, z)


def plain(stream: io.StringIO | None = None) -> PlainDisplay:
    return PlainDisplay(Console(file=stream or io.StringIO(), width=200))


def run_tune(folder: TuningRun, engine: ClearEngine | None = None, options: SearchOptions = OPTIONS) -> Outcome:
    try:
        return tune(toy_objective(engine), options, folder, plain())
    finally:
        folder.close()


def without_times(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "cost")} for line in lines]


def test_tuning_lowers_the_losses(tmp_path: Path) -> None:
    outcome = run_tune(TuningRun.create(tmp_path / "r", {}, PRINTS))
    assert outcome.generations == 6
    assert outcome.evaluations == 36
    assert outcome.best_loss < outcome.start_loss
    assert outcome.best_dev < outcome.start_dev
    assert outcome.test_examples == 6
    assert [("dev" in line) for line in without_times(tmp_path / "r")] == [False, True] * 3


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 7, 9, 10])
def test_killed_and_resumed_run_is_the_straight_run(tmp_path: Path, steps: int) -> None:
    straight = run_tune(TuningRun.create(tmp_path / "a", {}, PRINTS))
    with pytest.raises(Killed):
        run_tune(TuningRun.create(tmp_path / "b", {}, PRINTS), DyingEngine(steps))
    resumed = run_tune(TuningRun.resume(tmp_path / "b", PRINTS))
    assert without_times(tmp_path / "a") == without_times(tmp_path / "b")
    assert np.array_equal(straight.best_z, resumed.best_z)
    assert (straight.best_dev, straight.test_tuned) == (resumed.best_dev, resumed.test_tuned)


def test_kill_between_history_and_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_tune(TuningRun.create(tmp_path / "a", {}, PRINTS))
    folder = TuningRun.create(tmp_path / "b", {}, PRINTS)
    replace = TuningRun.replace

    def dies(self: TuningRun, name: str, content: bytes) -> None:
        if name == "state" and (self.path / "history.jsonl").exists():
            with (self.path / "history.jsonl").open("a") as file:
                file.write('{"generation": 2, "torn')
            raise Killed
        replace(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(TuningRun, "replace", dies)
        with pytest.raises(Killed):
            run_tune(folder)
    run_tune(TuningRun.resume(tmp_path / "b", PRINTS))
    assert without_times(tmp_path / "a") == without_times(tmp_path / "b")


def test_finished_run_resumes_with_a_larger_budget(tmp_path: Path) -> None:
    run_tune(TuningRun.create(tmp_path / "r", {}, PRINTS), options=OPTIONS)
    longer = SearchOptions(**{**OPTIONS.__dict__, "budget": 48})
    assert run_tune(TuningRun.resume(tmp_path / "r", PRINTS), options=longer).generations == 8


def test_cost_adds_up_over_sessions(tmp_path: Path) -> None:
    straight = run_tune(TuningRun.create(tmp_path / "a", {}, PRINTS))
    with pytest.raises(Killed):
        run_tune(TuningRun.create(tmp_path / "b", {}, PRINTS), DyingEngine(7))
    resumed = run_tune(TuningRun.resume(tmp_path / "b", PRINTS))
    lost = 1  # the step after the last complete generation was paid for, but is not in the state
    assert straight.cost.steps - lost <= resumed.cost.steps <= straight.cost.steps


def test_resume_names_what_changed(tmp_path: Path) -> None:
    TuningRun.create(tmp_path / "r", {}, {"data": "1", "program": "2", "weights": "3"}).close()
    with pytest.raises(RunFolderError, match=r"changed since it began: data, weights$"):
        TuningRun.resume(tmp_path / "r", {"data": "x", "program": "2", "weights": "y"})


def test_folder_that_is_taken_or_empty(tmp_path: Path) -> None:
    folder = TuningRun.create(tmp_path / "r", {}, PRINTS)
    with pytest.raises(RunFolderError, match="another process is writing"):
        TuningRun.resume(tmp_path / "r", PRINTS)
    folder.close()
    with pytest.raises(RunFolderError, match="already holds a run"):
        TuningRun.create(tmp_path / "r", {}, PRINTS)
    with pytest.raises(RunFolderError, match="holds no run to resume"):
        TuningRun.read_options(tmp_path / "none")


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot write the run folder in .*: Not a directory"):
        TuningRun.create(tmp_path / "file" / "r", {}, PRINTS)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04N."])
def test_broken_state(tmp_path: Path, content: bytes) -> None:
    folder = TuningRun.create(tmp_path / "r", {}, PRINTS)
    (tmp_path / "r" / "state").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"cannot be read|is not the state"):
        folder.load_state()


def test_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_tune(TuningRun.create(tmp_path / "a", {}, PRINTS))
    folder = TuningRun.create(tmp_path / "b", {}, PRINTS)
    calls, fsync = iter(range(1000)), os.fsync

    def full(fd: int) -> None:
        if next(calls) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunFolderError, match=r"cannot write generation \d .*No space"):
            run_tune(folder)
    run_tune(TuningRun.resume(tmp_path / "b", PRINTS))
    assert without_times(tmp_path / "a") == without_times(tmp_path / "b")


class NanEngine(ToyEngine):
    """Loses some candidates of every generation."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.bad = bad

    def losses(self, name: str, z: Floats) -> Floats:
        losses = super().losses(name, z)
        if len(z) == OPTIONS.popsize:
            losses[: self.bad] = np.nan
        return losses


def test_rejected_candidates_are_reported(tmp_path: Path) -> None:
    outcome = run_tune(TuningRun.create(tmp_path / "r", {}, PRINTS), NanEngine(2))
    assert outcome.rejected == 12
    assert without_times(tmp_path / "r")[0]["losses"][:2] == [None, None]  # type: ignore[index]
    with pytest.raises(SearchError, match="4 of 6 candidates"):
        run_tune(TuningRun.create(tmp_path / "s", {}, PRINTS), NanEngine(4))


def test_report_files_and_summary(tmp_path: Path) -> None:
    folder = TuningRun.create(tmp_path / "r", {}, PRINTS)
    engine = ToyEngine()
    outcome = tune(toy_objective(engine), OPTIONS, folder, plain())
    result = write_report(folder, outcome, engine, {"wall_seconds": 3.2}, prompt=np.zeros((1, 1, 8)))
    folder.close()
    assert json.loads((tmp_path / "r" / "result.json").read_text()) == result
    assert (tmp_path / "r" / "loss.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "r" / "prompt.npz") as saved:
        assert np.array_equal(saved["z"], outcome.best_z)
        assert saved["p"].shape == (1, 1, 8)
    text = summary(result)
    assert text.startswith("NOT PRIVATE")
    assert f"-> {outcome.best_loss:.4f}" in text
