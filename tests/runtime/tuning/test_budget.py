"""What a run opens, before it opens it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from helpers.plan_toys import SMALL, model
from helpers.toy_objective import DIM, ToyEngine, toy_objective
from rich.console import Console
from secfwt.codegen.compile import Compiled
from secfwt.codegen.lowering.program import lower
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.series.ranges import Ranges
from secfwt.runtime.engine import Batch, Floats, Left
from secfwt.runtime.errors import BudgetSpentError
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.tuning import loop
from secfwt.runtime.tuning.budget import at_a_time, check_budget, need, party_bytes, shown
from secfwt.runtime.tuning.limits import Canaries
from secfwt.runtime.tuning.loop import Outcome, tune
from secfwt.runtime.tuning.objective import SHOTS, LabelledSet, Objective
from secfwt.runtime.tuning.options import SearchOptions
from secfwt.runtime.tuning.run_folder import TuningRun

OPTIONS = SearchOptions(dim=DIM, prompts=1, popsize=4, budget=20, sigma=0.5, bound=0.0, eval_every=2, seed=1)
"""Five generations, with dev after 2, 4 and 5. Sets have 6 examples."""


class Counting(ToyEngine):
    """Counts what it opens, and how much it may."""

    def __init__(self, limit: Left = Left()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.limit = limit
        self.opened = [0, 0]

    def allowance(self) -> Left:
        limits = zip((self.limit.evaluations, self.limit.logit_rows), self.opened, strict=True)
        return Left(*(None if limit is None else limit - n for limit, n in limits))

    def losses(self, name: str, z: Floats) -> Floats:
        self.opened[0] += len(z)
        return super().losses(name, z)

    def logits(self, name: str, z: Floats) -> Floats:
        logits = super().logits(name, z)
        self.opened[1] += len(logits)
        return logits


def toy(limit: Left = Left(), reveal: str = "losses", canaries: int = 16) -> tuple[Counting, Objective]:  # noqa: B008
    engine = Counting(limit)
    objective = toy_objective(engine, reveal)
    objective.canaries = Canaries(canaries)
    return engine, objective


def run(objective: Objective, folder: Path, options: SearchOptions = OPTIONS, resume: bool = False) -> Outcome:
    where = TuningRun.resume(folder, {}) if resume else TuningRun.create(folder, {}, {})
    try:
        return tune(objective, options, where, PlainDisplay(Console()))
    finally:
        where.close()


@pytest.mark.parametrize("reveal", ["losses", "logits"])
@pytest.mark.parametrize("canaries", [0, 16])
def test_a_run_opens_what_it_says(tmp_path: Path, reveal: str, canaries: int) -> None:
    engine, objective = toy(reveal=reveal, canaries=canaries)
    needed = need(objective, OPTIONS, None)
    run(objective, tmp_path / "run")
    assert engine.opened == [needed.losses, needed.rows + needed.test_rows]
    steps = 2 + 5 * 4 + 3 * 2 + (2 + 5 + 3) * (canaries > 0)
    assert needed.losses == (steps if reveal == "losses" else 0)


@pytest.mark.parametrize(("beyond", "kept"), [(0.01, True), (99.0, False)])
def test_a_prompt_is_kept_beyond_the_noise_of_dev(tmp_path: Path, beyond: float, kept: bool) -> None:
    engine, objective = toy()
    options = replace(OPTIONS, keep_beyond=beyond)
    needed = need(objective, options, None)
    found = run(objective, tmp_path / "run", options)
    assert found.best_z.any() == kept
    assert (found.best_dev < found.start_dev) == kept
    gain, error = objective.gain("dev", run(toy()[1], tmp_path / "lowest").best_z)
    assert (gain > beyond * error) == kept
    assert needed.rows == 2 * 6
    assert engine.opened[1] == 2 * 6 + (12 if kept else 6) + 2 * 6  # and those of `gain`, just now


def test_a_run_that_does_not_fit_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    engine, objective = toy(Left(30, 100))
    with pytest.raises(
        BudgetSpentError, match=r"opens up to 38 losses and 12 rows .* open 30 and 100 more: --budget 16 fits$"
    ):
        run(objective, tmp_path / "run")
    assert engine.opened == [0, 0]
    shorter = SearchOptions(**{**OPTIONS.__dict__, "budget": 16})
    assert run(objective, tmp_path / "run", shorter, resume=True).generations == 4


@pytest.mark.parametrize(
    ("left", "advice"),
    [
        (Left(None, 11), "--test-limit 5 fits"),
        (Left(38, 1), "no --budget fits; the model owner may send the weights again"),
        (Left(8, None), "no --budget fits"),
        (Left(12, None), "--budget 4 fits"),
    ],
)
def test_what_would_fit_is_said(left: Left, advice: str) -> None:
    _, objective = toy(left)
    with pytest.raises(BudgetSpentError, match=advice):
        check_budget(objective, OPTIONS, None)


def test_a_run_that_fits_exactly_says_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, objective = toy(Left(38, 12))
    run(objective, tmp_path / "run")
    out = " ".join(capsys.readouterr().out.split())
    assert "limits this run opens up to 38 losses and 12 rows of logits; with these weights the parties open 38" in out
    assert "29 losses left, 12 rows of logits left" in out
    assert "0 losses left, 12 rows of logits left" in out
    assert shown(objective.engine.allowance()) == "0 losses left, 0 rows of logits left"


def test_nothing_is_said_where_nothing_is_limited() -> None:
    _, objective = toy()
    assert check_budget(objective, OPTIONS, None) == shown(objective.engine.allowance()) == ""


def test_a_continued_run_may_end_with_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine, objective = toy(Left(38, 12))
    before = run(objective, tmp_path / "run")
    longer = SearchOptions(**{**OPTIONS.__dict__, "budget": 40})
    with pytest.raises(BudgetSpentError, match="--budget 20 fits"):
        run(objective, tmp_path / "run", longer, resume=True)
    after = run(objective, tmp_path / "run", resume=True)
    assert np.array_equal(after.best_z, before.best_z)
    assert (after.test_tuned, after.test_examples) == (None, 0)
    assert "test: not measured, the parties open 0 rows of logits more" in capsys.readouterr().out
    assert engine.opened == [38, 12]


class Holding(Counting):
    """Counts the examples that it holds at one time."""

    most = 0

    def load_examples(self, name: str, batch: Batch) -> None:
        super().load_examples(name, batch)
        self.sizes = {**getattr(self, "sizes", {}), name: len(batch)}
        self.most = max(self.most, sum(self.sizes.values()))


@pytest.mark.parametrize("at_a_time", [0, 1, 4])
def test_the_test_set_takes_the_place_of_the_training_set(tmp_path: Path, at_a_time: int) -> None:
    engine = Holding()
    objective = toy_objective(engine)
    objective.at_a_time = at_a_time
    found = run(objective, tmp_path / "run")
    assert engine.most == len(objective.sets["train"].labels) + len(objective.sets["dev"].labels)
    clear = ToyEngine()
    clear.load_examples("test", objective.sets["test"].batch)
    z = objective.space.coordinates(found.best_z)
    np.testing.assert_allclose(found.test_logits["tuned"], clear.logits("test", z), rtol=1e-9)


@pytest.mark.parametrize("together", [False, True])
def test_shots_are_those_of_both_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: bool) -> None:
    """Two parts of one mean; or, where these are not it, one set in place of both."""
    monkeypatch.setattr(loop, "weight_of_shots", lambda *_: 0.5)
    engine, kept = Holding(), list[tuple[str, float, bool]]()
    monkeypatch.setattr(engine, "keep", lambda name, part, add: kept.append((name, part, add)))
    objective = toy_objective(engine)
    monkeypatch.setattr(objective.space, "means", lambda part: part)
    train, dev = (objective.sets[name] for name in ("train", "dev"))
    count = len(train.labels) + len(dev.labels)
    both = {key: np.concatenate([train.batch.inputs[key], values]) for key, values in dev.batch.inputs.items()}
    if together:
        objective.sets[SHOTS] = LabelledSet(SHOTS, Batch(both), np.concatenate([train.labels, dev.labels]))
    objective.at_a_time = 1
    assert run(objective, tmp_path / "run").shots == 0.5
    assert engine.most == count + together
    parts = [(name, len(objective.sets[name].labels) / count, name == "dev") for name in ("train", "dev")]
    assert kept == ([("train", 1.0, False)] if together else parts)


def test_a_larger_test_set_takes_no_more_memory() -> None:
    plan = build_plan(model("classification"), GenOptions(**SMALL))
    compiled = cast(Compiled, SimpleNamespace(ring=lower(plan, None, Ranges()).ring, options=GenOptions(**SMALL)))
    sizes = {"train": 8000, "dev": 8000}
    needed = party_bytes(compiled, sizes, OPTIONS, Canaries(16))
    assert at_a_time(compiled, sizes) == 0
    assert at_a_time(compiled, {**sizes, "test": 10**7}) < 10**7
    assert party_bytes(compiled, {**sizes, "train": 16000}, OPTIONS, Canaries(16)) > needed
    with_test = [party_bytes(compiled, {**sizes, "test": n}, OPTIONS, Canaries(16)) for n in (10**6, 10**7)]
    assert with_test[0] == pytest.approx(with_test[1], rel=1e-3)
