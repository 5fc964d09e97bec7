"""ε of noised losses: against exact numbers of the Gaussian mechanism, and by which set, weight and count."""

from __future__ import annotations

import sys
from math import erf, exp, sqrt

import pytest
from secfwt.runtime.errors import InputError
from secfwt.runtime.privacy import Mechanism

WEIGHTS = {"train": 1 / 100, "dev": 1 / 50}


def mechanism(deviation: float = 0.05, delta: float = 1e-5) -> Mechanism:
    return Mechanism(deviation, 4.0, delta, WEIGHTS)


def exact(mean: float, epsilon: float) -> float:
    """δ at ε of two Gaussians of deviation 1 whose means are `mean` apart (Balle and Wang 2018, theorem 8)."""

    def phi(x: float) -> float:
        return (1 + erf(x / sqrt(2))) / 2

    return phi(mean / 2 - epsilon / mean) - exp(epsilon) * phi(-mean / 2 - epsilon / mean)


@pytest.mark.parametrize(("deviation", "count"), [(0.05, 1), (0.05, 10), (0.5, 400), (1.0, 4000)])
def test_epsilon_is_above_the_exact_one_and_close(deviation: float, count: int) -> None:
    """Of many losses the sum of divergences is that of one whose means are √count times as far apart."""
    mean = sqrt(count) * 4.0 * (WEIGHTS["train"] + 2.0**-25) / deviation
    epsilon = mechanism(deviation).epsilon({"train": count})
    assert exact(mean, epsilon) <= 1e-5
    assert exact(mean, 0.75 * epsilon) > 1e-5


def test_the_set_with_the_largest_counts() -> None:
    m = mechanism()
    assert m.epsilon({}) == m.epsilon({"train": 0}) == 0
    assert m.epsilon({"train": 16}) == pytest.approx(
        m.epsilon({"dev": 4}), rel=1e-3
    )  # half the weight, four times as many
    assert m.epsilon({"train": 16, "dev": 40}) == m.epsilon({"dev": 40}) > m.epsilon({"train": 40})
    assert m.epsilon({"train": 17}) > m.epsilon({"train": 16})


def test_what_is_said() -> None:
    said = mechanism().statement({"train": 16, "dev": 4})
    assert said.startswith("16 losses of train and 4 losses of dev: (ε = ")
    assert "δ = 1e-05)-differential privacy of each example, by one party's noise alone" in said


def test_a_missing_accountant_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"--noise needs dp-accounting: pip install 'secfwt\[privacy\]'"):
        mechanism()
