"""Cosine and sine of an angle whose one turn is the whole ring, so that the ring's wrap is the period."""

import math

from Compiler.types import program, sfix

from lib import bit_phasors, masked_opening
from lib.masked_opening import PHASOR_BITS
from lib.polynomial import chebyshev, fit
from lib.tensor import integers, rescale
from lib.wire import TURN_BITS


def cos_sin(phase):
    """cos 2πθ and sin 2πθ by what costs least: `masked_opening.cos_sin` where it is secure, `cos_sin_series` where
    truncations and comparisons cost less than random bits, else `bit_phasors.cos_sin`.

    Shapes: sint vector of n -> two sint vectors of n. Scale: TURN_BITS -> PHASOR_BITS.
    Interval: every ring element; in a prime field that of `bit_phasors.cos_sin`.
    Error: 1e-4.
    Rounds: theirs. Opens: what they open.
    """
    if program.masked_openings:
        return masked_opening.cos_sin(phase)
    if program.use_trunc_pr:
        return tuple(part.v * 2 ** (PHASOR_BITS - sfix.f) for part in cos_sin_series(phase))
    return bit_phasors.cos_sin(phase)


def cos_sin_series(phase):
    """cos 2πθ and sin 2πθ from one comparison: the sign bit gives the half turn, what is left is a quarter turn
    either way.

    θ = b/2 + (t + 1)/4 with t in [-1, 1): cos 2πθ = (2b - 1) sin(πt/2), sin 2πθ = (1 - 2b) cos(πt/2).
    Shapes: sint vector of n -> two sfix vectors of n. Scale: TURN_BITS -> f.
    Interval: every ring element.
    Error: 1e-4.
    Rounds: 23, 480 bytes an angle. Opens: nothing.
    """
    n = phase.size
    half = integers(phase.less_than(0, TURN_BITS - 1))
    step = half * 2 ** (TURN_BITS - 2)
    t = rescale(phase + step + step - 2 ** (TURN_BITS - 2), TURN_BITS - 2)
    cosine = fit(lambda y: math.cos(math.pi / 2 * math.sqrt(y)), 0, 1, 3)
    sine_over_t = fit(lambda y: math.sin(math.pi / 2 * math.sqrt(y)) / math.sqrt(y), 0, 1, 3)
    square = t * t
    across, along = chebyshev(square + square - 1, cosine, sine_over_t)
    sign = half + half - 1
    signed = sfix.concat([along * t, -across]) * sign.concat([sign, sign])
    return signed.get_vector(0, n), signed.get_vector(n, n)
