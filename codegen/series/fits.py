"""Fourier fits of the non-linearities: what one masked opening evaluates (docs/program.md, `fit`).

f(θ) = const + Re Σ_m c_m e^(2πi·m·θ), θ in turns. A function on an interval becomes periodic in one of two ways: *odd
harmonics* with a period of four times the interval's half width (even functions such as GELU's even part bend back
beyond the interval instead of jumping), or a least-squares fit on the interval with the period left some slack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import erf, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .harmonics import fit_harmonics, series

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
GAP_WEIGHT = 0.002
_erf = np.vectorize(erf, otypes=[np.float64])


@dataclass(frozen=True)
class Fit:
    """Harmonics of a periodic function and the fixed-point format its evaluation uses.

    `k` bits of the phase are opened; harmonics are shared at scale `fc` and multiplied by phasors at scale `fa`; the
    result has the scale fc+fa. `ring` 32 shares the harmonics in Z_2^32 (then |f|·2^(fc+fa) < 2^30) and lifts.
    `error`: largest error of the exact series on the interval it was fitted on (relative where the fit was).
    """

    k: int
    fc: int
    fa: int
    ring: int
    const: float
    m: tuple[int, ...]
    re: tuple[float, ...]
    im: tuple[float, ...]
    error: float

    @property
    def scale(self) -> int:
        """Scale of the result."""
        return self.fc + self.fa

    @cached_property
    def bound(self) -> float:
        """Largest magnitude of the series anywhere: that on 64 points a period of its highest harmonic."""
        points = 64 * max(self.m)
        spectrum = np.zeros(points // 2 + 1, np.complex128)
        spectrum[list(self.m)] = (np.array(self.re) + 1j * np.array(self.im)) * points / 2
        return float(np.max(np.abs(self.const + np.fft.irfft(spectrum, points))))

    def __call__(self, theta: Floats) -> Floats:
        """The series at phases `theta` (turns, any shape)."""
        out = np.full(theta.shape, self.const)
        for m, re, im in zip(self.m, self.re, self.im, strict=True):
            angle = 2 * pi * np.remainder(m * theta, 1.0)
            out += re * np.cos(angle) - im * np.sin(angle)
        return out

    def text(self) -> str:
        """The `fit` line's keys."""

        def numbers(values: tuple[float, ...]) -> str:
            return ",".join(repr(float(v)) for v in values)

        return (
            f"k={self.k} fc={self.fc} fa={self.fa} ring={self.ring} const={float(self.const)!r} "
            f"m={','.join(map(str, self.m))} re={numbers(self.re)} im={numbers(self.im)}"
        )


