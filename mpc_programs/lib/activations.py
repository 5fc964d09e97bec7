"""Elementwise functions: a masked opening where the protocol allows it, otherwise a comparison where the function bends
and a Chebyshev series where it is smooth.
"""

import math

from Compiler.types import program, sfix

from lib import masked_opening
from lib.fourier import shortest_even_wave
from lib.polynomial import chebyshev, fit, normalised
from lib.tensor import integers, raw_product, rescale, store
from lib.wire import TURN_BITS

TOLERANCE = 1e-4
"""Largest error of the waves: a harmonic more costs 32 bytes a value and is worth a factor of five."""


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


def gelu(x, *, reach):
    """x Φ(x), the exact form: `gelu_wave`, or x/2 plus an even part on [-4, 4], relu beyond.

    Shapes: any -> the same. Scale: f.
    Interval: |x| < reach - 1; |x| < 128, whatever `reach`, without masked openings.
    Error: 2e-4.
    Rounds: 5, 360 bytes a value at reach 12; 26, 540 bytes without masked openings. Opens: as
    `masked_opening.own_number`.
    """
    return _smooth(x, gelu_wave, gelu_even, reach, 4, 8)


def gelu_wave(raw, scale, *, reach):
    """x Φ(x) by one masked opening.

    Shapes: sint vector -> sint vector. Scale: `scale`, up to 2f -> masked_opening.WAVE_BITS.
    Interval: |x| < reach - 1.
    Error: 2e-4; 4e-3 in the last unit before `reach`; it grows linearly beyond.
    Rounds: 3, 328 bytes a value at reach 12, 32 more for every 2 of reach. Opens: as `masked_opening.own_number`.
    """
    return smooth_relu_wave(raw, scale, gelu_even, reach, 3)


def gelu_new(x, *, reach):
    """x (1 + tanh(√(2/π) (x + 0.044715 x³)))/2, the form of GPT-2: as `gelu`.

    Shapes: any -> the same. Scale: f.
    Interval: as `gelu`.
    Error: 2e-4.
    Rounds: 5, 360 bytes a value at reach 12; 26, 540 bytes without masked openings. Opens: as
    `masked_opening.own_number`.
    """
    return _smooth(x, gelu_new_wave, gelu_new_even, reach, 4, 8)


def gelu_new_wave(raw, scale, *, reach):
    """`gelu_new` by one masked opening.

    Shapes: sint vector -> sint vector. Scale: `scale`, up to 2f -> masked_opening.WAVE_BITS.
    Interval: |x| < reach - 1.
    Error: as `gelu_wave`.
    Rounds: 3. Opens: as `masked_opening.own_number`.
    """
    return smooth_relu_wave(raw, scale, gelu_new_even, reach, 3)


def gelu_new_even(x):
    """Even part of `gelu_new`, of a float."""
    return x * math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) / 2


def silu(x, *, reach):
    """x/(1 + e^-x): `silu_wave`, or x/2 plus an even part on [-11, 11], relu beyond.

    Shapes: any -> the same. Scale: f.
    Interval: |x| < reach; |x| < 128, whatever `reach`, without masked openings.
    Error: 3e-4; 3e-3 in the last unit before `reach`.
    Rounds: 5, 360 bytes a value at reach 12; 28, 640 bytes without masked openings. Opens: as
    `masked_opening.own_number`.
    """
    return _smooth(x, silu_wave, silu_even, reach, 11, 18)


def silu_wave(raw, scale, *, reach):
    """`silu` by one masked opening.

    Shapes: sint vector -> sint vector. Scale: `scale`, up to 2f -> masked_opening.WAVE_BITS.
    Interval: |x| < reach.
    Error: 3e-4; 3e-3 in the last unit before `reach`; it grows linearly beyond.
    Rounds: 3. Opens: as `masked_opening.own_number`.
    """
    return smooth_relu_wave(raw, scale, silu_even, reach, 8)


