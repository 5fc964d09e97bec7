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

OPENED, MASK = 0, 1
"""Who is told the masked phase, and who the mask."""
FACTOR_BITS = 16
"""Scale of what party MASK inputs."""
PHASOR_BITS = 30
"""Scale of a cosine and sine: two factors of 15 bits."""
WAVE_BITS = 33
"""Scale of a wave."""


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
    turns = own_number(phase)
    scaled = rounding_shift(turns.size, PRECISION)
    values = []
    for amplitude, pair in zip(amplitudes, phasors.odd_harmonics(turns, len(amplitudes)), strict=True):
        weight = chosen(round(amplitude * 2 ** (WAVE_BITS - FACTOR_BITS)), 2**FACTOR_BITS, turns.size)
        values += [scaled(value * weight) for value in pair]
    return sint.dot_product(*factors(values))