def _rounded(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    # 12 significant digits: far below the fixed-point error, and short text
    return tuple(float(f"{v:.11e}") + 0.0 for v in values)


def _solve(
    x: Floats,
    y: Floats,
    w: Floats,
    period: float,
    harmonics: list[int],
    *,
    sines: bool,
    cosines: bool,
    core: int,
    k: int,
    fc: int,
    fa: int,
    ring: int,
) -> Fit:
    """Weighted ridge fit of the points (x, y); the error is that of the first `core` of them."""
    # Ridge: a coefficient c costs c·2^-fa of rounding noise at every point, which is just another residual to minimise.
    # It also bounds the condition number, so that the normal equations are accurate.
    ridge = (2.0**-fa / 3) ** 2 * float(np.sum(w**2))
    amplitudes = fit_harmonics(x / period, y, w, harmonics, ridge, cosines=cosines, sines=sines)
    residual = float(np.max(np.abs(series(x[:core] / period, amplitudes) - y[:core]) * w[:core]))
    const, re, im = (
        _rounded(part) for part in (amplitudes[:1].real, amplitudes[harmonics].real, amplitudes[harmonics].imag)
    )
    return Fit(k, fc, fa, ring, const[0], tuple(harmonics), re, im, residual)


def fold_even(f: Function, half_width: float, n: int, *, k: int, fc: int, fa: int, ring: int) -> Fit:
    """An even f on [-half_width, half_width] by n odd cosine harmonics of period 4·half_width.

    Odd harmonics make the series symmetric about the point (half_width, f): an f that is linear from some x0 on, as
    |x|/2 and the even part of GELU are, stays right up to 2·half_width - x0, twice as far as it was fitted. There the
    series bends back: the error grows linearly, without a cliff.
    """
    x = half_width * np.sin(np.linspace(0, pi / 2, 40 * n + 400))
    return _fold(f, x, half_width, n, odd=False, k=k, fc=fc, fa=fa, ring=ring)


def fold_odd(f: Function, half_width: float, n: int, *, k: int, fc: int, fa: int, ring: int) -> Fit:
    """An odd f on [-half_width, half_width] by n odd sine harmonics of period 4·half_width (tanh)."""
    x = half_width * np.sin(np.linspace(0, pi / 2, 40 * n + 400))
    fit = _fold(f, np.concatenate([-x, x]), half_width, n, odd=True, k=k, fc=fc, fa=fa, ring=ring)
    return replace(fit, const=0.0)


def _fold(f: Function, x: Floats, half_width: float, n: int, *, odd: bool, k: int, fc: int, fa: int, ring: int) -> Fit:
    """f at points x by the first n odd harmonics of period 4·half_width: sines for an odd f, cosines for even ones."""
    return _solve(
        x,
        f(x),
        np.ones_like(x),
        4 * half_width,
        list(range(1, 2 * n, 2)),
        sines=odd,
        cosines=not odd,
        core=x.size,
        k=k,
        fc=fc,
        fa=fa,
        ring=ring,
    )


def interval(
    f: Function,
    low: float,
    high: float,
    period: float,
    n: int,
    *,
    relative: bool,
    k: int,
    fc: int,
    fa: int,
    ring: int = 64,
) -> Fit:
    """f on [low, high] by n harmonics of a `period` > high - low; relative: the error relative to f is minimised."""
    if not high - low < period:
        raise ValueError(f"fit: interval [{low}, {high}] does not fit a period of {period}")
    # twice as dense in the logarithm near `low`, where 1/sqrt and 1/x bend
    span = high - low
    x = np.unique(
        np.concatenate([np.linspace(low, high, 5 * n + 200), low + span * np.geomspace(1e-5, 1, 5 * n + 200)])
    )
    y = f(x)
    w = 1 / np.maximum(np.abs(y), 1e-9) if relative else np.ones_like(y)
    # The gap between high and low + period is free; a loose pull to a smooth way back keeps the series from swinging
    # there.
    step = np.linspace(0, 1, n + 20)[1:-1]
    bridge = y[-1] + (y[0] - y[-1]) * np.sin(pi / 2 * step) ** 2
    loose = GAP_WEIGHT * (1 / np.maximum(np.abs(bridge), 1e-9) if relative else np.ones_like(bridge))
    points = np.concatenate([x, high + (period - span) * step])
    return _solve(
        points,
        np.concatenate([y, bridge]),
        np.concatenate([w, loose]),
        period,
        list(range(1, n + 1)),
        sines=True,
        cosines=True,
        core=x.size,
        k=k,
        fc=fc,
        fa=fa,
        ring=ring,
    )


def gelu_even(x: Floats) -> Floats:
    """GELU(x) - x/2 = x·erf(x/√2)/2."""
    return np.asarray(x * _erf(x / np.sqrt(2)) / 2)


def relu_even(x: Floats) -> Floats:
    """ReLU(x) - x/2 = |x|/2."""
    return np.abs(x) / 2


def softplus_even(x: Floats) -> Floats:
    """log(1 + e^x) - x/2 = log(2 cosh(x/2))."""
    return np.abs(x) / 2 + np.log1p(np.exp(-np.abs(x)))


def cheapest(make: Callable[[int], Fit], target: float, counts: tuple[int, ...]) -> Fit:
    """The fit with the fewest harmonics of `counts` whose error is at most `target`; the most accurate one if none
    reaches it."""
    best: Fit | None = None
    for n in counts:
        fit = make(n)
        if fit.error <= target:
            return fit
        if best is None or fit.error < best.error:
            best = fit
    if best is None:
        raise ValueError("cheapest: no harmonic counts to choose from")
    return best
