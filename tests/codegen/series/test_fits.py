"""Fourier fits: error on the interval, behaviour beyond it, and the rounding noise a fixed-point evaluation adds."""

import os
import subprocess
import sys

import numpy as np
import pytest
from secfwt.codegen.series.activations import gelu_even, relu_even
from secfwt.codegen.series.fits import LEAST_RING, Fit, Format, cheapest, fold_even, fold_odd, interval
from secfwt.codegen.series.harmonics import fit_harmonics, series
from secfwt.codegen.series.nonlinear import LOSS, PRECISE, ROOT, even_part, hinge_bend, inverse_root, softplus_even

SHORT = Format(phase_bits=16, amplitude_bits=13, phasor_bits=13, ring_bits=32)


def noisy(fit: Fit, theta: np.ndarray, seed: int = 0) -> np.ndarray:
    """The series as the parties evaluate it: harmonics rounded at fc under a random mask, phasors at fa."""
    rho = np.random.default_rng(seed).random(theta.shape)
    total = np.full(theta.shape, fit.const)
    for m, re, im in zip(fit.m, fit.re, fit.im, strict=True):
        c = (re + 1j * im) * np.exp(-2j * np.pi * m * rho) * 2.0**fit.format.amplitude_bits
        p = np.exp(2j * np.pi * m * (theta + rho)) * 2.0**fit.format.phasor_bits
        c, p = np.round(c.real) + 1j * np.round(c.imag), np.round(p.real) + 1j * np.round(p.imag)
        total += (p * c).real * 2.0**-fit.scale
    return total


@pytest.mark.parametrize(("width", "n"), [(8, 8), (12, 12)])
def test_gelu_even_part(width: int, n: int) -> None:
    fit = fold_even(gelu_even, width, n, SHORT)
    x = np.linspace(-width, width, 4001)
    assert np.max(np.abs(fit(x / (4 * width)) - gelu_even(x))) < 1e-3
    assert np.max(np.abs(noisy(fit, x / (4 * width)) - gelu_even(x))) < 3e-3
    beyond = np.linspace(width, 1.3 * width, 200)
    assert np.all(np.abs(fit(beyond / (4 * width)) - gelu_even(beyond)) <= (beyond - width) + 2e-3)
    assert np.log2(fit.bound) + fit.scale < 30


def test_tanh_is_odd_and_accurate() -> None:
    fit = fold_odd(np.tanh, 8, 24, PRECISE)
    x = np.linspace(-8, 8, 2001)
    assert np.max(np.abs(noisy(fit, x / 32) - np.tanh(x))) < 2e-4
    assert fit.const == 0


@pytest.mark.parametrize(
    ("low", "high", "n", "worst"), [(0.05, 4, 64, 5e-4), (0.1, 30, 128, 2e-3), (0.27, 140, 300, 6e-3)]
)
def test_inverse_root_over_decades(low: float, high: float, n: int, worst: float) -> None:
    period = 1.2 * (high - low)
    fit = interval(lambda v: 1 / np.sqrt(v), low, high, period, n, ROOT, relative=True)
    x = np.geomspace(low, high, 3000)
    assert np.max(np.abs(noisy(fit, x / period) * np.sqrt(x) - 1)) < worst
    # ridge keeps the series itself small outside the interval, where noise would otherwise be amplified
    assert fit.bound < 100 / np.sqrt(low)


def test_reciprocal_is_flat_below_the_floor() -> None:
    fit = interval(lambda v: 1 / np.maximum(v, 0.05), -0.15, 1.02, 1.3, 96, PRECISE, relative=True)
    x = np.linspace(0.08, 1.0, 1000)
    assert np.max(np.abs(noisy(fit, x / 1.3) * x - 1)) < 5e-3
    below = np.linspace(-0.15, 0.03, 500)
    assert np.max(np.abs(noisy(fit, below / 1.3) / 20 - 1)) < 2e-2


def test_even_functions_of_the_losses() -> None:
    soft = fold_even(softplus_even, 16, 24, LOSS)
    x = np.linspace(-16, 16, 2001)
    assert np.max(np.abs(noisy(soft, x / 64) + x / 2 - np.logaddexp(0, x))) < 2e-3
    bent = fold_even(relu_even, 8, 64, LOSS)
    assert np.max(np.abs(bent(x / 2 / 32) + x / 4 - np.maximum(x / 2, 0))) < 2e-2


