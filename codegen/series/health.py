"""How far a row's length is from what a layer norm makes it, as a number between 0 and 1 from one opening.

    f(y) = 1 - cos(π (y - 1) / P)^2p,   y = ‖x̂‖²/h,   P = 4, p = 8

A right row has y = 1 and f = 0, with a slope of 0 there: an error of 1 % of y counts 5e-4, one of 10 % 0.05, of 30 %
0.36, of 100 % 1. That is what a sum over rows needs. Σ(y - 1) cancels, and is blurred by the fits' own errors, which
are linear in it; Σ(y - 1)² takes truncations in place of an opening, and one row far off overflows it. What f does not
see is a y near 5, 9, 13 …, one period on.
"""

from __future__ import annotations

from functools import cache
from math import comb, cos, pi, sin

from .fits import Fit, Format

PERIOD = 4.0
POWER = 8
FORM = Format(phase_bits=16, amplitude_bits=16, phasor_bits=16)


@cache
def off(period: float) -> Fit:
    """f as the fit of a phase y/`period`, `period` about `PERIOD`: exact, with 8 harmonics."""
    weights = [comb(2 * POWER, POWER + m) / 4**POWER for m in range(POWER + 1)]
    angles = [2 * pi * m / period for m in range(1, POWER + 1)]
    pairs = list(zip(weights[1:], angles, strict=True))
    return Fit(
        FORM, 1 - weights[0], tuple(range(1, POWER + 1)), tuple(-2 * w * cos(a) for w, a in pairs),
        tuple(2 * w * sin(a) for w, a in pairs), 0.0,
    )  # fmt: skip


def off_by(deviation: float) -> float:
    """f at y = 1 + `deviation`."""
    return float(1 - cos(pi * deviation / PERIOD) ** (2 * POWER))
