"""The non-linearities of a program as fits: which function, on which interval, how exactly, in which format.

Every function tries more and more harmonics until the fit's error on the interval reaches its target; where none does,
the most accurate fit is taken. Equal arguments give one fit without a second search: layers without calibration of
their own share theirs, and lowering tries several scales.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .activations import OF_DECODERS
from .elementary import Floats
from .fits import Fit, Format, cheapest, fold_even, fold_odd, interval

SLACK = 1.2
"""Period of an interval's fit over the interval's length; the rest is the way back from one end to the other.

Measured on MiniLM's calibrated intervals: at 1.1 the way back is steep and a narrow inverse root takes 32 harmonics
instead of 16; at 1.5 the interval fills less of the period and reciprocals take 64 or 96 instead of 48 or 64.
"""
PRECISE = Format(phase_bits=32, amplitude_bits=16, phasor_bits=16)
"""For few values: one per row, head or label."""
ROOT = Format(phase_bits=32, amplitude_bits=17, phasor_bits=16)
LOSS = Format(phase_bits=32, amplitude_bits=16, phasor_bits=14)
"""Its scale, 30, is that of a loss until the last truncation."""

ACTIVATION_ERROR = 2e-3
"""Absolute. Fewer harmonics than it takes cost accuracy on tasks: docs/adaptation.md measures how much."""
BEND_HARMONICS = 5
"""Of |u|/2 in squared ReLU features. At the bend a square errs by 1e-4 of the largest feature; stage 3 of a conversion
trains through it."""
ROOT_ERROR = 1e-3
"""Relative: layer norm scales a whole row by that much."""
RECIPROCAL_ERROR = 0.065
"""Relative, and reached only at the bend where a denominator meets its floor: 48 or 64 harmonics on calibrated
intervals. From two floors on the same fit errs by at most 0.014, from three on by 0.007. Half the error takes twice as
many harmonics, as for every bend, and a denominator near its floor is mostly noise."""
HINGE_ERROR = 2e-2
"""Absolute, and reached only at the bend: 64 harmonics for differences of logits within ±10."""
SMOOTH_ERROR = 1e-4
"""Absolute, of tanh and softplus: smooth, and evaluated for few values."""


def _counts(low: int, high: int) -> tuple[int, ...]:
    """Numbers of harmonics to choose from."""
    return tuple(n for n in (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512) if low <= n <= high)


@cache
def even_part(act: str, width: float, harmonics: int = 0) -> Fit:
    """act(u) - u/2 on ±`width`: to 2e-3 where the activation's counts reach that; with `harmonics` > 0, by exactly that
    many."""
    row = OF_DECODERS[act]
    form = Format(phase_bits=15, amplitude_bits=12, phasor_bits=12)
    counts = (harmonics,) if harmonics else row.counts
    return cheapest(lambda n: fold_even(row.even_part, width, n, form), ACTIVATION_ERROR, counts)


@cache
def magnitude() -> Fit:
    """|u|/2 on ±1 with a period of 2, for squares of max(0, ±u).

    Beyond ±1 it turns back, so that |u|/2 + u/2 stays at 1 up to 2.
    """
    form = Format(phase_bits=15, amplitude_bits=12, phasor_bits=12)
    return fold_even(OF_DECODERS["relu"].even_part, 0.5, BEND_HARMONICS, form)


@cache
def precise_even_part(act: str, width: float) -> Fit:
    """The same in Z_2^64, for the few values of a head: to 2e-3 with up to 64 harmonics."""
    even = OF_DECODERS[act].even_part
    return cheapest(lambda n: fold_even(even, width, n, PRECISE), ACTIVATION_ERROR, _counts(8, 64))


@cache
def tanh(width: float) -> Fit:
    """Tanh on ±`width`, to 1e-4 with up to 64 harmonics."""
    return cheapest(lambda n: fold_odd(np.tanh, width, n, PRECISE), SMOOTH_ERROR, _counts(8, 64))


@cache
def inverse_root(
    low: float, high: float, period: float, *, divisor: float = 1.0, eps: float = 0.0, target: float = ROOT_ERROR
) -> Fit:
    """1/√(s/divisor + eps) on [low, high], to a relative error of `target` with up to 512 harmonics."""

    def f(s: Floats) -> Floats:
        return np.asarray(1 / np.sqrt(s / divisor + eps))

    return cheapest(lambda n: interval(f, low, high, period, n, ROOT, relative=True), target, _counts(16, 512))


@cache
def reciprocal(low: float, high: float, period: float, *, factor: float, unit: float, floor: float) -> Fit:
    """factor / max(unit·x, floor) on [low, high], to a relative error of 0.065 with up to 256 harmonics."""

    def f(x: Floats) -> Floats:
        return np.asarray(factor / np.maximum(x * unit, floor))

    return cheapest(
        lambda n: interval(f, low, high, period, n, PRECISE, relative=True), RECIPROCAL_ERROR, _counts(32, 256)
    )


@cache
def softplus(width: float) -> Fit:
    """log(1 + eˣ) - x/2 = log(2 cosh(x/2)) on ±`width`, to 1e-4 with up to 96 harmonics."""
    return cheapest(lambda n: fold_even(softplus_even, width, n, LOSS), SMOOTH_ERROR, _counts(16, 96))


def softplus_even(x: Floats) -> Floats:
    """log(1 + eˣ) - x/2, even."""
    return np.abs(x) / 2 + np.log1p(np.exp(-np.abs(x)))


@cache
def hinge_bend(width: float, period: float, *, margin: float, less: float) -> Fit:
    """max(0, d + margin) - d/2 - less for differences d of logits within ±`width`, to 2e-2 with up to 128 harmonics."""

    def f(d: Floats) -> Floats:
        return np.asarray(np.abs(d + margin) / 2 + margin / 2 - less)

    return cheapest(
        lambda n: interval(f, -width - margin, width, period, n, LOSS, relative=False),
        HINGE_ERROR,
        (32, 64, 96, 128),
    )
