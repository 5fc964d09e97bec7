"""The two functions of softmax attention without a maximum (`lowering/softmax.py`) as Fourier series.

G(s) = min(e^(s/2), e^(PLATEAU/2)) of a score s less the row's estimated log-sum-exp; a weight is G(s)².
r(n) = 1/n of the sum n of a row's weights, or a coarse one that a step of Newton's corrects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import pi, sqrt

import numpy as np

from .elementary import Floats
from .fits import Fit, Format, Samples, cheapest, fitted

PLATEAU = 2.0
"""Where weights stop growing. The estimate of a row's log-sum-exp errs by 0.3 to 0.8 (MiniLM, standard deviation), by 2
or less for 99.9 % of rows. Without the plateau the rest would have sums of up to e^7, which no series inverts."""
BEYOND = 5.0
"""How far beyond the plateau's edge scores may lie: rows whose log-sum-exp is underestimated by up to 7."""
CAUSAL_BEYOND = 8.0
"""The same of decoders. A row that finds again what it follows, as induction heads do, has a log-sum-exp that no linear
function of it tells: in one of 64 texts SmolLM2's layer 17 exceeds the estimate by 7.4, and its weights, on the
plateau, add up to 73. Calibration on 150 other texts saw 5 and 15."""
HIGHEST = 1.2 * (PLATEAU + BEYOND)
"""What 99.99 % of calibration's scores must stay below: weights of the rest are wrong. An estimate fitted to
few texts leaves those of MiniLM's lowest layer at 7.2."""
SHORTEST = 1.15
"""Period of G over the length of its interval; the rest is the way back from the plateau to 0."""
WEIGHT = Format(phase_bits=15, amplitude_bits=12, phasor_bits=12)
MOST_ROOT = 7.7
"""Of |G|: the plateau is at 2.7, and its edge overshoots to 3.3 where the interval is long."""
INVERSE = Format(phase_bits=32, amplitude_bits=15, phasor_bits=15)
COARSE_INVERSE = Format(phase_bits=32, amplitude_bits=13, phasor_bits=13)
"""What rounding adds to r, a step squares."""
WEIGHT_ERROR = 0.01
"""Relative to G where s > -1, absolute below, as far as the plateau: a weight errs by twice that. MiniLM's layers take
8 to 12 harmonics, but for the lowest, whose scores spread over 90 units."""
INVERSE_ERROR = 0.005
"""Relative: scales a head's output of one row by that much."""
HARMLESS = 2.5
"""Sums of up to that many times the interval's end are still inverted, less exactly."""


def period(low: float, beyond: float = BEYOND) -> float:
    """Period of G for scores from `low` on, and up to `beyond` the plateau's edge."""
    return SHORTEST * (PLATEAU + beyond - low)


@cache
def root_weight(low: float, length: float, beyond: float = BEYOND) -> Fit:
    """G on [low, PLATEAU + beyond] with a period of `length`: to 0.02 below the plateau's edge, where 16 harmonics
    reach that. On the plateau, where few scores lie, a ripple counts for less: it overshoots by up to 0.6 there.

    Below `low`, and further beyond the plateau than its interval, the series goes on with its period: wrong.
    """
    return cheapest(lambda n: _root_weight(low, PLATEAU + beyond, length, n), WEIGHT_ERROR, tuple(range(8, 17)))


def _root_weight(low: float, high: float, length: float, n: int) -> Fit:
    x = np.linspace(low, high, 60 * n + 600)
    y = np.exp(np.minimum(x, PLATEAU) / 2)
    # relative above e^(-1/2), absolute below; the edge rounds off, and the plateau follows
    weight = np.where(x > PLATEAU - 0.7, 0.15, 1.0) / np.maximum(y, np.exp(-0.5))
    order = np.argsort(x > PLATEAU - 0.7, kind="stable")  # the error is that of what lies below
    step = np.linspace(0, 1, 8 * n + 22)[1:-1]
    samples = Samples(
        np.concatenate([x[order], high + (length - (high - low)) * step]),
        np.concatenate([y[order], y[-1] * np.cos(pi / 2 * step) ** 2]),
        np.concatenate([weight[order], np.full(step.size, 0.003)]),
        int(np.sum(x <= PLATEAU - 0.7)),
    )
    return fitted(samples, length, list(range(1, n + 1)), WEIGHT, cosines=True, sines=True)


@dataclass(frozen=True)
class InverseSum:
    """1/n of sums of weights n."""

    fit: Fit
    """r(n) ≈ 1/n."""
    corrected: bool
    """Whether r·(2 - n·r) is taken in place of r: its relative error is the square of r's."""

    @property
    def error(self) -> float:
        """Relative, on the interval."""
        return self.fit.error**2 if self.corrected else self.fit.error

    def quotient(self, n: Floats, length: float) -> Floats:
        """n times what stands for 1/n, with a period of `length`: 1 where it is right."""
        product: Floats = n * self.fit(n / length)
        return product * (2 - product) if self.corrected else product


@cache
def inverse_sum(low: float, high: float, length: float, *, corrected: bool = False) -> InverseSum:
    """1/n on [low, high] with a period of `length`, to a relative error of 0.005 where 192 harmonics reach that, and
    roughly on to `HARMLESS`·high. Below `low` it stays near 1/low. Corrected it takes a third of the harmonics."""
    target = sqrt(INVERSE_ERROR) if corrected else INVERSE_ERROR
    form = COARSE_INVERSE if corrected else INVERSE
    fit = cheapest(
        lambda n: _inverse_sum(low, high, length, n, form), target, (16, 20, 24, 32, 40, 48, 64, 96, 128, 192)
    )
    return InverseSum(fit, corrected)


def sum_period(low: float, high: float) -> float:
    """Period of 1/n: the way back from 1/(HARMLESS·high) to 1/low is a tenth of it."""
    return 1.1 * (HARMLESS * high - low / 2)


def _inverse_sum(low: float, high: float, length: float, n: int, form: Format) -> Fit:
    span = high - low
    even, logarithmic = np.linspace(low, high, 5 * n + 200), low + span * np.geomspace(1e-5, 1, 5 * n + 200)
    x = np.unique(np.concatenate([even, logarithmic]))
    after = np.linspace(high, HARMLESS * high, 3 * n + 60)[1:]
    before = np.linspace(low / 2, low, 12)[:-1]
    start, end = float(after[-1]), float(before[0]) + length
    step = np.linspace(0, 1, n + 20)[1:-1]
    bridge: Floats = 1 / start + (1 / low - 1 / start) * np.sin(pi / 2 * step) ** 2
    samples = Samples(
        np.concatenate([x, after, before, start + (end - start) * step]),
        np.concatenate([1 / x, 1 / after, np.full(before.size, 1 / low), bridge]),
        np.concatenate([x, 0.3 * after, np.full(before.size, 0.03 * low), 0.002 / bridge]),
        x.size,
    )
    return fitted(samples, length, list(range(1, n + 1)), form, cosines=True, sines=True)
