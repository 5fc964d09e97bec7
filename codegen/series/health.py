"""How far a number that is to be 1 is from it, as a number between 0 and 1 from one opening.

    f(y) = 1 - cos(π (y - 1) / P)^2p,   P = 4, p = 8

y is ‖x̂‖²/h of a layer norm's row, or n·r(n) of a sum n of softmax weights and its inverse. A right row has y = 1 and
f = 0, with a slope of 0 there: an error of 1 % of y counts 5e-4, one of 10 % 0.05, of 30 % 0.36, of 100 % 1. That is
what a sum over rows needs. Σ(y - 1) cancels, and is blurred by the fits' own errors, which are linear in it;
Σ(y - 1)² takes truncations in place of an opening, and one row far off overflows it. What f does not see is a y near
5, 9, 13 …, one period on.
"""

from __future__ import annotations

from functools import cache
from math import comb, cos, pi, sin

import numpy as np

from .fits import Fit, Format, Samples, fitted

PERIOD = 4.0
POWER = 8
FORM = Format(phase_bits=16, amplitude_bits=16, phasor_bits=16)


@cache
def off(period: float, share: float = 1.0) -> Fit:
    """`share`·f as the fit of a phase y/`period`, `period` about `PERIOD`: exact, with 8 harmonics."""
    weights = [comb(2 * POWER, POWER + m) / 4**POWER for m in range(POWER + 1)]
    angles = [2 * pi * m / period for m in range(1, POWER + 1)]
    pairs = list(zip(weights[1:], angles, strict=True))
    return Fit(
        FORM, share * (1 - weights[0]), tuple(range(1, POWER + 1)), tuple(-2 * share * w * cos(a) for w, a in pairs),
        tuple(2 * share * w * sin(a) for w, a in pairs), 0.0,
    )  # fmt: skip


def off_by(deviation: float) -> float:
    """f at y = 1 + `deviation`."""
    return float(1 - cos(pi * deviation / PERIOD) ** (2 * POWER))


EDGE = 0.2
"""Length over which `outside` rises from 0 to 1, relative to its interval's: half way it is at 0.1."""


@cache
def outside(low: float, high: float, share: float = 1.0) -> Fit:
    """`share` times how far x is outside [low, high], as the fit of a phase of period 2·(high - low): 0 inside, to
    1.5e-4; 1 from `EDGE` on, to 1e-3. For intervals that say nothing of y, as an attention denominator's."""
    harmonics, span = 24, high - low
    inside = np.linspace(low, high, 700)
    far = np.linspace(high + EDGE * span, low + (2 - EDGE) * span, 700)
    step = np.linspace(0, 1, 20)[1:-1]
    rise = np.sin(pi / 2 * step) ** 2
    samples = Samples(
        np.concatenate([inside, far, high + EDGE * span * step, low - EDGE * span * step]),
        share * np.concatenate([np.zeros(inside.size), np.ones(far.size), rise, rise]),
        np.concatenate([np.ones(inside.size), np.full(far.size, 0.02), np.full(2 * step.size, 0.002)]),
        inside.size,
    )
    return fitted(samples, 2 * span, list(range(1, harmonics + 1)), FORM, cosines=True, sines=True)
