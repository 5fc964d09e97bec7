"""The measure of a row's length."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.codegen.series.health import PERIOD, off, off_by


def test_the_fit_is_the_measure() -> None:
    period = 1.01 * PERIOD
    y = np.linspace(0, 4, 81)
    assert off(period)(y / period) == pytest.approx(1 - np.cos(np.pi * (y - 1) / period) ** 16, abs=1e-12)
    assert off(PERIOD)(np.array([1.3]) / PERIOD) == pytest.approx(off_by(0.3))
    assert off(period).bound <= 1 + 1e-9


def test_right_rows_count_nothing_and_wrong_ones_one() -> None:
    assert off_by(0.0) == 0
    assert off_by(0.01) == pytest.approx(5e-4, rel=0.05)
    assert off_by(0.1) == pytest.approx(0.05, rel=0.1)
    assert off_by(-1.0) > 0.99  # a row that vanished
    assert off_by(1.0) > 0.99
