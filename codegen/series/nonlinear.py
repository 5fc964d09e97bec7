"""The non-linearities of a program as fits: how exact each is, and in which format it is evaluated.

Equal arguments give one fit without a second search: layers without calibration of their own share theirs, and lowering
tries several scales.
"""

from __future__ import annotations

from functools import cache
from math import ceil, log2

import numpy as np

from .fits import Fit, Floats, cheapest, fold_even, fold_odd, gelu_even, interval, relu_even, softplus_even

EVEN = {"gelu": gelu_even, "relu": relu_even}
SOFT_SCALE = 30
"""Scale of a loss's non-linearities."""


def _counts(low: int, high: int) -> tuple[int, ...]:
    """Numbers of harmonics to choose from."""
    return tuple(n for n in (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512) if low <= n <= high)


@cache
def even_part(act: str, width: float, harmonics: int = 0) -> Fit:
    """act(u) - u/2 (gelu, relu) on ±`width`, to 2e-3 where 24 (relu: 32) harmonics reach that, or by so many as are
    given; in Z_2^32."""
    fa = 13
    fc = 30 - ceil(log2(1.01 * width)) - fa
    counts = (harmonics,) if harmonics else tuple(range(4, 25)) if act == "gelu" else (16, 24, 32)
    return cheapest(lambda n: fold_even(EVEN[act], width, n, k=16, fc=fc, fa=fa, ring=32), 2e-3, counts)


@cache
def precise_even_part(act: str, width: float) -> Fit:
    """The same in Z_2^64, for the few values of a head: to 2e-3 with up to 64 harmonics."""
    return cheapest(lambda n: fold_even(EVEN[act], width, n, k=32, fc=16, fa=16, ring=64), 2e-3, _counts(8, 64))


@cache
def tanh(width: float) -> Fit:
    """Tanh on ±`width`, to 1e-4 where 64 harmonics reach that."""
    return cheapest(lambda n: fold_odd(np.tanh, width, n, k=32, fc=16, fa=16, ring=64), 1e-4, _counts(8, 64))


@cache
def inverse_root(
    low: float, high: float, period: float, *, divisor: float = 1.0, eps: float = 0.0, target: float = 1e-3
) -> Fit:
    """1/√(s/divisor + eps) on [low, high], to a relative error of `target` where 512 harmonics reach that."""

    def f(s: Floats) -> Floats:
        return np.asarray(1 / np.sqrt(s / divisor + eps))

    return cheapest(
        lambda n: interval(f, low, high, period, n, relative=True, k=32, fc=17, fa=16), target, _counts(16, 512)
    )


@cache
def reciprocal(low: float, high: float, period: float, *, factor: float, unit: float, floor: float) -> Fit:
    """factor / max(unit·x, floor) on [low, high], to a relative error of 0.065 where 256 harmonics reach that.

    The error is largest, and matters least, at the bend; away from it the same fit is ten times better.
    """

    def f(x: Floats) -> Floats:
        return np.asarray(factor / np.maximum(x * unit, floor))

    return cheapest(
        lambda n: interval(f, low, high, period, n, relative=True, k=32, fc=16, fa=16), 0.065, _counts(32, 256)
    )


@cache
def softplus(width: float) -> Fit:
    """log(2 cosh(x/2)) on ±`width`, to 1e-4 where 96 harmonics reach that."""
    return cheapest(
        lambda n: fold_even(softplus_even, width, n, k=32, fc=16, fa=SOFT_SCALE - 16, ring=64), 1e-4, _counts(16, 96)
    )


@cache
def hinge_bend(width: float, period: float, *, margin: float, less: float) -> Fit:
    """max(0, d + margin) - d/2 - less for differences d of logits within ±`width`, to 2e-2 (at the bend) where 128
    harmonics reach that."""

    def f(d: Floats) -> Floats:
        return np.asarray(np.abs(d + margin) / 2 + margin / 2 - less)

    return cheapest(
        lambda n: interval(f, -width - margin, width, period, n, relative=False, k=32, fc=16, fa=SOFT_SCALE - 16),
        2e-2,
        (32, 64, 96, 128),
    )
