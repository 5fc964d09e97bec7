"""Fourier fits of the non-linearities: what one masked opening evaluates (docs/program.md, `fit`).

    f(θ) = const + Re Σ_m c_m e^(2πi·m·θ),   θ in turns

A function on an interval becomes periodic in one of two ways:

* `fold_even`, `fold_odd`: odd harmonics whose period is four times the interval's half width. The series bends back
  beyond the interval instead of jumping.
* `interval`: least squares on the interval, with a period a little longer than it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, floor, log2, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .elementary import Floats, Function
from .harmonics import fit_harmonics, series

GAP_WEIGHT = 0.002
"""Weight of a point between the end of an interval and its next period, where one inside has 1.

Nobody asks for values there, but free harmonics swing, which takes bits from everything (`Fit.bound`). 1/√x on
[0.1, 30] by 128 harmonics: without a weight the series reaches 12 times its largest value and errs by 2e-4, with 0.002
3.6 times and 9e-4, with 1 1.2 times and 2e-2.
"""

POINTS = 64
"""Per period of a series' highest harmonic, where its range is looked for."""
LEAST_RING = 8
"""Bits of the smallest ring."""
ROUNDINGS = 0.05
"""Bits beyond a bound, which is of real numbers, for what roundings add to it."""

MOST_SCALE = 60
"""Largest scale of a series or a phasor: a value of 1 stays below 2^62 with its roundings."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The last harmonics of a fit, whose amplitudes are small: they add up on their own first, in a smaller ring."""

    harmonics: int
    phasor_bits: int
    """Scale of their phasors: at most that of the others."""
    ring_bits: int
    """Of the ring that they are shared and added up in."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Fixed-point numbers of one evaluation."""

    phase_bits: int
    """Bits of the phase that are opened."""
    amplitude_bits: int
    """Scale of the shared harmonics c_m e^(-2πi·m·r), r the mask."""
    phasor_bits: int
    """Scale of the public phasors e^(2πi·m·(θ+r)) that multiply them."""
    ring_bits: int = 64
    """Of the ring that the harmonics are shared and added up in (`lowering/narrow.py`)."""
    tail: Tail | None = None
    """None: all harmonics are alike."""

    def __post_init__(self) -> None:
        if self.scale > MOST_SCALE:
            raise ValueError(f"amplitude and phasor bits are {self.scale} in all, at most {MOST_SCALE} fit the ring")

    @property
    def scale(self) -> int:
        """Scale of the result."""
        return self.amplitude_bits + self.phasor_bits


