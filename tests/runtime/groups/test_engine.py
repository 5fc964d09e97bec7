"""One engine of several: the same results whoever computed what, and what becomes of groups that die or are slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.toy_objective import DIM, ToyEngine, toy_objective, toy_set
from secfwt.runtime.engine import Cost, Floats, Left
from secfwt.runtime.errors import BudgetSpentError, GroupError, InputError, ServiceError
from secfwt.runtime.groups.engine import Group, GroupedEngine
from secfwt.runtime.groups.progress import StepProgress

Z = np.random.default_rng(5).normal(size=(9, DIM))
SET = toy_set("train", 12, 1)


class Member(ToyEngine):
    """A group's engine, with what it was asked for, how long a pair takes, and limits that it counts."""

    def __init__(self, pair: float = 0.0, losses: int | None = None, rows: int | None = None) -> None:
        super().__init__()
        self.weights, self.noisy, self.pair, self.left = 7, False, pair, Left(losses, rows)
        self.asked: list[tuple[str, int, int]] = []
        self.sizes: dict[str, int] = {}
        self.before: Callable[[], None] = lambda: None
        self.aborted = threading.Event()

    def load_examples(self, name: str, batch: Any) -> None:
        self.sizes[name] = len(batch)
        super().load_examples(name, batch)

    def losses(self, name: str, z: Floats) -> Floats:
        self._ask("losses", name, len(z))
        if self.left.evaluations is not None:
            assert len(z) <= self.left.evaluations, "the parties would refuse"
            self.left = Left(self.left.evaluations - len(z), self.left.logit_rows)
        return super().losses(name, z)

    def logits(self, name: str, z: Floats) -> Floats:
        self._ask("logits", name, 1)
        return super().logits(name, z)

    def keep(self, name: str, z: Floats, *, add: bool = False) -> None:
        self._ask("added" if add else "keep", name, 1)

    def allowance(self) -> Left:
        return self.left

    def cost(self) -> Cost:
        pairs = sum(c * e for _, c, e in self.asked)
        return Cost(1.0 * len(self.asked), 100 * pairs, 10 * len(self.asked), 5, len(self.asked))

    def abort(self) -> None:
        self.aborted.set()

    def _ask(self, what: str, name: str, candidates: int) -> None:
        self.before()
        self.asked.append((what, candidates, self.sizes[name]))
        time.sleep(self.pair * candidates * self.sizes[name])

    @property
    def candidates(self) -> int:
        return sum(c for what, c, _ in self.asked if what == "losses")


def grouped(*members: Member, notes: list[str] | None = None) -> GroupedEngine:
    groups = [Group(f"g{i}.toml", member) for i, member in enumerate(members)]
    engine = GroupedEngine(groups, StepProgress(lambda done, total: None), (notes if notes is not None else []).append)
    engine.load_examples("train", SET.batch)
    return engine


def alone() -> ToyEngine:
    engine = ToyEngine()
    engine.load_examples("train", SET.batch)
    return engine


def dies(times: int = 0) -> Callable[[], None]:
    """After so many pieces."""
    left = [times]

    def before() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ServiceError(1, "lost", "it is gone")

    return before


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_result_is_one_group_s(count: int) -> None:
    engine = grouped(*(Member() for _ in range(count)))
    for candidates in (9, 1, 2, 9):
        assert np.allclose(engine.losses("train", Z[:candidates]), alone().losses("train", Z[:candidates]), atol=1e-12)
    assert np.allclose(engine.logits("train", Z[0]), alone().logits("train", Z[0]), atol=1e-12)
    other = toy_set("train", 3, 2)
    engine.load_examples("train", other.batch)  # replaces what the groups hold
    one = ToyEngine()
    one.load_examples("train", other.batch)
    assert np.allclose(engine.losses("train", Z), one.losses("train", Z), atol=1e-12)
    with pytest.raises(InputError, match=r"there is no set of examples 'dev'; known: train"):
        engine.losses("dev", Z)
    engine.leave()


def test_a_slow_group_gets_less() -> None:
    fast, slow = Member(pair=0.0005), Member(pair=0.004)
    engine = grouped(fast, slow)
    for _ in range(3):
        engine.losses("train", Z)
    before = fast.candidates, slow.candidates
    engine.losses("train", Z)
    assert fast.candidates - before[0] >= 7
    assert slow.candidates - before[1] <= 2
    engine.leave()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_group_that_dies_is_done_without(after: int) -> None:
    lives, falls, notes = Member(), Member(pair=0.0005), list[str]()
    engine = grouped(lives, falls, notes=notes)
    falls.before = dies(after)
    for candidates in (9, 9, 1):
        assert np.allclose(engine.losses("train", Z[:candidates]), alone().losses("train", Z[:candidates]), atol=1e-12)
    lives.pair = 0.001  # so that the other is asked again, if it lives
    for candidates in (9, 1):
        assert np.allclose(engine.losses("train", Z[:candidates]), alone().losses("train", Z[:candidates]), atol=1e-12)
    assert np.allclose(engine.logits("train", Z[0]), alone().logits("train", Z[0]), atol=1e-12)
    assert notes == ["warning  group g1.toml is lost (party 1: it is gone); 1 go on, and do its part"]
    engine.leave()


