"""Uniform numbers mod a prime, from AES in counter mode: any part of a stream at any time, so that none is stored."""

from __future__ import annotations

import secrets
import struct

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

Words = NDArray[np.uint64]


class Uniform:
    """Streams of numbers below `modulus` (at most 41 bits) under a key of its own from the operating system.

    From 107 bits each: off from uniform by 2^-65.
    """

    def __init__(self, modulus: int) -> None:
        assert modulus.bit_length() <= 41
        self._modulus = np.uint64(modulus)
        self._key = secrets.token_bytes(16)

    def numbers(self, stream: int, batch: int, first: int, count: int) -> Words:
        """`count` numbers from `first` on of a stream's batch: the same at every call."""
        counter = struct.pack(">HHI", stream, batch >> 32, batch & 0xFFFFFFFF) + struct.pack(">Q", first)
        cipher = Cipher(algorithms.AES(self._key), modes.CTR(counter)).encryptor()
        words = np.frombuffer(cipher.update(bytes(16 * count)), "<u8").reshape(count, 2)
        value = self._mod(words[:, 0] >> np.uint64(1))
        for shift in (0, 22):
            piece = (words[:, 1] >> np.uint64(shift)) & np.uint64((1 << 22) - 1)
            value = self._mod((value << np.uint64(22)) + piece)
        return value

    def _mod(self, values: Words) -> Words:
        return values - values // self._modulus * self._modulus
