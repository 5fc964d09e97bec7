"""What a loss can be: bounds, that nothing possible is rejected, and what the loop does with what is not."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.plan_toys import SMALL, model
from helpers.toy_objective import DIM, ToyEngine, toy_objective
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.compile import Covered
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.plan.build import build_plan
from secfwt.runtime.engine import Floats
from secfwt.runtime.progress import PlainDisplay
from secfwt.runtime.tuning.limits import Limits, limits, mpspdz_width
from secfwt.runtime.tuning.loop import Outcome, tune
from secfwt.runtime.tuning.model import PublicModel
from secfwt.runtime.tuning.objective import mean_loss
from secfwt.runtime.tuning.options import SearchOptions, TuneOptions
from secfwt.runtime.tuning.report import summary, write_report
from secfwt.runtime.tuning.run_folder import TuningRun
from secfwt.runtime.tuning.search import SearchError
from secfwt.runtime.tuning.session import limits_of

OPTIONS = SearchOptions(dim=DIM, prompts=1, popsize=6, budget=36, sigma=0.5, bound=0.0, eval_every=2, seed=1)
TIGHT = Limits(low=-0.05, high=9.0, logit=22.0, health=0.01)


def limits_for(head: str = "prototypes", loss: str = "ce", width: float = 8.0, temperature: float = 20.0) -> Limits:
    options: dict[str, Any] = {"loss": loss, "temperature": temperature}
    return limits(build_plan(model(head), GenOptions(**SMALL, **options)), width)


def test_bounds_follow_from_the_plan() -> None:
    ce = limits_for()  # four labels
    assert (ce.low, ce.high) == pytest.approx((-0.05, 8 + np.log(4) + 0.05))
    assert ce.logit == pytest.approx(22)
    hinge = limits_for(loss="hinge")
    assert (hinge.low, hinge.high) == pytest.approx((-0.21, 3 * (2 + 8) + 0.21))
    assert limits_for(temperature=1.0).high == pytest.approx(2.2 + np.log(4) + 0.05)  # the cosine's own range
    dense = limits_for("classification", width=np.inf)
    assert (dense.low, dense.high, dense.logit) == (-0.05, np.inf, np.inf)
    assert mpspdz_width("ce", MpSpdzOptions()) == 128  # |logits| < 64, as `cross_entropy` there says
    assert mpspdz_width("hinge", MpSpdzOptions()) == 2 * 2.0**12


def test_limits_are_those_of_the_engine_that_runs() -> None:
    plan = build_plan(model("prototypes"), GenOptions(**SMALL))
    bundle = PublicModel(
        name="m", spec=model("prototypes"), options=GenOptions(), plan=plan, adapted=True, program_hash="",
        covered=Covered(4.0, 0.02),
    )  # fmt: skip
    assert limits_of(TuneOptions(health=True), bundle) == limits(plan, 4.0, 0.02)
    whole = limits(plan)  # what a cosine head can give
    assert limits_of(TuneOptions(reveal="logits"), bundle) == limits_of(TuneOptions(engine="clear"), bundle) == whole
    elsewhere = replace(bundle, covered=None)
    assert limits_of(TuneOptions(engine="mp-spdz", attention="rfa"), elsewhere) == whole  # 44 is within 128


@given(
    st.lists(st.lists(st.floats(-4, 4), min_size=4, max_size=4), min_size=1, max_size=5),
    st.integers(0, 3),
    st.sampled_from(["ce", "hinge"]),
)
def test_a_loss_of_logits_in_range_is_never_rejected(logits: list[list[float]], label: int, loss: str) -> None:
    value = mean_loss(np.array(logits), np.full(len(logits), label), loss, 2.0)
    noise = 0.01 if loss == "ce" else 0.1
    assert limits_for(loss=loss).admits(np.array([value - noise, value, value + noise])).all()


@pytest.mark.parametrize("value", [-0.06, 9.5, np.nan, np.inf, -1e9])
def test_what_no_loss_can_be_is_not_admitted(value: float) -> None:
    assert not limits_for().admits(np.array([value])).any()


class WrongEngine(ToyEngine):
    """Returns impossible losses for the first candidates of every generation, as values that wrapped would be."""

    def __init__(self, wrong: Floats, dies_after: int = 1000) -> None:
        super().__init__()
        self.wrong, self.left = wrong, dies_after

    def losses(self, name: str, z: Floats) -> Floats:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        losses = super().losses(name, z)
        if len(z) > 1 or self.wrong[0] == 99:
            losses[: len(self.wrong)] = self.wrong[: len(z)]
        return losses


class SickEngine(ToyEngine):
    """A program's with `--health`, whose rows are wrong in one generation."""

    def __init__(self) -> None:
        super().__init__()
        self.generations = 0

    def losses(self, name: str, z: Floats) -> Floats:
        self.generations += len(z) == OPTIONS.popsize
        wrong = np.full(len(z), 1e-4)
        wrong[-1] = 0.25 if self.generations == 2 and name == "train" else 1e-4
        return np.stack([super().losses(name, z), wrong], axis=1)


