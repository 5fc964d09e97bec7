"""What is drawn: distributions as `transformers` has them, and drafts that change none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from secfwt.runtime.generation.generator import Generator
from secfwt.runtime.generation.sampling import Sampling, checked
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

Floats = NDArray[np.float64]
P, Q = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.6, 0.1, 0.2])


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1, 0, 1), (0.7, 5, 1), (1.3, 0, 0.8), (0.5, 7, 0.6)])
def test_distributions_are_those_of_transformers(temperature: float, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, 50)
    scores = TemperatureLogitsWarper(float(temperature))(torch.zeros(1, 1), torch.tensor(logits)[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(torch.zeros(1, 1), scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(torch.zeros(1, 1), scores)
    expected = torch.softmax(scores, -1)[0].numpy()
    assert np.abs(Sampling(temperature, top_k, top_p).distribution(logits) - expected).max() < 1e-12


def test_without_temperature_the_likeliest_is_certain() -> None:
    assert Sampling().distribution(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 0]


class Told:
    """A generator of random numbers that says what it is told, and remembers what it is asked."""

    def __init__(self, u: float) -> None:
        self.u = u
        self.asked: list[Floats] = []

    def random(self) -> float:
        return self.u

    def choice(self, n: int, p: Floats) -> int:
        self.asked.append(p)
        return 0


def test_the_rule_adds_up_to_the_exact_distribution() -> None:
    """Σ_x q(x)·(P(x stays) at x, and what is drawn in its place elsewhere) = p, by the rule itself."""
    total = np.zeros(4)
    for x in range(4):
        stays = min(1.0, P[x] / Q[x])
        if stays > 0:
            assert checked([P, P], [x], [Q], Told(stays - 1e-9))[0] == x  # type: ignore[arg-type]
        total[x] += Q[x] * stays
        if stays < 1:
            told = Told(stays + 1e-9)
            assert len(checked([P, P], [x], [Q], told)) == 1  # type: ignore[arg-type]
            total += Q[x] * (1 - stays) * told.asked[0]
    assert np.abs(total - P).max() < 1e-12


CHAIN = np.random.default_rng(1).dirichlet(np.full(4, 0.6), 4)
OTHER = np.random.default_rng(2).dirichlet(np.full(4, 0.6), 4)
START = np.array([0.4, 0.3, 0.2, 0.1])


class Chain:
    """Text, engine, model and draft of a chain of four tokens: what follows depends on the last one."""

    def __init__(self, rows: int) -> None:
        self.options = SimpleNamespace(step_rows=rows)
        self.steps = 0

    def rows(self, behind: Sequence[int], start: int) -> Floats:
        return np.array(behind[start:], np.float64)[:, None]

    def begin(self, inputs: Mapping[str, Any]) -> Floats:
        return np.log(START)

    def step(self, rows: Floats, at: int) -> Floats:
        self.steps += 1
        return np.log(CHAIN[rows[:, 0].astype(int)])

    def logits(self, opened: Floats) -> Floats:
        return opened

    def draft(
        self, behind: Sequence[int], count: int, sampling: Sampling, rng: np.random.Generator
    ) -> tuple[list[int], list[Floats]]:
        tokens, chances = list(behind), []
        for _ in range(count):
            chances.append(OTHER[tokens[-1]])
            tokens.append(int(rng.choice(4, p=chances[-1])))
        return tokens[len(behind) :], chances


@pytest.mark.parametrize("rows", [1, 3])
def test_texts_have_the_same_distribution_with_and_without_a_draft(rows: int) -> None:
    """All 64 texts of three tokens behind the first: chi-square of 20,000 against their exact probabilities."""
    chain, rng, seen = Chain(rows), np.random.default_rng(3), np.zeros((4,) * 4)
    count = 20_000
    for _ in range(count):
        any_chain: Any = chain
        generator = Generator(any_chain, any_chain, Sampling(1.0), rng, any_chain if rows > 1 else None)
        seen[tuple(generator.tokens(any_chain, {}, 4, ()))] += 1
    expected = count * np.einsum("a,ab,bc,cd->abcd", START, CHAIN, CHAIN, CHAIN)
    assert seen[expected == 0].sum() == 0
    kept = expected > 5
    rest = [expected[~kept].sum(), seen[~kept].sum()]
    square = (np.square(seen - expected) / np.maximum(expected, 1))[kept].sum()
    square += (rest[1] - rest[0]) ** 2 / max(rest[0], 1)
    freedom = int(kept.sum())
    assert abs(square - freedom) < 4.5 * np.sqrt(2 * freedom)
    assert chain.steps == 3 * count if rows == 1 else chain.steps < 2.2 * count


def test_an_end_ends_it() -> None:
    chain: Any = Chain(3)
    for seed in range(20):
        tokens = list(
            Generator(chain, chain, Sampling(1.0), np.random.default_rng(seed), chain).tokens(chain, {}, 9, (2,))
        )
        assert 2 not in tokens[:-1]
        assert tokens[-1] == 2 or len(tokens) == 9
