"""Cosine and sine of a secret phase by the random bits of its mask, against malicious parties as well.

The phase plus a mask is opened to everybody. The mask is composed of random bits, so that its cosine and sine are sums
of products of bits: none of it is a comparison or waits for the phase. The addition theorem does the rest. A comparison
and series (`trigonometry.cos_sin_series`) take two to three times as many bits and products.
"""

import math

from Compiler.types import program, sfix, sint

from lib import phasors
from lib.masked_opening import PHASOR_BITS
from lib.phasors import PRECISION, rounding_shift
from lib.tensor import rescale
from lib.wire import FIELD_BITS, TURN_BITS

ANGLE_BITS = 18
"""Bits of a mask that its cosine and sine are made of."""
FINE_BITS = 9
"""The lowest of them: within 2^-10 turns of their middle, where a cosine is 1 and a sine linear."""
TABLE_BITS = 16
SLOPE_BITS = 18
"""Scales of what is multiplied with bits."""


def cos_sin(phase):
    """cos 2πθ and sin 2πθ.

    Shapes: sint vector of n -> two sint vectors of n. Scale: TURN_BITS -> PHASOR_BITS.
    Interval: every ring element; in a prime field less than 2^FIELD_BITS turns.
    Error: 1e-4.
    Rounds: 9. Opens: θ + r to everybody; r is fresh, and uniform in a ring. In a prime field it has 40 bits more than
    the phase, which hides it but for a chance of 2^-40.
    """
    opened, bits = masked(phase)
    mask_cosine, mask_sine = phasor_of_bits(bits)
    shorter = rounding_shift(phase.size, PRECISION - (PHASOR_BITS - sfix.f))
    cosine, sine = (shorter(value) for value in phasors.cos_sin(opened))
    return cosine * mask_cosine + sine * mask_sine, sine * mask_cosine - cosine * mask_sine


def masked(phase):
    """θ + r, and the highest bits of r below one turn; half a unit of these bits is taken off for all lower ones.

    Shapes: sint vector of n -> cint vector of n and ANGLE_BITS sint vectors of n, lowest first. Scale: TURN_BITS -> the
    same, whole turns left out.
    Interval: as `cos_sin`.
    Error: half a unit of the bits.
    Rounds: 1. Opens: as `cos_sin`.
    """
    n, low = phase.size, TURN_BITS - ANGLE_BITS
    bits = [sint.get_random_bit(size=n) for _ in range(ANGLE_BITS)]
    mask = sint.bit_compose(bits) * 2**low + sint.get_random_int(low, size=n)
    centred = phase + mask - 2 ** (low - 1)
    if program.options.ring:
        return centred.reveal(), bits
    above = sint.get_random_int(FIELD_BITS + 1 + program.security, size=n) * 2**TURN_BITS
    return (centred + 2 ** (TURN_BITS + FIELD_BITS) + above).reveal() % 2**TURN_BITS, bits


def phasor_of_bits(bits):
    """cos and sin of Σ_i b_i 2^(i - ANGLE_BITS) turns: tables of the middle bits, the fine ones' slope, quarter turns.

    Shapes: ANGLE_BITS sint vectors of n, lowest first -> two sint vectors of n. Scale: 0 -> f.
    Interval: {0, 1}.
    Error: 5e-5.
    Rounds: 7. Opens: nothing.
    """
    n = bits[0].size
    *bits, quarter, half = bits
    fine, coarse = bits[:FINE_BITS], bits[FINE_BITS:]
    middle = (2**FINE_BITS - 1) / 2
    split = len(coarse) // 2
    cosine, sine = product(
        table([angle(k * 2**FINE_BITS + middle) for k in range(2**split)], coarse[:split]),
        table([angle(k * 2 ** (FINE_BITS + split)) for k in range(2 ** len(coarse[split:]))], coarse[split:]),
    )
    slope = sum(bit * slope_of(2**i) for i, bit in enumerate(fine)) - slope_of(middle)
    cosine, sine = product((cosine, sine), (2**SLOPE_BITS, slope))
    scale = 2 * TABLE_BITS + SLOPE_BITS
    both = rescale(sint.concat([cosine, sine]), scale, bits=scale + 2).v
    cosine, sine = both.get_vector(0, n), both.get_vector(n, n)
    cosine, sine = cosine - quarter * (cosine + sine), sine + quarter * (cosine - sine)
    sign = 1 - 2 * half
    return cosine * sign, sine * sign


def product(a, b):
    """Of two complex numbers, each a pair of real and imaginary part.

    Shapes: two pairs of sint vectors of n (or public numbers) -> one pair. Scale: s and t -> s + t.
    Interval: |a| |b| 2^(s + t) < 2^63.
    Error: 0.
    Rounds: 1; 0 where one of the two is public. Opens: nothing.
    """
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def angle(steps):
    """In radians."""
    return 2 * math.pi * steps / 2**ANGLE_BITS


def slope_of(steps):
    """Sine of a small angle."""
    return round(angle(steps) * 2**SLOPE_BITS)


def table(angles, bits):
    """cos and sin of angles[Σ b_i 2^i], as sums of products of bits: the inner sums of the public table are public.

    Shapes: 2^k floats, k sint vectors of n -> two sint vectors of n. Scale: 0 -> TABLE_BITS.
    Interval: {0, 1}.
    Error: 2^-17.
    Rounds: ⌈log2 k⌉. Opens: nothing.
    """
    products = subset_products(bits)
    results = []
    for function in (math.cos, math.sin):
        weights = [round(function(value) * 2**TABLE_BITS) for value in angles]
        for i in range(len(bits)):
            weights = [w - weights[k - 2**i] if k >> i & 1 else w for k, w in enumerate(weights)]
        results.append(sum((p * w for p, w in zip(products[1:], weights[1:], strict=True)), start=weights[0]))
    return results


def subset_products(bits):
    """Products of every subset of bits, at the place that is its sum of 2^i.

    Shapes: k sint vectors of n -> 2^k of them, the first the public 1. Scale: 0 -> 0.
    Interval: {0, 1}.
    Error: 0.
    Rounds: ⌈log2 k⌉. Opens: nothing.
    """
    if len(bits) == 1:
        return [1, bits[0]]
    low, high = (subset_products(part) for part in (bits[: len(bits) // 2], bits[len(bits) // 2 :]))
    return [a * b for b in high for a in low]
