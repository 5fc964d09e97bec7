"""The estimate of a row's log-sum-exp: least squares, batch by batch, as numpy's in one go."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.ring_toys import HEADS, HIDDEN, toy
from secfwt.codegen.owners.log_sum import RIDGE, log_sums
from secfwt.codegen.plan.oracle import run_plan


def test_estimates_are_ridge_least_squares_of_what_the_oracle_sees() -> None:
    t = toy("prototypes", variant="softmax", examples=40)
    seen: dict[str, list[np.ndarray]] = {}
    run_plan(t.plan, t.weights, t.inputs, observe=lambda site, values: seen.setdefault(site, []).append(values))
    rows = np.concatenate([part.reshape(-1, HIDDEN) for part in seen["layers.0.hidden"]])
    sums = np.concatenate([part.reshape(-1, HEADS) for part in seen["layers.0.log_sum"]])
    x, y = rows - rows.mean(axis=0), sums - sums.mean(axis=0)
    ridge = RIDGE * np.square(x).mean() * len(x) * np.eye(HIDDEN)
    expected = np.linalg.solve(x.T @ x + ridge, x.T @ y).T
    halves = [{name: (a[:20], a[20:])[i] if len(a) == 40 else a for name, a in t.inputs.items()} for i in (0, 1)]
    got = log_sums(t.plan, t.weights, halves)
    assert got["layers.0.log_sum.weight"] == pytest.approx(expected, abs=2e-3)
    estimate = rows @ got["layers.0.log_sum.weight"].T + got["layers.0.log_sum.bias"]
    assert np.abs(estimate.mean(axis=0) - sums.mean(axis=0)).max() < 1e-3
    assert np.var(estimate - sums) < np.var(y)


def test_every_layer_gets_its_own() -> None:
    t = toy(variant="softmax")
    made = log_sums(t.plan, t.weights, [t.inputs])
    assert {name: array.shape for name, array in made.items()} == {
        f"layers.{i}.log_sum.{part}": shape
        for i in (0, 1)
        for part, shape in (("weight", (HEADS, HIDDEN)), ("bias", (HEADS,)))
    }
