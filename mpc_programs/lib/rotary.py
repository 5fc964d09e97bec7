"""Rotary positions (Su et al. 2021): R x = x∘cos + swap(x)∘sin, where `swap` exchanges the halves of a head."""

from Compiler.types import cint, program, regint, sfix

from lib import phasors
from lib.phasors import PRECISION, rounding_shift
from lib.tensor import gather, store
from lib.wire import TURN_BITS

TURNED = 16
"""Scale of cosines and sines."""


def tables(frequencies, first, rows):
    """Public cosines and signed sines of the rows from slot `first` on, in clear integers: the same bits everywhere.

    Shapes: D/2 integers, turns per slot at TURN_BITS -> two cint containers `[rows, D]`. Scale: TURNED.
    Interval: all.
    Error: 2^-17.
    Rounds: 0. Opens: nothing.
    """
    half = len(frequencies)
    n = rows * half
    speeds = cint.Array(half)
    speeds.assign(frequencies)
    slots = cint(regint.inc(n, first, 1, half, rows))
    turns = slots * gather(speeds, regint.inc(n, 0, 1, 1, half))
    if not program.options.ring:
        turns %= 2**TURN_BITS
    shorter = rounding_shift(n, PRECISION - TURNED)
    cosine, sine = (store(shorter(value), rows, half) for value in phasors.cos_sin(turns))
    places = regint.inc(2 * n, 0, half, 2 * half, rows) + regint.inc(2 * n, 0, 1, 1, half)
    signs = cint(regint.inc(2 * n, -1, 2, half, 2))
    return store(gather(cosine, places), rows, 2 * half), store(gather(sine, places) * signs, rows, 2 * half)


def rotated(raw, turned, heads):
    """Rows of heads, each turned by its row's tables; without tables (None) as they are.

    Shapes: sint vector `[B, R, heads, D]`, `tables` of the R rows -> the same. Scale: s -> s + TURNED, or s.
    Interval: |x| 2^(s + TURNED) < 2^62.
    Error: |x| 2^-16.
    Rounds: 0. Opens: nothing.
    """
    if turned is None:
        return raw
    cosine, sine = turned
    n, (rows, size) = raw.size, cosine.shape
    x, half = store(raw, raw.size), size // 2
    swapped = gather(
        x, regint.inc(n, 0, size, size) + regint.inc(n, half, -half, half, 2) + regint.inc(n, 0, 1, 1, half)
    )
    places = regint.inc(n, 0, size, heads * size, rows) + regint.inc(n, 0, 1, 1, size)
    return raw * gather(cosine, places) + swapped * gather(sine, places)


def scale_of(turned):
    """Scale of what `rotated` gives for products of two numbers at f."""
    return 2 * sfix.f + (TURNED if turned else 0)
