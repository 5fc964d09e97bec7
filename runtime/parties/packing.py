"""Numbers of so many bits, packed tightly: bit i of the sequence is bit i mod 8 of byte i // 8 (`vm/mpc/bits.h`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...codegen.ring.program import WORD

Words = NDArray[np.uint64]
CHUNK = 1 << 16
"""Numbers that are packed at a time: a multiple of 64, so that a chunk ends with a whole word."""


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
    # 64 numbers are `bits` words: row i has the i-th number of every 64
    rows = _rows(words & np.uint64((1 << bits) - 1), WORD)
    packed = np.zeros((bits, rows.shape[1]), np.uint64)
    for i, row in enumerate(rows):
        word, low = divmod(i * bits, WORD)
        packed[word] |= row << np.uint64(low)
        if low + bits > WORD:
            packed[word + 1] |= row >> np.uint64(WORD - low)
    return packed.T.tobytes()[: packed_bytes(len(words), bits)]


def _unpack(data: bytes | memoryview, count: int, bits: int) -> Words:
    if bits == WORD:
        return np.frombuffer(data, np.uint64)
    whole = np.zeros(-(-len(data) // 8), np.uint64)
    whole.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    packed = _rows(whole, bits)
    rows = np.empty((WORD, packed.shape[1]), np.uint64)
    for i in range(WORD):
        word, low = divmod(i * bits, WORD)
        rows[i] = packed[word] >> np.uint64(low)
        if low + bits > WORD:
            rows[i] |= packed[word + 1] << np.uint64(WORD - low)
    return (rows.T.reshape(-1) & np.uint64((1 << bits) - 1))[:count]


def _rows(words: Words, count: int) -> Words:
    """Words in columns of `count`, the last filled up with zeros."""
    columns = -(-len(words) // count)
    filled = np.zeros(columns * count, np.uint64)
    filled[: len(words)] = words
    return np.ascontiguousarray(filled.reshape(columns, count).T)
