"""Numbers of so many bits, packed tightly: bit i of the sequence is bit i mod 8 of byte i // 8 (`vm/mpc/bits.h`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...codegen.ring.program import WORD

Words = NDArray[np.uint64]
Piece = tuple[int, np.uint64, int, np.uint64, NDArray[Any]]
CHUNK = 1 << 16
"""Numbers that are packed at a time: a multiple of 8, so that a chunk ends with a whole byte."""
QUARTER = 16
"""Bits of a word's parts of which whole ones are copied: about ten times as fast."""
MOST_BITS = 57
"""Of a piece that a window of 64 bits holds wherever in a byte it begins."""


def packed_bytes(count: int, bits: int) -> int:
    """What so many numbers take."""
    return -(-count * bits // 8)


def pack(words: Words, bits: int) -> bytes:
    """The `bits` low bits of each word `[n]`."""
    chunks = (words[start : start + CHUNK] for start in range(0, len(words), CHUNK))
    return b"".join(_pack(chunk, bits) for chunk in chunks)


def unpack(data: bytes | memoryview, count: int, bits: int) -> Words:
    """The words `[count]`, each below 2^bits."""
    words = np.empty(count, np.uint64)
    for start in range(0, count, CHUNK):
        chunk = words[start : start + CHUNK]
        first = start * bits // 8
        chunk[:] = _unpack(data[first : first + packed_bytes(len(chunk), bits)], len(chunk), bits)
    return words


def _pack(words: Words, bits: int) -> bytes:
    if bits == WORD:
        return words.tobytes()
    if bits % QUARTER == 0:
        parts = np.ascontiguousarray(words).view(np.uint16).reshape(-1, WORD // QUARTER)
        kept = np.empty((len(words), bits // QUARTER), np.uint16)
        for part in range(kept.shape[1]):
            kept[:, part] = parts[:, part]
        return kept.tobytes()
    eights = -(-len(words) // 8)
    filled = np.zeros((eights, 8), np.uint64)
    np.bitwise_and(words, np.uint64((1 << bits) - 1), out=filled.reshape(-1)[: len(words)])
    packed = np.zeros(eights * bits + 8, np.uint8)
    for number, first, size, low, window in _pieces(packed, eights, bits):
        piece = filled[:, number] if size == bits else (filled[:, number] >> first) & np.uint64((1 << size) - 1)
        window |= (piece << low).astype(window.dtype, copy=False)
    return packed[: packed_bytes(len(words), bits)].tobytes()


def _unpack(data: bytes | memoryview, count: int, bits: int) -> Words:
    if bits == WORD:
        return np.frombuffer(data, np.uint64)
    if bits % QUARTER == 0:
        kept = np.frombuffer(data, np.uint16).reshape(count, bits // QUARTER)
        parts = np.zeros((count, WORD // QUARTER), np.uint16)
        for part in range(kept.shape[1]):
            parts[:, part] = kept[:, part]
        return parts.view(np.uint64).reshape(-1)
    eights = -(-count // 8)
    packed = np.zeros(eights * bits + 8, np.uint8)
    packed[: len(data)] = np.frombuffer(data, np.uint8)
    words = np.zeros((eights, 8), np.uint64)
    for number, first, size, low, window in _pieces(packed, eights, bits):
        if size == bits:
            np.right_shift(window, low, out=words[:, number])
        else:
            words[:, number] |= ((window.astype(np.uint64) >> low) & np.uint64((1 << size) - 1)) << first
    words &= np.uint64((1 << bits) - 1)
    return words.reshape(-1)[:count]


def _pieces(packed: NDArray[np.uint8], eights: int, bits: int) -> Iterator[Piece]:
    """Where numbers lie: eight are `bits` bytes, and a window of at most as many holds a piece of each eighth number.

    Yields which of eight, its first bit and how many, and how far they are shifted up in the window.
    """
    for number in range(8):
        for first in range(0, bits, MOST_BITS):
            size = min(bits - first, MOST_BITS)
            at, low = divmod(number * bits + first, 8)
            kind = next(f"<u{width}" for width in (1, 2, 4, 8) if low + size <= 8 * width)
            window = np.ndarray(eights, kind, packed.data, at, bits)
            yield number, np.uint64(first), size, np.uint64(low), window
