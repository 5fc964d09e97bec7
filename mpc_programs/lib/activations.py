"""Elementwise functions: a comparison where the function bends, a Chebyshev series where it is smooth."""

import math

from Compiler.types import sfix

from lib.polynomial import chebyshev, fit, normalised
from lib.tensor import integers, raw_product, rescale, store


def none(x):
    """The identity.

    Shapes: any. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 0. Opens: nothing.
    """
    return x


def relu(x):
    """max(0, x).

    Shapes: any -> the same. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 8. Opens: nothing.
    """
    return store(rectified(x.get_vector()), *x.shape)


def gelu(x):
    """x Φ(x), the exact form: x/2 plus an even part on [-4, 4], relu beyond.

    Shapes: any -> the same. Scale: f.
    Interval: |x| < 128.
    Error: 2e-4 on [-128, 128].
    Rounds: 26, 540 bytes a value. Opens: nothing.
    """
    return store(smooth_relu(x.get_vector(), lambda v: v * math.erf(v / math.sqrt(2)) / 2, 4, 8), *x.shape)


def tanh(x):
    """Hyperbolic tangent: x times a series in x² on [-5, 5], clamped beyond.

    Shapes: any -> the same. Scale: f.
    Interval: all.
    Error: 3e-4.
    Rounds: 31. Opens: nothing.
    """
    limit = 5
    inside = clamp(x.get_vector(), -limit, limit)
    square = inside * inside
    ratio = fit(lambda y: math.tanh(math.sqrt(y)) / math.sqrt(y), 0, limit**2, 14)
    (slope,) = chebyshev(normalised(square, 0, limit**2), ratio)
    return store(inside * slope, *x.shape)


def softplus(x):
    """log(1 + eˣ) of a vector: x/2 plus log(2 cosh(x/2)) on [-8, 8], relu beyond.

    Shapes: vector -> vector. Scale: f.
    Interval: |x| < 128.
    Error: 5e-4 on [-128, 128].
    Rounds: 28. Opens: nothing.
    """
    return smooth_relu(x, lambda v: math.log(2 * math.cosh(v / 2)), 8, 12)


def smooth_relu(x, even, limit, degree):
    """x/2 + even(x) where |x| < limit, relu(x) elsewhere; even(x) is even and close to |x|/2 at the limit.

    Shapes: vector -> vector. Scale: f.
    Interval: x² < 2^(k-f-1).
    Error: the fit's, |even(limit) - limit/2|, about 3 units.
    Rounds: 26 at degree 8, 28 at degree 12. Opens: nothing.
    """
    n = x.size
    doubled = rescale(raw_product(x, x), 2 * sfix.f, 2 / limit**2)  # 2 (x/limit)²
    candidates = sfix.concat([x, doubled - 2])
    bits = integers(candidates < 0)
    inside = bits.get_vector(n, n)
    selected = candidates * bits
    below, within = selected.get_vector(0, n), selected.get_vector(n, n)
    (smooth,) = chebyshev(within + 1, fit(lambda y: even(math.sqrt(y)), 0, limit**2, degree))
    rectifier = x - below
    half_magnitude = rescale((rectifier - below).v, sfix.f, 0.5)
    return rectifier + (smooth - half_magnitude) * inside  # relu(x) = x/2 + |x|/2


def rectified(x):
    """max(0, x) of a vector.

    Shapes: vector -> vector. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 8. Opens: nothing.
    """
    return x - x * integers(x < 0)


def clamp(x, low, high):
    """x held in [low, high].

    Shapes: vector -> vector. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 8. Opens: nothing.
    """
    n = x.size
    gaps = sfix.concat([x - low, high - x])
    outside = gaps * integers(gaps < 0)
    return x - outside.get_vector(0, n) + outside.get_vector(n, n)


def at_least(x, low):
    """max(x, low).

    Shapes: vector -> vector. Scale: f.
    Interval: all.
    Error: 0.
    Rounds: 8. Opens: nothing.
    """
    return rectified(x - low) + low
