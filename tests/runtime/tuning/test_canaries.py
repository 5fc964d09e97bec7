"""Canaries: what they catch, that no party can tell them, and that the search does not notice them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from helpers.toy_objective import DIM, ToyEngine, toy_objective
from secfwt.runtime.engine import Floats
from secfwt.runtime.tuning.limits import TOLERANCE, Canaries, CanaryError
from secfwt.runtime.tuning.objective import Objective

C = 8
Z = np.random.default_rng(3).standard_normal((C, DIM))


class Meddling(ToyEngine):
    """Adds to the losses of a step, by place."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Floats = np.zeros(C + 1)
        self.asked: list[Floats] = []

    def losses(self, name: str, z: Floats) -> Floats:
        self.asked.append(z)
        return super().losses(name, z) + self.error[: len(z)]


def meddled(every: int = 16, seed: int = 1) -> tuple[Meddling, Objective]:
    engine = Meddling()
    objective = toy_objective(engine)
    objective.load("train")
    objective.canaries = Canaries(every, {"train": float(objective.losses("train", np.zeros((1, DIM)))[0])})
    objective.canaries.chance = random.Random(seed)
    engine.asked.clear()
    return engine, objective


def caught(error: Floats, trials: int = 300) -> float:
    """Share of steps in which this error is noticed."""
    engine, objective = meddled()
    engine.error = error
    count = 0
    for _ in range(trials):
        try:
            objective.evaluate("train", Z)
        except CanaryError:
            count += 1
    return count / trials


@pytest.mark.parametrize(
    ("every", "candidates", "count"),
    [(16, 1, 1), (16, 8, 1), (16, 20, 1), (16, 32, 2), (4, 8, 2), (1, 3, 3), (0, 8, 0)],
)
def test_how_many(every: int, candidates: int, count: int) -> None:
    assert Canaries(every).count(candidates) == count


def test_losses_are_those_of_the_candidates_in_their_order() -> None:
    _, plain = meddled(0)
    engine, objective = meddled()
    for _ in range(20):
        assert np.array_equal(objective.losses("train", Z), plain.losses("train", Z))
    assert {len(z) for z in engine.asked} == {C + 1}


def test_a_canary_is_anywhere_and_looks_like_a_candidate() -> None:
    canaries, places, zeros = Canaries(16, {"train": 0.7}), set(), 0
    for _ in range(400):
        mixed = canaries.mix("train", Z)
        ((place, equal),) = mixed.canaries.items()
        places.add(place)
        zeros += equal is None
        assert np.array_equal(mixed.z[mixed.places], Z)
        assert np.array_equal(mixed.z[place], np.zeros(DIM) if equal is None else mixed.z[equal])
    assert places == set(range(C + 1))
    assert 140 < zeros < 260


def test_without_a_known_loss_candidates_are_repeated() -> None:
    canaries = Canaries(16)
    assert None not in {equal for _ in range(50) for equal in canaries.mix("dev", Z).canaries.values()}


def one(place: int) -> Floats:
    error = np.zeros(C + 1)
    error[place] = 2 * TOLERANCE
    return error


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (np.zeros(C + 1), 0.0, 0.0),
        (np.full(C + 1, TOLERANCE / 2), 0.0, 0.0),
        (one(4), 1.5 / (C + 1) - 0.07, 1.5 / (C + 1) + 0.07),
        (np.full(C + 1, 2 * TOLERANCE), 0.4, 0.6),
        (np.arange(1.0, C + 2), 1.0, 1.0),
    ],
    ids=["none", "noise", "one candidate", "all alike", "all different"],
)
def test_what_is_caught(error: Floats, least: float, most: float) -> None:
    """The probabilities that docs/security.md has."""
    assert least <= caught(error) <= most


def test_other_weights_are_named_as_a_cause() -> None:
    """A run that is resumed compares with what it measured at the start."""
    canaries, losses = Canaries(1, {"train": 0.7}), np.full(2 * C, 1.2)
    mixed = canaries.mix("train", Z)
    with pytest.raises(CanaryError, match=r"z = 0 has another loss than at the start.* these are other weights"):
        canaries.check("train", replace(mixed, canaries={0: None}), losses, np.ones(2 * C, bool))


def test_a_rejected_loss_is_compared_with_nothing() -> None:
    engine, objective = meddled()
    engine.error = np.full(C + 1, np.nan)
    seen = objective.evaluate("train", Z)
    assert len(seen.rejected) == C
    assert np.isnan(seen.losses).all()


def test_losses_made_impossible_are_caught_like_others() -> None:
    """Or a party could reject the candidates it does not like."""
    assert caught(np.eye(C + 1)[0] * 1e6) == pytest.approx(caught(np.eye(C + 1)[0]), abs=0.1)


def test_logits_have_canaries_too() -> None:
    objective = toy_objective(reveal="logits")
    objective.load("train")
    plain = objective.losses("train", Z)
    objective.canaries = Canaries(16)
    assert np.array_equal(objective.losses("train", Z), plain)


def test_noise_widens_what_two_losses_may_differ_by() -> None:
    """By six standard deviations of a difference: each loss has the noise of three parties."""
    canaries, z = Canaries(1, {"train": 0.7}, noise=0.01), np.zeros((2 * C, DIM))
    mixed = replace(canaries.mix("train", z[:C]), canaries={0: None})
    most = TOLERANCE + 6 * np.sqrt(6) * 0.01
    admitted = np.ones(2 * C, bool)
    canaries.check("train", mixed, np.full(2 * C, 0.7 + 0.99 * most), admitted)
    with pytest.raises(CanaryError, match=r"0\.7000 and 0\.8686; roundings and noise explain 0\.17"):
        canaries.check("train", mixed, np.full(2 * C, 0.7 + 1.01 * most), admitted)


def test_noise_alone_ends_no_run() -> None:
    engine, objective = meddled()
    objective.canaries.noise = 0.05
    rng = np.random.default_rng(4)
    for _ in range(2000):
        engine.error = np.sqrt(3) * 0.05 * rng.standard_normal(C + 1)
        objective.evaluate("train", Z)
    objective.canaries.every = 1  # each candidate has one
    engine.error = np.arange(2.0 * C)
    with pytest.raises(CanaryError, match="noise explain"):
        objective.evaluate("train", Z)
