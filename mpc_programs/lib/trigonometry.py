"""Cosine and sine of an angle whose one turn is the whole ring, so that the ring's wrap is the period; a prime field
has no such wrap, there it is computed.
"""

import math

from Compiler.types import program, sfix

from lib import masked_opening
from lib.masked_opening import TURN_BITS
from lib.polynomial import chebyshev, fit
from lib.tensor import integers, rescale

FIELD_BITS = 10
"""In a prime field a phase is below 2^10 turns; with MP-SPDZ's 40 bits of statistical security it needs 115 bits."""


def cos_sin(phase):
    """cos 2πθ and sin 2πθ as the protocol allows: `masked_opening.cos_sin` or `cos_sin_series`.

    Shapes: sint vector of n -> two sint vectors of n, and their scale. Scale: TURN_BITS -> the third result.
    Interval: every ring element.
    Error: that of the two.
    Rounds: theirs. Opens: what they open.
    """
    if program.masked_openings:
        return *masked_opening.cos_sin(phase), masked_opening.PHASOR_BITS
    return *(part.v for part in cos_sin_series(phase)), sfix.f


def cos_sin_series(phase):
    """cos 2πθ and sin 2πθ from one comparison: the sign bit gives the half turn, what is left is a quarter turn
    either way.

    θ = b/2 + (t + 1)/4 with t in [-1, 1): cos 2πθ = (2b - 1) sin(πt/2), sin 2πθ = (1 - 2b) cos(πt/2).
    Shapes: sint vector of n -> two sfix vectors of n. Scale: TURN_BITS -> f.
    Interval: every ring element; in a prime field as `wrapped`.
    Error: 1e-4.
    Rounds: 23, 480 bytes an angle. Opens: nothing.
    """
    if not program.options.ring:
        phase = wrapped(phase)
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


def wrapped(phase):
    """A phase without its whole turns, as the wrap of a ring leaves it.

    Shapes: sint vector -> sint vector, within half a turn. Scale: TURN_BITS.
    Interval: less than 2^FIELD_BITS turns.
    Error: 0.
    Rounds: those of a comparison. Opens: nothing.
    """
    half_turn = 2 ** (TURN_BITS - 1)
    return (phase + half_turn).mod2m(TURN_BITS, TURN_BITS + FIELD_BITS + 1) - half_turn
