"""Ring elements as MP-SPDZ packs them: Z_2^bits in ⌈bits/8⌉ bytes, little-endian.

Its malicious protocols over rings compute with more than 64 bits, so numbers are arrays `[n, limbs]` of uint64 with 32
bits in each, least first: a sum and a carry always fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Limbs = NDArray[np.uint64]
LIMB = 32
LOW = np.uint64(2**LIMB - 1)
SHIFT = np.uint64(LIMB)


@dataclass(frozen=True)
class Ring:
    """Arithmetic modulo 2^bits, for 64 bits and more."""

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
