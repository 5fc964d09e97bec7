"""What each side keeps of a batch of tokens until they are asked about: keys, which masks are made of, and a place."""

from __future__ import annotations

import secrets
import struct

import numpy as np

from .encryption import randomness
from .encryption.batch import TOKENS
from .encryption.fixed import Words

NUMBERS = 4096
"""That are made at a time: they stay in the cache."""
BITS = 41
LOW = np.uint64((1 << BITS) - 1)
WORDS = 2
"""Of a block of AES."""


class Uniform:
    """Streams of numbers below `modulus`, which is less than 2^16 below 2^41, under a key of its own from the
    operating system.

    Each is the low 41 bits of a word of AES in counter mode; where they are not below the modulus, with a probability
    of 2^-25, those of the same word of the next of 256 streams, and so on.
    """

    def __init__(self, modulus: int) -> None:
        assert 0 < (1 << BITS) - modulus < 1 << 16
        self._modulus = np.uint64(modulus)
        self._key = secrets.token_bytes(randomness.KEY_BYTES)

    def numbers(self, stream: int, batch: int, first: int, count: int) -> Words:
        """`count` numbers from `first` on of a stream's batch: the same at every call."""
        numbers = np.empty(count, np.uint64)
        for at in range(0, count, NUMBERS):
            part = numbers[at : at + NUMBERS]
            part[:] = self._numbers(stream, batch, first + at, len(part), 0)
        return numbers

    def _numbers(self, stream: int, batch: int, first: int, count: int, attempt: int) -> Words:
        block, skipped = divmod(first, WORDS)
        counter = struct.pack(">HHIQ", stream, batch >> 32, batch & 0xFFFFFFFF, attempt << 56 | block)
        words = randomness.stream(self._key, counter, skipped + count)
        numbers: Words = words[skipped:] & LOW
        for i in np.flatnonzero(numbers >= self._modulus):
            numbers[i] = self._numbers(stream, batch, first + int(i), 1, attempt + 1)[0]
        return numbers


class Masks:
    """Uniform rows under a key: those of a batch's token t are numbers t·width … of a stream, made when needed, or
    while there is nothing else to do."""

    def __init__(self, modulus: int) -> None:
        self._uniform = Uniform(modulus)
        self._next: dict[int, tuple[int, int, Words]] = {}
        """By call: a batch, a token of it, and the rows from there on that were made ahead."""

    def rows(self, call: int, batch: int, first: int, count: int, width: int) -> Words:
        """Of tokens `first` on, `[count, width]`."""
        where, at, made = self._next.pop(call, (batch, first, np.empty((0, width), np.uint64)))
        if (where, at, len(made)) == (batch, first, count):
            return made
        return self._rows(call, batch, first, count, width)

    def make_ahead(self, call: int, batch: int, first: int, count: int, width: int) -> None:
        """The next `rows`, as they will likely be asked for."""
        self._next[call] = batch, first, self._rows(call, batch, first, count, width)

    def _rows(self, call: int, batch: int, first: int, count: int, width: int) -> Words:
        return self._uniform.numbers(call, batch, first * width, count * width).reshape(count, width)

    def columns(self, call: int, batch: int, width: int) -> Words:
        """Of all tokens of a batch, by feature: `[width, TOKENS]`."""
        columns = np.empty((width, TOKENS), np.uint64)
        for first in range(0, TOKENS, 512):
            columns[:, first : first + 512] = self._rows(call, batch, first, 512, width).T
        return columns


class Cursor:
    """Which tokens of which batch of a call are next; none is used twice."""

    def __init__(self) -> None:
        self.batch = -1
        self.token = TOKENS

    @property
    def left(self) -> int:
        """Tokens that are left of the batch."""
        return TOKENS - self.token

    def next_batch(self) -> None:
        """What was left of the one before is forgotten."""
        self.batch += 1
        self.token = 0

    def take(self, count: int) -> int:
        """The first of the next `count` tokens."""
        assert 0 < count <= self.left
        self.token += count
        return self.token - count
