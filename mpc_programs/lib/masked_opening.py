"""Periodic functions of a secret phase by one masked opening, for semi-honest protocols with one corrupted party.

Party 0 is told the phase plus a mask, and nobody else is; party 1 is told the mask, which is uniform in the ring,
drawn by all parties for this one opening. So each of the two has a number that says nothing, and the phase is the
difference. Each computes the functions of its own number in the clear and inputs them; by the addition theorem one
inner product of what they have put in does the rest.

A party that inputs something else makes the result wrong, unnoticed: malicious protocols use series instead.
"""

from Compiler.library import get_player_id
from Compiler.types import cint, personal, regint, sint

from lib import phasors
from lib.phasors import PRECISION, rounding_shift
from lib.tensor import spread

OPENED, MASK = 0, 1
"""Who is told the masked phase, and who the mask."""
PHASOR_BITS = 30
"""Scale of a cosine and sine: two factors of 15 bits."""
WAVE_BITS = 33
"""Scale of a wave."""
PIECE = 2**18
"""Values that go through a wave or series at once: each takes 1 kB of a party's memory there."""


def own_number(phase):
    """θ + r at party OPENED and r at party MASK, so that one piece of code serves both; noise elsewhere.

    Shapes: sint vector -> cint vector, to be used in `personal` values only. Scale: 2^64 is one turn, and stays.
    Interval: every ring element.
    Error: 0.
    Rounds: 1, 16 bytes a phase. Opens: θ + r to party OPENED, r to party MASK; r is uniform and fresh.
    """
    mask = sint.get_random(size=phase.size)
    opened, known = (phase + mask).reveal_to(OPENED), mask.reveal_to(MASK)
    return chosen(opened._v, known._v, phase.size)


def chosen(opened, mask, size):
    """The one at party OPENED, the other elsewhere; cint vectors or numbers -> cint vector."""
    is_opened = cint(regint.inc(size, (get_player_id() == OPENED)._v, 0))
    return is_opened * (opened - mask) + mask


def factors(values):
    """What the two parties input: lists of sint vectors, one of party OPENED, one of party MASK."""
    return [[sint(personal(party, value)) for value in values] for party in (OPENED, MASK)]


def cos_sin(phase):
    """cos 2πθ and sin 2πθ.

    Shapes: sint vector of n -> two sint vectors of n. Scale: 2^64 is one turn -> PHASOR_BITS.
    Interval: every ring element.
    Error: 5e-5.
    Rounds: 3, 96 bytes an angle. Opens: as `own_number`.
    """
    turns = own_number(phase)
    shorter = rounding_shift(turns.size, PRECISION - PHASOR_BITS // 2)
    (c, s), (mask_c, mask_s) = factors([shorter(value) for value in phasors.cos_sin(turns)])
    return sint.dot_product([c, s], [mask_c, mask_s]), sint.dot_product([s, -c], [mask_c, mask_s])


def wave(phase, amplitudes):
    """Σ_j a_j cos(2π(2j + 1)θ).

    Shapes: sint vector of n, numbers below 2^8 -> sint vector of n. Scale: 2^64 is one turn -> WAVE_BITS.
    Interval: every ring element.
    Error: Σ|a_j| 2^-16.
    Rounds: 3, 40 bytes a phase and 32 an amplitude. Opens: as `own_number`.
    """
    harmonics = phasors.odd_harmonics(own_number(phase), len(amplitudes))
    return weighted(harmonics, [(shorter(amplitude, WAVE_BITS), 0) for amplitude in amplitudes], WAVE_BITS)


def series(phase, amplitudes, scale):
    """Σ_m a_m cos(2πmθ) - b_m sin(2πmθ) for m = 1, 2, …

    Shapes: sint vector of n, pairs (a_m, b_m) of numbers below 2^8, which `shorter` has made integers of -> sint vector
    of n. Scale: 2^64 is one turn -> `scale`.
    Interval: every ring element.
    Error: (M + Σ|a_m| + |b_m|) 2^-(scale/2), for M pairs; as independent roundings add up, a tenth of that.
    Rounds: 3, 40 bytes a phase and 32 a pair. Opens: as `own_number`.
    """
    return weighted(phasors.harmonics(own_number(phase), len(amplitudes)), amplitudes, scale)


def shorter(amplitude, scale):
    """An amplitude as party OPENED takes it: the integer at what `scale` leaves beside the other's factor."""
    return round(amplitude * 2 ** (scale - scale // 2))


def weighted(harmonics, amplitudes, scale):
    """Σ_m a_m cos mθ - b_m sin mθ from what each of the two parties makes of its own number.

    Party OPENED inputs a cos - b sin and a sin + b cos at half of the scale, party MASK its cosine and sine.
    Shapes: pairs of cint vectors of n at PRECISION, pairs (a_m, b_m) of integers (`tensor.spread`) -> sint vector of n.
    Scale: `scale`.
    Interval: |a_m|, |b_m| < 2^8.
    Error: as `series`.
    Rounds: 2, 24 bytes a value and 32 a pair. Opens: nothing.
    """
    size = harmonics[0][0].size
    low = scale // 2
    scaled = rounding_shift(size, PRECISION)
    values = []
    for (a, b), (cosine, sine) in zip(amplitudes, harmonics, strict=True):
        real = chosen(spread(a, size), 2**low, size)
        turned = [cosine * real, sine * real]
        if not isinstance(b, int) or b:
            imaginary = chosen(spread(b, size), 0, size)
            turned = [turned[0] - sine * imaginary, turned[1] + cosine * imaginary]
        values += [scaled(value) for value in turned]
    return sint.dot_product(*factors(values))
