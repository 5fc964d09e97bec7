"""The CMA-ES adapter and the objective it searches."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.toy_objective import toy_objective
from secfwt.runtime.engine import Floats
from secfwt.runtime.tuning.objective import likely_weight, mean_loss, tried_weights
from secfwt.runtime.tuning.search import CmaSearch, LayerwiseSearch, SearchError


def sphere(z: Floats) -> Floats:
    return np.square(z - 0.3).sum(axis=1)


def run(search: CmaSearch, generations: int) -> list[Floats]:
    asked = []
    for _ in range(generations):
        z = search.ask()
        search.tell(z, sphere(z))
        asked.append(z)
    return asked


def test_finds_a_minimum() -> None:
    search = CmaSearch(8, popsize=8, sigma=0.5, seed=1)
    last = run(search, 100)[-1]
    assert sphere(last).min() < 1e-6
    assert search.sigma < 0.01


def test_same_seed_same_candidates_whatever_numpy_global_state() -> None:
    first = run(CmaSearch(4, popsize=6, sigma=0.5, seed=0), 5)
    np.random.seed(99)
    second = run(CmaSearch(4, popsize=6, sigma=0.5, seed=0), 5)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, run(CmaSearch(4, popsize=6, sigma=0.5, seed=1), 5))


def test_saved_state_continues_identically() -> None:
    straight = run(CmaSearch(6, popsize=6, sigma=0.5, seed=2), 40)
    search = CmaSearch(6, popsize=6, sigma=0.5, seed=2)
    run(search, 17)
    assert np.array_equal(run(pickle.loads(pickle.dumps(search)), 23), straight[17:])


def test_bound_holds() -> None:
    search = CmaSearch(4, popsize=6, sigma=2.0, bound=0.25, seed=1)
    assert max(np.abs(z).max() for z in run(search, 30)) <= 0.25


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_losses_take_no_part(bad: float) -> None:
    search = CmaSearch(4, popsize=6, sigma=0.5, seed=1)
    z = search.ask()
    losses = sphere(z)
    losses[[0, 4]] = bad
    assert search.tell(z, losses) == 2
    assert np.isfinite(search.mean).all()
    assert np.isfinite(search.ask()).all()


def test_too_many_non_finite_losses_end_the_search() -> None:
    search = CmaSearch(4, popsize=6, sigma=0.5, seed=1)
    losses = np.array([1.0, np.nan, np.nan, np.nan, np.nan, 2.0])
    with pytest.raises(SearchError, match="4 of 6 candidates have no loss that can be"):
        search.tell(search.ask(), losses)


def test_convergence_is_reported() -> None:
    search = CmaSearch(2, popsize=6, sigma=0.5, seed=1)
    assert search.converged is None
    run(search, 200)
    assert search.converged is not None


def test_losses_in_the_clear_equal_the_program() -> None:
    z = np.random.default_rng(1).standard_normal((4, 5))
    losses, logits = toy_objective(), toy_objective(reveal="logits")
    for objective in (losses, logits):
        objective.load("train")
    assert np.allclose(losses.losses("train", z), logits.losses("train", z))


def test_mean_loss_against_definitions() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((7, 3)) * 4, rng.integers(3, size=7)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.isclose(mean_loss(logits, labels, "ce", 0.0), -np.log(p[np.arange(7), labels]).mean())
    hinge = [
        sum(max(0.0, 2.0 + row[j] - row[label]) for j in range(3) if j != label)
        for row, label in zip(logits, labels, strict=True)
    ]
    assert np.isclose(mean_loss(logits, labels, "hinge", 2.0), np.mean(hinge))
    assert np.isfinite(mean_loss(logits * 1e4, labels, "ce", 0.0))


def test_prompt_rows_stay_short_enough_for_the_program() -> None:
    space = toy_objective().space
    z = np.random.default_rng(0).standard_normal((50, 5)) * np.geomspace(0.01, 100, 50)[:, None]
    sent = space.coordinates(z)
    rows = np.stack([space.rows(row, {"p0": np.zeros((1, 8))})[0, 0] for row in z])
    lengths = np.linalg.norm(rows, axis=-1) / np.sqrt(8)
    assert lengths.max() <= 3 + 1e-9
    free = lengths < 3 - 1e-9
    assert free.any()
    assert not free.all()
    assert np.array_equal(sent[free], 2.0 * z[free])
    assert np.array_equal(space.coordinates(z[3]), sent[3])


def test_layerwise_moves_one_prompt_a_generation_and_finds_the_minimum() -> None:
    search = LayerwiseSearch(3, 4, popsize=8, sigma=0.5, seed=1)
    goal = np.linspace(-1, 1, 12)
    for generation in range(90):
        before = search.mean
        z = search.ask()
        moved = slice(4 * (generation % 3), 4 * (generation % 3) + 4)
        still = np.delete(z, np.arange(12)[moved], axis=1)
        assert np.array_equal(still, np.tile(np.delete(before, np.arange(12)[moved]), (8, 1)))
        search.tell(z, np.sum((z - goal) ** 2, axis=1))
    assert np.abs(search.mean - goal).max() < 0.05


def test_layerwise_state_continues_with_the_same_candidates() -> None:
    search = LayerwiseSearch(2, 3, popsize=6, sigma=0.5, seed=1)
    for _ in range(3):
        z = search.ask()
        search.tell(z, np.sum(z**2, axis=1))
    copy = pickle.loads(pickle.dumps(search))
    assert np.array_equal(search.ask(), copy.ask())


@pytest.mark.parametrize("sigma", [0.1, 5.0])
def test_one_coordinate_with_a_bound(sigma: float) -> None:
    search = CmaSearch(1, popsize=4, sigma=sigma, bound=0.7, seed=1)
    for _ in range(20):
        z = search.ask()
        assert np.abs(z).max() <= 0.7
        search.tell(z, np.square(z - 0.5).sum(axis=-1))
    assert search.mean == pytest.approx([0.5], abs=0.05)


def test_shots_weigh_what_their_losses_make_likely() -> None:
    weights = tried_weights(16, 64.0)
    assert (weights.min(), weights.max(), tried_weights(16, 2.0).max(), tried_weights(2, 64.0).max()) == (0, 4, 2, 0.5)
    unsure = likely_weight(weights, np.full(len(weights), 700.0))
    assert unsure == pytest.approx(weights.mean())
    losses = 700.0 + 50.0 * (weights - 2.0) ** 2
    assert likely_weight(weights, losses) == pytest.approx(2.0)
    assert likely_weight(weights, np.where(weights == 2.0, np.nan, losses)) == pytest.approx(1.0)


def test_noise_leaves_a_search_that_finds_less_of_a_minimum() -> None:
    """CMA-ES ranks candidates: noise below their differences changes little."""
    found = []
    for deviation in (0.0, 0.02, 0.5):
        search, rng = CmaSearch(6, popsize=10, sigma=0.5, seed=2), np.random.default_rng(5)
        for _ in range(40):
            z = search.ask()
            search.tell(z, ((z - 0.3) ** 2).sum(axis=1) + deviation * rng.standard_normal(len(z)))
        found.append(float(((search.mean - 0.3) ** 2).sum()))
    assert found[0] < 1e-4 < found[1] < 0.02 < found[2]