@dataclass(frozen=True)
class Fit:
    """Harmonics m of a periodic function, c_m = re + i·im, and the format that they are evaluated in.

    `error`: largest error of the exact series on the interval it was fitted on (relative where the fit was).
    """

    format: Format
    const: float
    m: tuple[int, ...]
    re: tuple[float, ...]
    im: tuple[float, ...]
    error: float

    @property
    def scale(self) -> int:
        """Scale of the result."""
        return self.format.scale

    @cached_property
    def bound(self) -> float:
        """Largest magnitude of the series anywhere: that on `POINTS` per period of its highest harmonic."""
        return float(np.max(np.abs(self._points())))

    def _points(self) -> Floats:
        """The series on `POINTS` per period of its highest harmonic."""
        points = POINTS * max(self.m)
        spectrum = np.zeros(points // 2 + 1, np.complex128)
        spectrum[list(self.m)] = (np.array(self.re) + 1j * np.array(self.im)) * points / 2
        return np.asarray(self.const + np.fft.irfft(spectrum, points))

    def span(self, scale: int) -> tuple[float, float]:
        """Between what the parties' result lies at a scale of at most the fit's, whatever phase they open: exact series
        and all roundings.

        Of N evenly spaced points' largest |f| a trigonometric polynomial of degree M exceeds 1/cos(πM/N) times nowhere
        (Ehlich and Zeller 1964). Both parts of an amplitude are off by half a unit of 2^-fc at most, and a phasor by
        one of its own scale, or three where it is a product of two table entries (vm/ring/phasor.h). Three units of the
        result are for the constant and the shifts of two shares.
        """
        values = self._points()
        low, high = float(np.min(values)), float(np.max(values))
        beyond = (high - low) / 2 * (1 / cos(pi / POINTS) - 1)
        form, longer = self.format, 1 if self.format.phase_bits <= 16 else 3
        phasor = np.full(len(self.m), longer * 2.0**-form.phasor_bits)
        if form.tail:
            phasor[len(self.m) - form.tail.harmonics :] = longer * 2.0**-form.tail.phasor_bits
        amplitude = sqrt(0.5) * 2.0**-form.amplitude_bits
        rounded = float(np.sum(np.hypot(self.re, self.im) * phasor + amplitude * (1 + phasor)))
        off = beyond + rounded + 3 * 2.0**-scale
        return low - off, high + off

    def tails(self) -> Iterator[Tail]:
        """The last 1, 2, … harmonics, in the smallest ring Z_2^b with |their sum| < 2^(b-2), roundings included.

        n amplitudes are off by up to √½ units of 2^-fc each, and a phasor is up to 2^fa + 1 units long: + 3 where it
        is a product of two table entries (vm/ring/phasor.h).

        A phasor that is off by 2^-fa makes an amplitude A err by A·2^-fa. A tail's phasors keep as many bits as make
        them err by as much, in the root of squares, as all the others' do.
        """
        sizes = np.hypot(self.re, self.im)[::-1]
        sums, squares = np.cumsum(sizes), np.cumsum(sizes**2)
        rests = np.cumsum(sizes[::-1] ** 2)[::-1]
        form, longer = self.format, 1 if self.format.phase_bits <= 16 else 3
        for n in range(1, len(sizes)):
            rest, square = rests[n], squares[n - 1]
            spared = max(0, floor(log2(rest / square) / 2)) if rest and square else 0
            bits = max(0, form.phasor_bits - spared)
            most = (2.0**bits + longer) * (sums[n - 1] * 2.0**form.amplitude_bits + n * sqrt(0.5))
            yield Tail(harmonics=n, phasor_bits=bits, ring_bits=max(LEAST_RING, floor(log2(most)) + 3))

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

        f, tail = self.format, ""
        if f.tail:
            tail = f" tail={f.tail.harmonics} tail_fa={f.tail.phasor_bits} tail_ring={f.tail.ring_bits}"
        return (
            f"k={f.phase_bits} fc={f.amplitude_bits} fa={f.phasor_bits} ring={f.ring_bits} const={float(self.const)!r} "
            f"m={','.join(map(str, self.m))} re={numbers(self.re)} im={numbers(self.im)}{tail}"
        )


@dataclass(frozen=True)
class Samples:
    """Points (x, y) of a function with their weights, all of one length; a fit's error is that of the first `core`."""

    x: Floats
    y: Floats
    weight: Floats
    core: int


def fitted(samples: Samples, period: float, harmonics: list[int], form: Format, *, cosines: bool, sines: bool) -> Fit:
    """Weighted ridge fit of the samples by some harmonics of a period; its error is weighted as they are."""
    # Ridge: an amplitude a costs a·2^-phasor_bits of rounding noise at every point, which is just another residual to
    # minimise. It also bounds the condition number, so that the normal equations are accurate.
    ridge = (2.0**-form.phasor_bits / 3) ** 2 * float(np.sum(samples.weight**2))
    theta = samples.x / period
    amplitudes = fit_harmonics(theta, samples.y, samples.weight, harmonics, ridge, cosines=cosines, sines=sines)
    inside = slice(samples.core)
    residual = (series(theta[inside], amplitudes) - samples.y[inside]) * samples.weight[inside]
    const, re, im = (
        _rounded(part) for part in (amplitudes[:1].real, amplitudes[harmonics].real, amplitudes[harmonics].imag)
    )
    return Fit(form, const[0], tuple(harmonics), re, im, float(np.max(np.abs(residual))))


def _rounded(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    # 12 significant digits: far below the fixed-point error, and short text
    return tuple(float(f"{v:.11e}") + 0.0 for v in values)


def fold_even(f: Function, half_width: float, n: int, form: Format) -> Fit:
    """An even f on [-half_width, half_width] by n odd cosine harmonics of period 4·half_width.

    Odd harmonics make the series symmetric about the point (half_width, f): an f that is linear from some x0 on, as
    |x|/2 and the even part of GELU are, stays right up to 2·half_width - x0, twice as far as it was fitted. There the
    series bends back: the error grows linearly, without a cliff.
    """
    x = _quarter(half_width, n)
    samples = Samples(x, f(x), np.ones_like(x), x.size)
    return fitted(samples, 4 * half_width, _odd(n), form, cosines=True, sines=False)


def fold_odd(f: Function, half_width: float, n: int, form: Format) -> Fit:
    """An odd f on [-half_width, half_width] by n odd sine harmonics of period 4·half_width (tanh)."""
    x = _quarter(half_width, n)
    x = np.concatenate([-x, x])
    samples = Samples(x, f(x), np.ones_like(x), x.size)
    return replace(fitted(samples, 4 * half_width, _odd(n), form, cosines=False, sines=True), const=0.0)


def _odd(n: int) -> list[int]:
    """The first n odd harmonics."""
    return list(range(1, 2 * n, 2))


def _quarter(half_width: float, n: int) -> Floats:
    """Points of [0, half_width] for n harmonics, denser towards its end."""
    return np.asarray(half_width * np.sin(np.linspace(0, pi / 2, 40 * n + 400)))


def interval(f: Function, low: float, high: float, period: float, n: int, form: Format, *, relative: bool) -> Fit:
    """f on [low, high] by n harmonics of a `period` > high - low; relative: the error relative to f is minimised.

    Raises ValueError where the period is too short.
    """
    span = high - low
    if not span < period:
        raise ValueError(f"fit: interval [{low}, {high}] does not fit a period of {period}")

    def weight(y: Floats) -> Floats:
        return 1 / np.maximum(np.abs(y), 1e-9) if relative else np.ones_like(y)

    # half of the points evenly, half in the logarithm of the distance to `low`, where 1/√x and 1/x bend
    even, logarithmic = np.linspace(low, high, 5 * n + 200), low + span * np.geomspace(1e-5, 1, 5 * n + 200)
    x = np.unique(np.concatenate([even, logarithmic]))
    y = f(x)
    # a smooth way back from f(high) to f(low), between high and low + period
    step = np.linspace(0, 1, n + 20)[1:-1]
    bridge = y[-1] + (y[0] - y[-1]) * np.sin(pi / 2 * step) ** 2
    samples = Samples(
        np.concatenate([x, high + (period - span) * step]),
        np.concatenate([y, bridge]),
        np.concatenate([weight(y), GAP_WEIGHT * weight(bridge)]),
        x.size,
    )
    return fitted(samples, period, list(range(1, n + 1)), form, cosines=True, sines=True)


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
