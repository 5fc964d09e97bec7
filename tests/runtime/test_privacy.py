"""ε of noised losses: against exact numbers of the Gaussian mechanism, and by which set, weight and count."""

from __future__ import annotations

import re
import sys
from math import erf, exp, sqrt

import pytest
from helpers.places import ROOT
from secfwt.runtime.errors import InputError
from secfwt.runtime.federation.privacy import UnionMechanism
from secfwt.runtime.privacy import Mechanism

PAGE = ROOT / "docs" / "owners.md"
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


def test_many_examples_at_once_are_one_that_weighs_as_much() -> None:
    m, heavy = mechanism(1.0), Mechanism(1.0, 4.0, 1e-5, {"train": 30 / 100 + 29 * 2.0**-25, "dev": 1.0})
    assert m.epsilon_of({"train": 30}, {"train": 7}) == pytest.approx(heavy.epsilon({"train": 7}))
    # in both sets: more than in either; in a set that nothing was asked of: nothing
    both = m.epsilon_of({"train": 3, "dev": 4}, {"train": 7, "dev": 7})
    assert both > max(m.epsilon_of({"train": 3}, {"train": 7}), m.epsilon_of({"dev": 4}, {"dev": 7}))
    assert m.epsilon_of({"train": 30}, {"dev": 7}) == m.epsilon_of({}, {"train": 7}) == 0


def test_of_a_sum_over_owners() -> None:
    owners = {"a": {"train": 2, "dev": 2}, "b": {"train": 32, "dev": 32}}
    m = UnionMechanism(1.0, 4.0, 1e-5, {"train": 1 / 16, "dev": 1 / 16}, owners)
    one = Mechanism(16.0, 4.0, 1e-5, {"train": 1.0, "dev": 1.0})
    asked = {"train": 40, "dev": 10}
    # what an example changes does not depend on how many there are
    assert m.epsilon(asked) == pytest.approx(one.epsilon(asked), rel=1e-3)
    assert m.epsilon_of_owner(asked) == m.epsilon_of(owners["b"], asked) > m.epsilon_of(owners["a"], asked)
    said = m.statement(asked)
    assert "differential privacy of each example, by one party's noise alone; of all of an owner's at once ε = " in said
    assert said.endswith("; nothing else of them is opened to the coordinator")
    assert "logits of the test set" not in said
    # the rest of the limit may go to either set: of one example to the one that more was asked of
    promised = m.promise({"train": 3, "dev": 5}, 100)
    assert promised.startswith(f"(ε = {m.epsilon({'dev': 105}):.3g}, δ = 1e-05)")
    assert promised.endswith(f"at once ε = {m.epsilon_of_owner({'train': 3, 'dev': 105}):.3g}")


def test_the_numbers_of_the_page_are_the_accountants() -> None:
    owners = {"one": {"train": 16, "dev": 16}}
    rows = re.findall(r"^\| (\d+) \| ([\d. /]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 3
    for deviation, spread, one, whole in rows:
        m = UnionMechanism(float(deviation), 4.23, 1e-5, {"train": 1 / 16, "dev": 1 / 16}, owners)
        assert f"{m.epsilon({'train': 200}):.2g}" == one
        assert f"{m.epsilon_of_owner({'train': 200}):.3g}" == whole
        assert spread == " / ".join(f"{sqrt(3) * 16 * m.deviation / n:.2g}" for n in (100, 1000, 4000))


def test_what_is_said() -> None:
    said = mechanism().statement({"train": 16, "dev": 4})
    assert said.startswith("16 losses of train and 4 losses of dev: (ε = ")
    assert "δ = 1e-05)-differential privacy of each example, by one party's noise alone" in said


def test_a_missing_accountant_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"--noise needs dp-accounting: pip install 'secfwt\[privacy\]'"):
        mechanism()
