"""What each side keeps of a batch of tokens until they are asked about: keys, which masks are made of, and a place."""

from __future__ import annotations

import secrets
import struct

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .bfv import TOKENS
from .fixed import Words, mod


class Uniform:
    """Streams of numbers below `modulus` (at most 41 bits) under a key of its own from the operating system.

    From 107 bits each: off from uniform by 2^-65.
    """

    def __init__(self, modulus: int) -> None:
        assert modulus.bit_length() <= 41
        self._modulus = modulus
        self._key = secrets.token_bytes(16)

    def numbers(self, stream: int, batch: int, first: int, count: int) -> Words:
        """`count` numbers from `first` on of a stream's batch: the same at every call."""
        counter = struct.pack(">HHI", stream, batch >> 32, batch & 0xFFFFFFFF) + struct.pack(">Q", first)
        cipher = Cipher(algorithms.AES(self._key), modes.CTR(counter)).encryptor()
        words = np.frombuffer(cipher.update(bytes(16 * count)), "<u8").reshape(count, 2)
        value = mod(words[:, 0] >> np.uint64(1), self._modulus)
        for shift in (0, 22):
            piece = (words[:, 1] >> np.uint64(shift)) & np.uint64((1 << 22) - 1)
            value = mod((value << np.uint64(22)) + piece, self._modulus)
        return value


class Masks:
    """Uniform rows under a key: those of a batch's token t are numbers t·width … of a stream, made when needed."""

    def __init__(self, modulus: int) -> None:
        self._uniform = Uniform(modulus)

    def rows(self, call: int, batch: int, first: int, count: int, width: int) -> Words:
        """Of tokens `first` on, `[count, width]`."""
        return self._uniform.numbers(call, batch, first * width, count * width).reshape(count, width)

    def columns(self, call: int, batch: int, width: int) -> Words:
        """Of all tokens of a batch, by feature: `[width, TOKENS]`."""
        columns = np.empty((width, TOKENS), np.uint64)
        for first in range(0, TOKENS, 512):
            columns[:, first : first + 512] = self.rows(call, batch, first, 512, width).T
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