def search(engine: ToyEngine, run: TuningRun, reveal: str = "losses") -> tuple[Outcome, str]:
    objective = toy_objective(engine, reveal)
    objective.limits = TIGHT
    said = io.StringIO()
    try:
        return tune(objective, OPTIONS, run, PlainDisplay(Console(file=said, width=300))), said.getvalue()
    finally:
        run.close()


def test_impossible_losses_take_no_part(tmp_path: Path) -> None:
    outcome, said = search(WrongEngine(np.array([31.25, -4.0])), TuningRun.create(tmp_path / "r", {}, {}))
    assert outcome.rejected == 12
    assert outcome.best_loss > 0
    assert outcome.best_dev == outcome.start_dev  # both contenders' dev losses are impossible: none is taken
    assert "generation 1: 2 of 6 candidates rejected: loss 31.25, loss -4; " in said
    assert "a loss of this program is from -0.05 to 9" in said
    line = json.loads((tmp_path / "r" / "history.jsonl").read_text().splitlines()[0])
    assert line["losses"][:2] == [None, None]
    missing, _ = search(WrongEngine(np.array([np.nan, np.nan])), TuningRun.create(tmp_path / "s", {}, {}))
    assert np.array_equal(missing.best_z, outcome.best_z)


def test_counts_go_on_after_an_interruption(tmp_path: Path) -> None:
    wrong = np.array([31.25])
    straight, _ = search(WrongEngine(wrong), TuningRun.create(tmp_path / "a", {}, {}))
    with pytest.raises(KeyboardInterrupt):
        search(WrongEngine(wrong, dies_after=6), TuningRun.create(tmp_path / "b", {}, {}))
    resumed, _ = search(WrongEngine(wrong), TuningRun.resume(tmp_path / "b", {}))
    assert resumed.rejected == straight.rejected == 6
    assert np.array_equal(resumed.best_z, straight.best_z)


def test_an_impossible_start_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"train set has loss 99; .* from -0.05 to 9: .*--calibration-text.*--health"):
        search(WrongEngine(np.array([99.0])), TuningRun.create(tmp_path / "r", {}, {}))


class LoudEngine(ToyEngine):
    """Opens logits of which one candidate's are beyond the limit."""

    asked = 0

    def logits(self, name: str, z: Floats) -> Floats:
        self.asked += 1
        return super().logits(name, z) * (1000 if self.asked == 3 else 1)  # after z = 0 on train and on dev


def test_impossible_logits_are_rejected_too(tmp_path: Path) -> None:
    outcome, said = search(LoudEngine(), TuningRun.create(tmp_path / "r", {}, {}), "logits")
    assert outcome.rejected == 1
    assert "generation 1: 1 of 6 candidates rejected: l" in said


def test_wrong_rows_are_shown_warned_of_and_kept(tmp_path: Path) -> None:
    engine, run = SickEngine(), TuningRun.create(tmp_path / "r", {}, {})
    outcome, said = search(engine, run)
    assert (outcome.unhealthy, outcome.rejected) == (1, 0)
    assert "warning  generation 2: 0.25 rows per example have a wrong length, at most 0.01 can be rounding" in said
    assert said.count("warning") == 1
    assert "health 0.0001 rows off" in said
    lines = [json.loads(line) for line in (tmp_path / "r" / "history.jsonl").read_text().splitlines()]
    assert lines[1]["health"] == [1e-4] * 5 + [0.25]
    plain, _ = search(ToyEngine(), TuningRun.create(tmp_path / "s", {}, {}))
    assert np.array_equal(plain.best_z, outcome.best_z)
    result = write_report(TuningRun(tmp_path / "t"), plain, engine, {"wall_seconds": 1.0}, None)
    assert "calibrated ranges in 2 of 6 generations" in summary(result | {"unhealthy": 2})


def test_with_noise_a_loss_is_what_the_clip_and_three_parties_make_of_it() -> None:
    options = GenOptions(**SMALL, noise=0.1, clip_loss=2.0)
    found = limits(build_plan(model("prototypes"), options), 8.0, None, (-0.1, 2.01), 0.1)
    room = 6 * np.sqrt(3) * 0.1
    assert (found.low, found.high) == pytest.approx((-0.1 - room, 2.01 + room))
    assert found.logit == limits_for().logit


@pytest.mark.parametrize(
    ("others", "header"),
    [
        ({"keep_beyond": 1.0}, "--keep-beyond is 1, --noise 0.1"),
        ({"engine": "clear"}, "--noise is 0.1, --engine clear"),
        ({"engine": "mp-spdz"}, "--noise is 0.1, --engine mp-spdz"),
        ({"delta": 0.0}, "--delta is 0.0"),
    ],
)
def test_runs_that_open_more_or_have_no_parties_refuse_noise(others: dict[str, Any], header: str) -> None:
    with pytest.raises(ProblemsFound) as found:
        TuneOptions(noise=0.1, **others)
    assert header in [problem.header for problem in found.value.problems]