def test_equal_non_linearities_are_fitted_once() -> None:
    first = inverse_root(0.1, 4.0, 5.0, divisor=2.0)
    assert inverse_root(0.1, 4.0, 5.0, divisor=2.0) is first
    assert inverse_root(0.1, 4.0, 5.0, divisor=3.0) != first


def test_hinge_bends_where_the_margin_says() -> None:
    fit = hinge_bend(10.0, 48.0, margin=2.0, less=0.5)
    d = np.linspace(-10, 10, 500)
    assert np.max(np.abs(fit(d / 48.0) + d / 2 - (np.maximum(0, d + 2) - 0.5))) < 2e-2


def test_interval_must_fit_the_period() -> None:
    with pytest.raises(ValueError, match="does not fit a period"):
        interval(np.exp, 0, 2, 2, 4, LOSS, relative=False)


def test_cheapest_takes_the_smallest_that_reaches_the_target() -> None:
    def make(n: int) -> Fit:
        return fold_even(gelu_even, 8, n, SHORT)

    assert len(cheapest(make, 2e-3, (4, 6, 8, 12)).m) == min(n for n in (4, 6, 8, 12) if make(n).error <= 2e-3)
    assert len(cheapest(make, 1e-30, (4, 8)).m) == 8


def test_harmonics_are_the_least_squares() -> None:
    rng = np.random.default_rng(0)
    theta, y, w = rng.random(200), rng.normal(size=200), rng.random(200) + 0.5
    for cosines, sines in ((True, True), (True, False), (False, True)):
        amplitudes = fit_harmonics(theta, y, w, [1, 2, 5], 0.3, cosines=cosines, sines=sines)
        angle = 2 * np.pi * np.outer(theta, [1, 2, 5])
        basis = np.hstack([np.ones((200, 1)), *[np.cos(angle)] * cosines, *[np.sin(angle)] * sines])
        ridge = np.sqrt(0.3) * np.eye(basis.shape[1])[1:]
        stacked = np.vstack([basis * w[:, None], ridge])
        expected = np.linalg.lstsq(stacked, np.concatenate([y * w, np.zeros(len(ridge))]), rcond=None)[0]
        assert np.max(np.abs(series(theta, amplitudes) - basis @ expected)) < 1e-12
        assert np.all(amplitudes[[3, 4]] == 0)


def test_text_does_not_depend_on_the_number_of_threads() -> None:
    code = "from secfwt.codegen.series.nonlinear import inverse_root; print(inverse_root(0.05, 50.0, 60.0).text())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(texts) == 1


def test_text_is_exact_and_stable() -> None:
    fit = fold_even(gelu_even, 8, 8, SHORT)
    keys = dict(part.split("=") for part in fit.text().split())
    assert [float(x) for x in keys["re"].split(",")] == list(fit.re)
    assert fit.text() == fold_even(gelu_even, 8, 8, SHORT).text()


@pytest.mark.parametrize(("act", "width", "n"), [("gelu", 6.0, 10), ("gelu_new", 10.75, 24), ("silu", 9.5, 16)])
def test_a_tail_keeps_two_bits_of_its_ring_free(act: str, width: float, n: int) -> None:
    """What LEFT and RIGHT lift: amplitudes and phasors rounded as the parties round them, at every mask near a phase
    of 0, where all harmonics meet."""
    fit = even_part(act, width, n)
    rng = np.random.default_rng(1)
    masks = rng.random(2000)
    theta = np.concatenate([np.zeros(1000), rng.random(1000)])
    for tail in fit.tails():
        total = np.zeros(2000)
        for m, re in list(zip(fit.m, fit.re, strict=True))[-tail.harmonics :]:
            shared = np.exp(-2j * np.pi * m * masks) * np.ldexp(re, fit.format.amplitude_bits)
            phasor = np.exp(2j * np.pi * m * (theta + masks)) * 2.0**tail.phasor_bits
            rounded = (np.rint(part.real) + 1j * np.rint(part.imag) for part in (shared, phasor))
            total += (next(rounded) * next(rounded)).real
        assert np.abs(total).max() < 2.0 ** (tail.ring_bits - 2)
        assert np.abs(total).max() > 2.0 ** (tail.ring_bits - 5) or tail.ring_bits == LEAST_RING


def test_a_fit_without_a_head_has_tails() -> None:
    form = Format(phase_bits=16, amplitude_bits=12, phasor_bits=12)
    (tail,) = Fit(form, 0.0, (1, 2), (0.0, 1.0), (0.0, 0.0), 0.0).tails()
    assert tail.phasor_bits == 12