def silu_even(x):
    """Even part of SiLU, of a float: x tanh(x/2)/2."""
    return x * math.tanh(x / 2) / 2


WAVES = {"gelu": gelu_wave, "gelu_new": gelu_new_wave, "silu": silu_wave}
"""Activations that are one masked opening of a product before its truncation, by name."""


def _smooth(x, wave, even, reach, limit, degree):
    if program.masked_openings:
        return store(rescale(wave(x.get_vector().v, sfix.f, reach=reach), masked_opening.WAVE_BITS), *x.shape)
    return store(smooth_relu(x.get_vector(), even, limit, degree), *x.shape)


def gelu_even(x):
    """Even part of GELU, of a float: x Φ(x) - x/2."""
    return x * math.erf(x / math.sqrt(2)) / 2


def tanh(x):
    """Hyperbolic tangent: a masked opening, or x times a series in x² on [-5, 5], clamped beyond.

    Shapes: any -> the same. Scale: f.
    Interval: |x| < 28; all without masked openings.
    Error: 3e-4.
    Rounds: 5; 31 without masked openings. Opens: as `masked_opening.own_number`.
    """
    if program.masked_openings:
        width = 16  # tanh x is odd about 0, as an even wave is about its width, and flat from there on
        from_width = round(width * 2**sfix.f) - x.get_vector().v
        wave = even_wave_of(from_width, sfix.f, lambda v: math.tanh(width - v), width)
        return store(rescale(wave, masked_opening.WAVE_BITS), *x.shape)
    limit = 5
    inside = clamp(x.get_vector(), -limit, limit)
    square = inside * inside
    ratio = fit(lambda y: math.tanh(math.sqrt(y)) / math.sqrt(y), 0, limit**2, 14)
    (slope,) = chebyshev(normalised(square, 0, limit**2), ratio)
    return store(inside * slope, *x.shape)


def softplus(x):
    """log(1 + eˣ) of a vector: a masked opening, or x/2 plus log(2 cosh(x/2)) on [-8, 8], relu beyond.

    Shapes: vector -> vector. Scale: f.
    Interval: |x| < 128.
    Error: 5e-4 on [-128, 128].
    Rounds: 5; 28 without masked openings. Opens: as `masked_opening.own_number`.
    """

    def even(v):
        return math.log(2 * math.cosh(v / 2))

    if program.masked_openings:
        return rescale(smooth_relu_wave(x.v, sfix.f, even, 128, 8), masked_opening.WAVE_BITS)
    return smooth_relu(x, even, 8, 12)


def smooth_relu_wave(raw, scale, even, reach, bend):
    """x/2 + even(x) by one masked opening; even(x) is even, and close to linear from |x| = `bend` on.

    Shapes: sint vector -> sint vector. Scale: `scale`, up to 2f -> masked_opening.WAVE_BITS.
    Interval: |x| < reach; the error grows linearly beyond.
    Error: TOLERANCE and reach * 2e-6, and how far even(`bend`) is from linear where |x| is near reach.
    Rounds: 3. Opens: as `masked_opening.own_number`.
    """
    wave = even_wave_of(raw, scale, even, (reach + bend) / 2)
    return wave + raw * 2 ** (masked_opening.WAVE_BITS - 1 - scale)


def even_wave_of(raw, scale, function, width):
    """An even function on [-width, width] by one masked opening; `fourier.even_wave` says what it is beyond.

    Shapes: sint vector -> sint vector. Scale: `scale` -> masked_opening.WAVE_BITS.
    Interval: |x| < width.
    Error: TOLERANCE + width * 4e-6.
    Rounds: 3. Opens: as `masked_opening.own_number`.
    """
    centre, amplitudes = shortest_even_wave(function, width, TOLERANCE)
    phase = raw * round(2 ** (TURN_BITS - scale) / (4 * width))
    return masked_opening.wave(phase, amplitudes) + round(centre * 2**masked_opening.WAVE_BITS)


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
