"""What each side keeps of a batch of tokens until they are asked about: keys, which masks are made of, and a place."""

from __future__ import annotations

import secrets
import struct

import numpy as np

from .encryption import randomness
from .encryption.bfv import TOKENS
from .encryption.fixed import Words
from .encryption.workers import in_order

NUMBERS = 4096
"""That are made at a time: they stay in the cache."""
BITS = 41
LOW = np.uint64((1 << BITS) - 1)


class Uniform:
    """Streams of numbers below `modulus`, which is less than 2^16 below 2^41, under a key of its own from the
    operating system.

    Each is the first of three numbers of 41 bits that is below it, all from the same 128 bits; the third one as it is
    mod `modulus`: off from uniform by 2^-75, since one of them is not below it with a probability of 2^-25.
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
            part[:] = self._numbers(stream, batch, first + at, len(part))
        return numbers

    def _numbers(self, stream: int, batch: int, first: int, count: int) -> Words:
        counter = struct.pack(">HHIQ", stream, batch >> 32, batch & 0xFFFFFFFF, first)
        words = randomness.stream(self._key, counter, 2 * count).reshape(count, 2)
        return below(words, self._modulus)


def below(words: Words, modulus: np.uint64) -> Words:
    """A number below `modulus` of each row of `[n, 2]` words, as `Uniform` has them."""
    numbers: Words = words[:, 0] & LOW
    for i in np.flatnonzero(numbers >= modulus):
        second, rest = words[i, 1] & LOW, words[i] >> np.uint64(BITS)
        third = (rest[0] | rest[1] << np.uint64(64 - BITS)) & LOW
        numbers[i] = second if second < modulus else third % modulus
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
        firsts = range(0, TOKENS, 512)
        for first, part in zip(
            firsts, in_order(lambda at: self._rows(call, batch, at, 512, width), firsts), strict=True
        ):
            columns[:, first : first + 512] = part.T
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
