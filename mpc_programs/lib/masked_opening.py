"""Periodic functions of a secret phase by one masked opening, for semi-honest protocols with one corrupted party.

One side is told the phase plus a mask, the other side the mask, which is uniform in the ring and drawn for this one
opening. So each has a number that says nothing, and the phase is the difference. Each computes the functions of its own
number in the clear; by the addition theorem one inner product of both sides' functions does the rest.

Without a dealer the sides are two parties, and both input what they have computed. A dealer is a side of its own: it
inputs the mask's functions, and as all others know the phase plus the mask, the inner product is local. Then no party
may input anything: MP-SPDZ mixes up a party's and the dealer's numbers in one instruction. Nor may these numbers become
`regint`: it would tell the dealer what the others have.

A party that inputs something else makes the result wrong, unnoticed: malicious protocols use series instead.
"""

from functools import reduce
from operator import add, mul

from Compiler.library import break_point, get_player_id
from Compiler.types import cint, personal, program, regint, sint

from lib import phasors
from lib.phasors import PRECISION, rounding_shift
from lib.tensor import in_pieces, scratch, spread, store

OPENED, MASK = 0, 1
"""Without a dealer: who is told the masked phase, and who the mask."""
PHASOR_BITS = 30
"""Scale of a cosine and sine: two factors of 15 bits."""
WAVE_BITS = 33
"""Scale of a wave."""
PIECE = 2**18
"""Values that go through a wave or series at once: each takes 1 kB of a party's memory there."""
DEALT = 2**15
"""Numbers that a dealer inputs at once: at every number of an instruction MP-SPDZ's copies those before it."""


def own_number(phase):
    """θ + r on one side and r on the other, so that one piece of code serves both; noise at a third party.

    Shapes: sint vector -> cint vector, for `factors` only. Scale: 2^64 is one turn, and stays.
    Interval: every ring element.
    Error: 0.
    Rounds: 1, 16 bytes a phase; with a dealer 2, 64 bytes. Opens: θ + r to party OPENED, r to party MASK; with a
    dealer θ + r to the computing parties, r to the dealer, a summand of r to each computing party. r is uniform and
    fresh, and so are its summands.
    """
    if program.dealer is None:
        mask = sint.get_random(size=phase.size)
        opened, known = (phase + mask).reveal_to(OPENED)._v, mask.reveal_to(MASK)._v
    else:
        summands = [sint.get_random(size=phase.size) for _ in range(program.dealer)]
        opened = (phase + reduce(add, summands)).reveal()
        told = [summand.reveal_to(party).reveal_to(program.dealer) for party, summand in enumerate(summands)]
        known = reduce(add, [summand._v for summand in told])
    return chosen(opened, known, phase.size)


def chosen(opened, mask, size):
    """The one on the side that knows θ + r, the other elsewhere; cint vectors or numbers -> cint vector."""
    me = get_player_id()
    is_opened = me == OPENED if program.dealer is None else me < program.dealer
    return cint(regint.inc(size, is_opened._v, 0)) * (opened - mask) + mask


def factors(values):
    """What the side that knows θ + r has computed, and what the other side has, for `_inner`: lists of vectors."""
    if program.dealer is None:
        return [[sint(personal(party, value)) for value in values] for party in (OPENED, MASK)]
    return values, [sint(personal(program.dealer, value)) for value in values]


def _inner(opened, mask):
    """Σ_i opened_i mask_i -> sint vector."""
    if program.dealer is None:
        return sint.dot_product(opened, mask)
    return reduce(add, map(mul, mask, opened))


def _evaluated(function, phase, inputs, results=1):
    """function(own_number(phase)): `results` sint vectors from one cint vector, elementwise, for which a side inputs
    that many numbers per element. A dealer does so in pieces, one message each.
    """
    own = own_number(phase)
    if program.dealer is None:
        return function(own)
    source, result = store(own, own.size), scratch((results, own.size), sint)

    def piece(base, count):
        for part, to in zip(function(source.get_vector(base, count)), result, strict=True):
            to.assign_vector(part, base)

    in_pieces(own.size, max(1, DEALT // inputs), piece)
    break_point()
    return [result[i].get_vector() for i in range(results)]


def cos_sin(phase):
    """cos 2πθ and sin 2πθ.

    Shapes: sint vector of n -> two sint vectors of n. Scale: 2^64 is one turn -> PHASOR_BITS.
    Interval: every ring element.
    Error: 5e-5.
    Rounds: 3, 96 bytes an angle; with a dealer 3, 80 bytes. Opens: as `own_number`.
    """

    def difference(turns):
        scaled = rounding_shift(turns.size, PRECISION - PHASOR_BITS // 2)
        (c, s), (mask_c, mask_s) = factors([scaled(value) for value in phasors.cos_sin(turns)])
        return _inner([c, s], [mask_c, mask_s]), _inner([s, -c], [mask_c, mask_s])

    return _evaluated(difference, phase, inputs=2, results=2)


def wave(phase, amplitudes):
    """Σ_j a_j cos(2π(2j + 1)θ).

    Shapes: sint vector of n, numbers below 2^8 -> sint vector of n. Scale: 2^64 is one turn -> WAVE_BITS.
    Interval: every ring element.
    Error: Σ|a_j| 2^-16.
    Rounds: 3, 40 bytes a phase and 32 an amplitude; with a dealer 64 and 16. Opens: as `own_number`.
    """
    pairs = [(shorter(amplitude, WAVE_BITS), 0) for amplitude in amplitudes]
    return _sum(phasors.odd_harmonics, phase, pairs, WAVE_BITS)


def series(phase, amplitudes, scale):
    """Σ_m a_m cos(2πmθ) - b_m sin(2πmθ) for m = 1, 2, …

    Shapes: sint vector of n, pairs (a_m, b_m) of numbers below 2^8, which `shorter` has made integers of -> sint vector
    of n. Scale: 2^64 is one turn -> `scale`.
    Interval: every ring element.
    Error: (M + Σ|a_m| + |b_m|) 2^-(scale/2), for M pairs; as independent roundings add up, a tenth of that.
    Rounds: 3, 40 bytes a phase and 32 a pair; with a dealer 64 and 16. Opens: as `own_number`.
    """
    return _sum(phasors.harmonics, phase, amplitudes, scale)


def _sum(harmonics, phase, amplitudes, scale):
    def of_own(turns):
        return [weighted(harmonics(turns, len(amplitudes)), amplitudes, scale)]

    [result] = _evaluated(of_own, phase, inputs=2 * len(amplitudes))
    return result


def shorter(amplitude, scale):
    """An amplitude as who knows θ + r takes it: the integer at what `scale` leaves beside the other side's factor."""
    return round(amplitude * 2 ** (scale - scale // 2))


def weighted(harmonics, amplitudes, scale):
    """Σ_m a_m cos mθ - b_m sin mθ from what each of the two sides makes of its own number.

    The side that knows θ + r has a cos - b sin and a sin + b cos at half of the scale, the other its cosine and sine.
    Shapes: pairs of cint vectors of n at PRECISION, pairs (a_m, b_m) of integers (`tensor.spread`) -> sint vector of n.
    Scale: `scale`.
    Interval: |a_m|, |b_m| < 2^8.
    Error: as `series`.
    Rounds: 2, 24 bytes a value and 32 a pair; with a dealer 1, 16 bytes a pair. Opens: nothing.
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
    return _inner(*factors(values))
