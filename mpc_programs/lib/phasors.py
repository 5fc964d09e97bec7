"""Cosines and sines of clear phases in integers, for what one party computes by itself: same bits on every machine."""

import math

from Compiler.types import cint

PRECISION = 30
"""Scale of the results."""
TERMS = 6


def cos_sin(turns):
    """cos and sin of 2πθ by Taylor series at a quarter of the angle, then two doublings.

    Shapes: cint vector -> two cint vectors. Scale: 2^64 is one turn -> PRECISION.
    Interval: every ring element.
    Error: 2e-8.
    Rounds: 0. Opens: nothing.
    """
    scaled = rounding_shift(turns.size, PRECISION)
    t = (turns >> 63 - PRECISION) - 2**PRECISION  # θ - 1/2 = t / 2^(PRECISION + 1)
    square = scaled(t * t)
    cosine = _series(square, 0, scaled)
    sine = scaled(t * _series(square, 1, scaled))
    for _ in range(2):
        cosine, sine = 2**PRECISION - 2 * scaled(sine * sine), 2 * scaled(sine * cosine)
    return -cosine, -sine


def _series(square, first, scaled):
    """Σ_k (-1)^k (π/4)^n t^(2k) / n!, n = 2k + first, by Horner's rule."""
    orders = range(first, first + 2 * TERMS, 2)
    *coefficients, result = [round((math.pi / 4) ** n / math.factorial(n) * 2**PRECISION) for n in orders]
    for coefficient in reversed(coefficients):
        result = coefficient - scaled(square * result)
    return result


def odd_harmonics(turns, count):
    """(cos, sin) of 2πmθ for m = 1, 3, 5, … by v_(m+2) = 2 cos(4πθ) v_m - v_(m-2).

    Shapes: cint vector -> `count` pairs of cint vectors. Scale: 2^64 is one turn -> PRECISION.
    Interval: every ring element.
    Error: count² * 2e-8.
    Rounds: 0. Opens: nothing.
    """
    scaled = rounding_shift(turns.size, PRECISION - 1)
    cosine, sine = cos_sin(turns)
    return _multiples(2**PRECISION - scaled(sine * sine), (cosine, -sine), (cosine, sine), count, scaled)


def harmonics(turns, count):
    """(cos, sin) of 2πmθ for m = 1, 2, 3, … by v_(m+1) = 2 cos(2πθ) v_m - v_(m-1).

    Shapes: cint vector -> `count` pairs of cint vectors. Scale: 2^64 is one turn -> PRECISION.
    Interval: every ring element.
    Error: count² * 2e-8.
    Rounds: 0. Opens: nothing.
    """
    cosine, sine = cos_sin(turns)
    return _multiples(cosine, (2**PRECISION, 0), (cosine, sine), count, rounding_shift(turns.size, PRECISION - 1))


def _multiples(step, before, first, count, doubled):
    """`count` phasors from `first` on, at angles whose distance has the cosine `step`; `before`: the one before."""
    result = [first]
    for _ in range(count - 1):
        now = result[-1]
        result.append(tuple(doubled(step * v) - u for u, v in zip(before, now, strict=True)))
        before = now
    return result


def rounding_shift(size, bits):
    """The function x -> round(x / 2^bits) of signed cint vectors of this size, |x| < 2^62."""
    before, after = cint(2**62 + 2 ** (bits - 1), size=size), cint(2 ** (62 - bits), size=size)
    return lambda x: ((x + before) >> bits) - after