def test_rows_of_examples_whose_groups_die_are_taken_over() -> None:
    members = [Member() for _ in range(4)]
    engine = grouped(*members)
    engine.losses("train", Z[:1])
    assert [member.sizes["train"] for member in members] == [3, 3, 3, 3]
    for member in members[1:]:
        member.before = dies()
    assert np.allclose(engine.losses("train", Z[:1]), alone().losses("train", Z[:1]), atol=1e-12)
    assert np.allclose(engine.losses("train", Z), alone().losses("train", Z), atol=1e-12)
    assert members[0].sizes["train"] == 12
    engine.leave()


def test_no_group_is_left() -> None:
    members = Member(), Member()
    engine = grouped(*members)
    for member in members:
        member.before = dies()
    with pytest.raises(GroupError, match=r"^no group of parties is left: g0.toml: party 1: it is gone; g1.to"):
        engine.losses("train", Z)
    with pytest.raises(GroupError, match="no group of parties is left"):
        engine.allowance()
    engine.leave()


def test_limits_add_up_and_no_group_is_asked_for_more_than_it_opens() -> None:
    few, many = Member(losses=4, rows=5), Member(losses=30, rows=40)
    engine = grouped(few, many)
    assert engine.allowance() == Left(34, 45)
    for _ in range(3):
        assert np.allclose(engine.losses("train", Z), alone().losses("train", Z), atol=1e-12)
    assert few.candidates + many.candidates == 27  # every candidate once: a limited program's sets are never cut
    assert {e for what, _, e in (*few.asked, *many.asked) if what == "losses"} == {12}
    assert engine.allowance() == Left(7, 45)
    with pytest.raises(BudgetSpentError, match="more than the groups' limits leave"):
        engine.losses("train", Z)
    engine.leave()


def test_noisy_losses_are_of_whole_sets() -> None:
    members = Member(), Member(), Member()
    engine = grouped(*members)
    for member in members:
        member.noisy = True
    engine.losses("train", Z[:1])
    assert [asked for member in members for asked in member.asked] == [("losses", 1, 12)]
    engine.leave()


def test_costs_are_bytes_of_all_and_rounds_of_the_longest() -> None:
    members = Member(), Member()
    engine = grouped(*members)
    engine.losses("train", Z)
    assert engine.cost().bytes_sent == 100 * 9 * 12
    most = max(len(member.asked) for member in members)
    assert (engine.cost().rounds, engine.cost().peak_bytes) == (10 * most, 5)
    engine.leave()


def test_keep_shares_the_whole_set_with_all() -> None:
    members = [Member() for _ in range(3)]
    engine = grouped(*members)
    members[2].before = dies()
    engine.keep("train", Z[0], add=True)
    assert [member.asked for member in members] == [[("added", 1, 12)], [("added", 1, 12)], []]
    engine.leave()


def test_other_weights_are_refused() -> None:
    other = Member()
    other.weights = 8
    with pytest.raises(GroupError, match=r"^groups g0.toml and g1.toml have different weights: the model owner"):
        grouped(Member(), other)


def test_an_error_that_is_no_death_ends_the_step() -> None:
    members = Member(), Member()
    engine = grouped(*members)

    def wrong() -> None:
        raise InputError("candidates have 4 coordinates, the program takes 5")

    members[1].before = wrong
    with pytest.raises(InputError, match="4 coordinates"):
        engine.losses("train", Z)
    assert not members[0].aborted.is_set()
    engine.leave()


def test_an_interrupt_does_not_wait_for_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Member(), Member()
    engine = grouped(*members)
    for member in members:

        def until_aborted(member: Member = member) -> None:
            assert member.aborted.wait(20)
            raise ServiceError(0, "lost", "aborted")

        member.before = until_aborted

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("secfwt.runtime.groups.engine.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.losses("train", Z)
    assert all(member.aborted.is_set() for member in members)
    engine.leave()


def test_progress_is_of_the_whole_step() -> None:
    shown: list[tuple[int, int]] = []
    progress = StepProgress(lambda done, total: shown.append((done, total)))
    progress.begin(100)
    progress.of(0)(1, 2)  # examples are loaded: no part of the step
    progress.piece(0, 60)
    progress.piece(1, 40)
    progress.of(0)(1, 2)
    progress.of(1)(3, 4)
    progress.end(0, done=True)
    progress.end(1, done=False)  # it dies
    assert shown == [(0, 0), (30, 100), (60, 100), (90, 100), (60, 100)]


def test_the_loop_s_objective_runs_on_it() -> None:
    objective = toy_objective()
    objective.load("train")
    expected = objective.losses("train", Z)
    objective.engine = GroupedEngine(
        [Group("a", Member()), Group("b", Member())], StepProgress(lambda done, total: None), lambda text: None
    )
    objective.load("train")
    assert np.allclose(objective.losses("train", Z), expected, atol=1e-12)
