"""M·x of a single row under encryption, with nothing prepared: inner products as coefficients of polynomials.

A chunk of x is a polynomial, numbers j as coefficients of X^j. Of M's rows as many as fit stand one behind the other in
another one, each from its last number to its first. Of the product, coefficient i·L + L - 1 for chunks of L numbers is
then the inner product with row i (Cheetah, Huang et al. 2022). No ciphertext is turned, and no key but for encryption
is needed. Of the answer's first polynomial only those coefficients are sent; the rest would tell other sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from .bfv import DEGREE, HEADER_BYTES, PRIMES, Answering, Keys, Scheme
from .fixed import Adapter, Words, from_signed

if TYPE_CHECKING:
    import seal


class Packing:
    """How one call's rows are packed, which both sides know: in as few ciphertexts, both ways together, as can be. One
    up has four times the bytes of one down, and half the work."""

    def __init__(self, inputs: int, told: int) -> None:
        least, most = -(-inputs // DEGREE), -(-inputs * told // DEGREE) + 1
        self.chunks = min(range(least, most + 1), key=lambda chunks: chunks + _answers(inputs, told, chunks))
        self.length = -(-inputs // self.chunks)
        """Numbers of a chunk, which the last one is filled up to with zeros."""
        self.rows = min(told, DEGREE // self.length)
        """Of M, that share an answer."""
        self.answers = -(-told // self.rows)
        self.kept = np.arange(self.rows) * self.length + self.length - 1
        """Coefficients of an answer that are told."""

    @property
    def answer_bytes(self) -> int:
        """Of one answer: its kept coefficients, and the second polynomial."""
        return (self.rows + DEGREE) * 8

    def row(self, words: Words) -> Words:
        """Polynomials of a row `[inputs]`: coefficients `[chunks, DEGREE]`."""
        polynomials = np.zeros((self.chunks, DEGREE), np.uint64)
        polynomials[:, : self.length] = self._chunks(words[None])[0]
        return polynomials

    def matrix(self, words: Words) -> Words:
        """Polynomials of M `[told, inputs]`: coefficients `[answers, chunks, DEGREE]`."""
        filled = np.zeros((self.answers * self.rows, self.chunks, self.length), np.uint64)
        filled[: len(words)] = self._chunks(words)[:, :, ::-1]
        behind = filled.reshape(self.answers, self.rows, self.chunks, self.length).swapaxes(1, 2)
        polynomials = np.zeros((self.answers, self.chunks, DEGREE), np.uint64)
        polynomials[:, :, : self.rows * self.length] = behind.reshape(self.answers, self.chunks, -1)
        return polynomials

    def _chunks(self, words: Words) -> Words:
        """`[n, inputs]` as `[n, chunks, length]`."""
        filled = np.zeros((len(words), self.chunks * self.length), np.uint64)
        filled[:, : words.shape[1]] = words
        return filled.reshape(len(words), self.chunks, self.length)


class RowProduct:
    """The server's side of one call."""

    def __init__(self, scheme: Scheme, answering: Answering, adapter: Adapter) -> None:
        self.packing = Packing(adapter.shape.inputs, adapter.shape.told)
        self._scheme = scheme
        self._answering = answering
        self._evaluator = scheme.seal.Evaluator(scheme.context)
        polynomials = self.packing.matrix(from_signed(adapter.matrix, scheme.modulus))
        self._matrix = [[self._transformed(p) for p in of_answer] for of_answer in polynomials]

    def answers(self, ciphertexts: Sequence[bytes | memoryview]) -> list[bytes]:
        """Of one row's chunks: `Packing.answer_bytes` each. Raises InputError, and SEAL's RuntimeError where the chunks
        are no encryptions."""
        if len(ciphertexts) != self.packing.chunks:
            raise InputError(f"{len(ciphertexts)} ciphertexts were sent, {self.packing.chunks} expected")
        chunks = [self._evaluator.transform_to_ntt(self._scheme.load_fresh(data)) for data in ciphertexts]
        return [self._answer(chunks, polynomials) for polynomials in self._matrix]

    def make_ahead(self) -> None:
        """What the next row's answers need of randomness, while there is nothing else to do."""
        self._answering.zeros.make_ahead(self.packing.answers)

    def _answer(self, chunks: Sequence[seal.Ciphertext], polynomials: Sequence[seal.Plaintext | None]) -> bytes:
        evaluator = self._evaluator
        parts = [evaluator.multiply_plain(c, p) for c, p in zip(chunks, polynomials, strict=True) if p is not None]
        words = np.zeros((2, PRIMES, DEGREE), np.uint64)
        if parts:
            total = evaluator.transform_from_ntt(evaluator.add_many(parts))
            words[:] = self._scheme.coefficients(total)
        answer = self._answering.answer(words, self.packing.kept)
        first, second = np.frombuffer(answer, "<u8", offset=HEADER_BYTES).reshape(2, DEGREE)
        return first[self.packing.kept].tobytes() + second.tobytes()

    def _transformed(self, polynomial: Words) -> seal.Plaintext | None:
        """None for zeros, which SEAL does not multiply by."""
        if not polynomial.any():
            return None
        level = self._scheme.context.first_parms_id()
        return self._evaluator.transform_to_ntt(self._scheme.polynomial(polynomial), level)


class RowReading:
    """The data owner's side of one call."""

    def __init__(self, scheme: Scheme, keys: Keys, packing: Packing) -> None:
        self.packing = packing
        self._scheme = scheme
        self._keys = keys

    def encrypt(self, words: Words) -> list[bytes]:
        """A row `[inputs]` of numbers below the modulus."""
        return [self._keys.encrypt(self._scheme.polynomial(chunk)) for chunk in self.packing.row(words)]

    def make_ahead(self) -> None:
        """What the next row's ciphertexts need of randomness, while there is nothing else to do."""
        self._keys.zeros.make_ahead(self.packing.chunks)

    def decrypt(self, data: memoryview) -> Words:
        """M·x of all answers, one behind the other. Raises InputError for what are none."""
        size = self.packing.answer_bytes
        return np.concatenate([self._numbers(data[at : at + size]) for at in range(0, len(data), size)])

    def _numbers(self, data: memoryview) -> Words:
        given = np.frombuffer(data, "<u8")
        words = np.zeros((2, DEGREE), np.uint64)
        words[0, self.packing.kept], words[1] = given[: self.packing.rows], given[self.packing.rows :]
        return self._keys.polynomial(words)[self.packing.kept]


def _answers(inputs: int, told: int, chunks: int) -> int:
    """That so many chunks have."""
    return -(-told // (DEGREE // -(-inputs // chunks)))
