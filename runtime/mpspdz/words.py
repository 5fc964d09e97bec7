"""Numbers as MP-SPDZ packs them: elements of Z_2^bits or of a prime field."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...mpc_programs.lib.wire import PRIME_BITS

Elements = NDArray[Any]
"""Numbers of a domain, along the first axis."""
Limbs = NDArray[np.uint64]
LIMB = 32
LOW = np.uint64(2**LIMB - 1)
SHIFT = np.uint64(LIMB)


class Domain(Protocol):
    """What a client has to do with the numbers that a protocol computes with."""

    @property
    def size(self) -> int:
        """Bytes of a packed element."""

    def zeros(self, count: int) -> Elements:
        """As many zeros."""

    def from_int64(self, words: NDArray[np.int64]) -> Elements:
        """Elements `[n]`, negative ones as their sign says."""

    def to_int64(self, x: Elements) -> NDArray[np.int64]:
        """Numbers that fit, as int64 `[n]`."""

    def unpack(self, data: memoryview) -> Elements:
        """Packed elements; the length must be a multiple of `size`."""

    def pack(self, x: Elements) -> bytes:
        """As they travel."""

    def add(self, x: Elements, y: Elements) -> Elements:
        """x + y."""

    def multiply(self, x: Elements, y: Elements) -> Elements:
        """x · y."""


@dataclass(frozen=True)
class RingDomain:
    """Arithmetic modulo 2^bits, for 64 bits and more: packed in ⌈bits/8⌉ bytes, little-endian.

    Malicious protocols over rings compute with more than 64 bits, so numbers are arrays `[n, limbs]` of uint64 with 32
    bits in each, least first: a sum and a carry always fit.
    """

    bits: int

    @property
    def size(self) -> int:
        """Bytes of a packed element."""
        return -(-self.bits // 8)

    @property
    def limbs(self) -> int:
        """Limbs of an element."""
        return -(-self.bits // LIMB)

    @cached_property
    def _top(self) -> np.uint64:
        """Mask of the highest limb."""
        return np.uint64(2 ** (self.bits - LIMB * (self.limbs - 1)) - 1)

    def zeros(self, count: int) -> Limbs:
        """As many zeros."""
        return np.zeros((count, self.limbs), np.uint64)

    def from_int64(self, words: NDArray[np.int64]) -> Limbs:
        """Elements `[n]`, sign extended."""
        result = np.empty((words.size, self.limbs), np.uint64)
        rest = np.ravel(words).astype(np.int64)
        for limb in range(self.limbs):
            result[:, limb] = rest.view(np.uint64) & LOW
            rest = rest >> LIMB
        result[:, -1] &= self._top
        return result

    def to_int64(self, x: Limbs) -> NDArray[np.int64]:
        """Elements modulo 2^64, as int64 `[n]`."""
        return (x[:, 0] | x[:, 1] << SHIFT).view(np.int64)

    def unpack(self, data: memoryview) -> Limbs:
        """Packed elements; the length must be a multiple of `size`."""
        packed = np.frombuffer(data, np.uint8).reshape(-1, self.size)
        padded = np.zeros((len(packed), 4 * self.limbs), np.uint8)
        padded[:, : self.size] = packed
        return padded.view("<u4").astype(np.uint64)

    def pack(self, x: Limbs) -> bytes:
        """As they travel."""
        return np.ascontiguousarray(x.astype("<u4").view(np.uint8)[:, : self.size]).tobytes()

    def add(self, x: Limbs, y: Limbs) -> Limbs:
        """x + y."""
        return self._carried(x + y)

    def multiply(self, x: Limbs, y: Limbs) -> Limbs:
        """x · y: schoolbook, products above the ring left out."""
        result = np.zeros_like(x)
        for i in range(self.limbs):
            carry = np.zeros(len(x), np.uint64)
            for j in range(self.limbs - i):
                carry = x[:, i] * y[:, j] + result[:, i + j] + carry
                result[:, i + j] = carry & LOW
                carry >>= SHIFT
        result[:, -1] &= self._top
        return result

    def _carried(self, x: Limbs) -> Limbs:
        for limb in range(self.limbs - 1):
            x[:, limb + 1] += x[:, limb] >> SHIFT
            x[:, limb] &= LOW
        x[:, -1] &= self._top
        return x


@dataclass(frozen=True)
class FieldDomain:
    """Arithmetic modulo an odd prime, in Python's integers; packed in Montgomery's form, little-endian."""

    prime: int

    @property
    def size(self) -> int:
        """Bytes of a packed element."""
        return -(-self.prime.bit_length() // 64) * 8

    @cached_property
    def _factor(self) -> int:
        """Montgomery's R."""
        return pow(2, 8 * self.size, self.prime)

    def zeros(self, count: int) -> Elements:
        """As many zeros."""
        return np.zeros(count, object)

    def from_int64(self, words: NDArray[np.int64]) -> Elements:
        """Elements `[n]`, negative ones below the prime."""
        return np.ravel(words).astype(object) % self.prime

    def to_int64(self, x: Elements) -> NDArray[np.int64]:
        """Numbers that fit, as int64 `[n]`; what does not fit is cut to 64 bits."""
        signed = np.where(x > self.prime // 2, x - self.prime, x)
        return (signed % 2**64).astype(np.uint64).view(np.int64)

    def unpack(self, data: memoryview) -> Elements:
        """Packed elements; the length must be a multiple of `size`."""
        inverse = pow(self._factor, -1, self.prime)
        words = [int.from_bytes(data[i : i + self.size], "little") for i in range(0, len(data), self.size)]
        return np.array(words, object) * inverse % self.prime

    def pack(self, x: Elements) -> bytes:
        """As they travel."""
        return b"".join(word.to_bytes(self.size, "little") for word in (x * self._factor % self.prime).tolist())

    def add(self, x: Elements, y: Elements) -> Elements:
        """x + y."""
        return np.asarray((x + y) % self.prime)

    def multiply(self, x: Elements, y: Elements) -> Elements:
        """x · y."""
        return np.asarray(x * y % self.prime)


def domain(said: bytes) -> RingDomain | FieldDomain:
    """The domain that a party says it computes in. Raises ValueError with what is wrong with it."""
    kind = said[:4].rstrip(b"\0")
    if kind == b"R" and len(said) == 12:
        bits, clear = struct.unpack("<4xII", said)
        if clear == 64 <= bits <= 256:
            return RingDomain(bits)
        raise ValueError(f"the parties compute modulo 2^{clear}, expected 2^64")
    if kind == b"p" and len(said) > 9:
        length = int.from_bytes(said[5:9], "little")
        prime, montgomery = int.from_bytes(said[9 : 9 + length], "big"), said[9 + length : 13 + length]
        if prime.bit_length() > PRIME_BITS and prime % 2 and montgomery == b"\1\0\0\0":
            return FieldDomain(prime)
        raise ValueError(f"the parties compute modulo {prime}, expected an odd prime of more than {PRIME_BITS} bits")
    raise ValueError("the parties compute neither in a ring modulo 2^64 nor in a prime field")
