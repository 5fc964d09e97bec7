"""The two series of softmax attention: errors on their intervals, what they do beyond."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.codegen.series.softmax import (
    HARMLESS,
    INVERSE_ERROR,
    PLATEAU,
    inverse_sum,
    period,
    root_weight,
    sum_period,
)  # fmt: skip


@pytest.mark.parametrize("low", [-8.0, -12.0, -20.0, -30.0])
def test_a_root_weight_grows_to_its_plateau(low: float) -> None:
    length = period(low)
    fit = root_weight(low, length)
    x = np.linspace(low, PLATEAU - 0.7, 4000)
    error = np.abs(fit(x / length) - np.exp(x / 2)) / np.maximum(np.exp(x / 2), np.exp(-0.5))
    assert error.max() < 1.2 * max(fit.error, 0.01)
    assert fit.error < 0.02
    tail = x[x < -8]
    assert np.abs(fit(tail / length)).max(initial=0.0) < 0.03, "squared, it adds less than 1e-3"
    plateau = fit(np.linspace(PLATEAU, PLATEAU + 4, 500) / length)
    assert np.abs(plateau - np.exp(PLATEAU / 2)).max() < 0.35
    assert fit.bound * 2.0**fit.scale < 2**30


@pytest.mark.parametrize("low", [-60.0, -100.0])
def test_long_intervals_lose_exactness_and_keep_their_shape(low: float) -> None:
    length = period(low)
    fit = root_weight(low, length)
    assert fit.error < 0.15
    assert np.abs(fit(np.linspace(low, -15, 2000) / length)).max() < 0.05
    assert fit.bound * 2.0**fit.scale < 2**30


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.15, 25.0), (0.2, 18.0), (0.3, 10.0)])
def test_sums_are_inverted_and_a_little_beyond(low: float, high: float, corrected: bool) -> None:
    length = sum_period(low, high)
    inverse = inverse_sum(low, high, length, corrected=corrected)
    x = np.geomspace(low, high, 3000)
    assert np.abs(inverse.quotient(x, length) - 1).max() < 1.1 * max(inverse.error, INVERSE_ERROR)
    beyond = np.linspace(high, HARMLESS * high, 300)
    assert np.abs(inverse.quotient(beyond, length) - 1).max() < (0.2 if corrected else 0.1)
    below = inverse.fit(np.linspace(low / 2, low, 50) / length)
    assert 0.5 / low < below.min()
    assert below.max() < 2 / low


def test_a_correction_spares_most_harmonics() -> None:
    """What rows of a decoder may sum to."""
    long, short = (inverse_sum(0.15, 24.0, sum_period(0.15, 24.0), corrected=corrected) for corrected in (False, True))
    assert short.error <= INVERSE_ERROR
    assert 2.5 * len(short.fit.m) < len(long.fit.m)
