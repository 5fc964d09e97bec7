"""Real numbers as elements of Z_2^64, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.int64]


def encode(values: NDArray[np.float64], scale: int) -> Words:
    """round(value · 2^scale) mod 2^64, error at most half a unit; scale up to 64, where whole turns are dropped."""
    x = np.asarray(values, dtype=np.float64)
    if scale < 50:
        return np.rint(np.ldexp(x, scale)).astype(np.int64)
    turns = x - np.rint(np.ldexp(x, scale - 64)) * 2.0 ** (64 - scale)
    # two exact halves: a float64 product with 2^64 may not fit an int64
    high = np.rint(np.ldexp(turns, scale - 32))
    low = np.rint(np.ldexp(turns - np.ldexp(high, 32 - scale), scale))
    with np.errstate(over="ignore"):
        return (high.astype(np.int64) << 32) + low.astype(np.int64)


def number_bytes(words: Words) -> int:
    """Bytes that the longest of some signed numbers takes, 1 to 8."""
    longest = max(int(words.max(initial=0)), ~int(words.min(initial=0)))
    return longest.bit_length() // 8 + 1


def stored(words: Words, size: int) -> bytes:
    """Numbers in so many bytes each, two's complement, little-endian."""
    return np.ascontiguousarray(words, "<i8").reshape(-1, 1).view(np.uint8)[:, :size].tobytes()


def decode(words: Words, scale: int) -> NDArray[np.float64]:
    """The real numbers at a scale; scale 64 gives turns in [-0.5, 0.5)."""
    return np.ldexp(words.astype(np.float64), -scale)
