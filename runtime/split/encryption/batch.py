"""M·r + s of a batch of rows under encryption, row i in slot i of a ciphertext, one ciphertext to each feature.

A product with a public matrix is then a linear combination of ciphertexts, and needs no key: exact products of matrices
on the ciphertexts' coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bfv import DEGREE, PRIMES, Answering, Scheme
from .fixed import Adapter, Words, mod, product

TOKENS = DEGREE
"""Rows of a batch."""


class BatchProduct:
    """The server's side of one batch of one call: encrypted rows r go in feature by feature, M·r + s comes out."""

    def __init__(self, scheme: Scheme, answering: Answering, adapter: Adapter) -> None:
        self._scheme = scheme
        self._adapter = adapter
        self._answering = answering
        self._sums = [np.zeros((adapter.shape.told, 2 * DEGREE), np.uint64) for _ in scheme.primes]
        self._taken = 0

    def take(self, ciphertexts: Sequence[bytes | memoryview]) -> None:
        """The next features' ciphertexts. Raises InputError."""
        scheme = self._scheme
        words = np.stack([scheme.coefficients(scheme.load_fresh(data)) for data in ciphertexts])  # below their primes
        part = self._adapter.matrix[:, self._taken : self._taken + len(words)]
        self._taken += len(words)
        for i, (sums, prime) in enumerate(zip(self._sums, scheme.primes, strict=True)):
            of_prime = np.ascontiguousarray(words[:, :, i]).reshape(len(words), -1)
            sums[:] = mod(sums + product(part, of_prime, prime), prime)

    def answer(self, number: int, blind: Words) -> bytes:
        """An encryption of M's row of that number times all rows, plus a blind of each `[TOKENS]`."""
        words = np.stack([sums[number].reshape(2, DEGREE) for sums in self._sums], axis=1)
        assert words.shape == (2, PRIMES, DEGREE)
        return self._answering.answer(words, slice(None), self._scheme.slots(blind))
