"""A LoRA in numbers that both sides can compute with exactly.

B·A = Q·M: the columns of Q are a basis of B·A's (`basis`), which the data owner has, and M is the server's secret. What
is told of a row x is M·x, as many numbers as B·A has ranks. The data owner would know the space of B·A's columns from
as many answers B·A·x, and Q is made of that space alone: so M·x says no more.

A row is rounded to multiples of 2^-`fraction`, M to multiples of a power of two; M·x is then a multiple of another one,
and the server's sums are exact: no error but those roundings, 6e-4 of the deviation of what a module adds. They stay
below half the plaintext modulus for every row no longer than `reach` (Cauchy and Schwarz), which the server sees to
when it loads the adapter; the data owner refuses any other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log2
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Integer = TypeVar("Integer", np.int64, np.uint64)

NORM_BITS = 16
"""A row of M has at most the Euclidean length 2^16, before it is rounded to integers."""
MOST_SHIFT = 40
"""Bits by which M may be shifted up."""
LEAST_FRACTION = 8
"""Bits of a row's fraction below which its rounding, 0.002, would show."""
MOST_FRACTION = 20
SMALLEST = 2.0**-20
"""Of singular values beside the largest: what is below is rounding of a float32, and left out."""
TIED = 1 - 1e-9
"""Lengths that differ by no more are the same but for rounding."""
COLUMNS = 2048
"""Of a product at a time: what is computed of them stays in the cache."""
EXACT_BITS = 53
"""Integers that float64 holds, so that a product of matrices of them is exact."""


@dataclass(frozen=True)
class Shape:
    """What both sides know of one call: the modules that share a row x, and the units."""

    modules: tuple[str, ...]
    """Canonical names, `layers.3.q`; their outputs stand one behind the other."""
    widths: tuple[int, ...]
    """Outputs of each."""
    ranks: tuple[int, ...]
    """Numbers that are told for each."""
    inputs: int
    reach: float
    """Largest Euclidean length of x; at least 1."""
    fraction: int
    """Bits behind x's point."""
    scales: tuple[int, ...]
    """Of each module, bits behind the point of its numbers of M·x."""

    @property
    def told(self) -> int:
        """Numbers of M·x, of all modules together."""
        return sum(self.ranks)

    def _check(self, rows: Floats) -> None:
        """Raises InputError for rows of another length, and for one `[n, inputs]` beyond `reach`."""
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            raise InputError(f"rows of {rows.shape[-1]} numbers: the adapter's server takes {self.inputs}")
        longest = float(np.sqrt(np.einsum("ni,ni->n", rows, rows).max(initial=0)))
        if not longest <= self.reach:  # NaN too
            raise InputError(
                f"a row that {self.modules[0]} reads has the length {longest:.4g}; the adapter's server takes"
                f" at most {self.reach:.4g}"
            )

    def encode(self, rows: Floats, modulus: int) -> Words:
        """Rows `[n, inputs]` as integers mod `modulus`. Raises InputError for one beyond `reach`."""
        self._check(rows)
        return from_signed(np.rint(rows * 2.0**self.fraction), modulus)

    def decode(self, words: Words, modulus: int) -> Floats:
        """M·x, `[n, told]`, from `[n, told]` integers mod `modulus`."""
        signed = words.astype(np.int64)
        signed -= modulus * (signed > modulus // 2)
        return np.asarray(np.ldexp(signed.astype(np.float64), -np.repeat(self.scales, self.ranks)))

    def part(self, module: int) -> slice:
        """Where a module's numbers are among those of M·x."""
        first = sum(self.ranks[:module])
        return slice(first, first + self.ranks[module])


@dataclass(frozen=True)
class Adapter:
    """The server's own, of one call, stacked by module."""

    shape: Shape
    bases: tuple[Floats, ...]
    """Q of each module, `[width, rank]`, in float32's numbers: the data owner gets them."""
    matrix: Floats
    """M, `[told, inputs]`, integers."""

    @classmethod
    def of(
        cls, modules: Sequence[str], factors: Sequence[tuple[Floats, Floats]], reach: float, modulus: int
    ) -> Adapter:
        """Of each module's A `[r, inputs]` and B `[width, r]` (scaling in it); reach >= 1. Raises InputError where no
        fraction of a row is small enough."""
        bases = tuple(basis(a, b).astype(np.float32).astype(np.float64) for a, b in factors)
        exact = [columns.T @ b @ a for columns, (a, b) in zip(bases, factors, strict=True)]
        bits = [floor(min(NORM_BITS - log2(longest), MOST_SHIFT)) if (longest := _longest(m)) else 0 for m in exact]
        matrix = np.rint(np.concatenate([np.ldexp(m, shift) for m, shift in zip(exact, bits, strict=True)]))
        # |M x| <= longest · (reach · 2^fraction + √inputs / 2) < modulus / 2
        room = (modulus / 2 / max(_longest(matrix), 1.0) - np.sqrt(matrix.shape[1]) / 2) / reach
        fraction = floor(log2(min(max(room, 1.0), 2.0**MOST_FRACTION)))
        if fraction < LEAST_FRACTION:
            raise InputError(f"the adapter of {modules[0]} adds sums too large for {modulus.bit_length()} bits")
        widths, ranks = tuple(map(len, bases)), tuple(columns.shape[1] for columns in bases)
        scales = tuple(fraction + shift for shift in bits)
        return cls(Shape(tuple(modules), widths, ranks, matrix.shape[1], reach, fraction, scales), bases, matrix)

    def apply(self, words: Words, modulus: int) -> Words:
        """M x for columns of x, `[inputs, n]` to `[told, n]`, mod `modulus`."""
        return product(self.matrix, words, modulus)


def basis(down: Floats, up: Floats) -> Floats:
    """Orthonormal columns that those of B·A are combinations of, for A `[r, inputs]` and B `[width, r]`:
    `[width, min(width, r, inputs)]`, and zeros where fewer do.

    Any matrix with the same space of columns has the same basis, but for rounding: rows are chosen by their length in
    the space's projection, which no basis of it changes, and each turns what is left of the space towards itself.
    """
    same = up @ np.linalg.qr(down.T).R.T  # B·A less a turn of its rows: a thin matrix
    rest, sizes, _ = np.linalg.svd(same, full_matrices=False)
    rest = rest * (sizes > SMALLEST * sizes.max(initial=0))
    columns: Floats = np.zeros_like(rest)
    for i in range(np.count_nonzero(rest.any(axis=0))):
        lengths = np.linalg.norm(rest, axis=1)
        first = np.argmax(lengths >= lengths.max() * TIED)
        chosen = rest[first] / lengths[first]
        columns[:, i] = rest @ chosen
        rest = rest - np.outer(columns[:, i], chosen)
    return columns


def product(matrix: Floats, words: Words, modulus: int) -> Words:
    """`matrix` `[m, k]`, integers with rows of a Euclidean length below 2^(`NORM_BITS` + 1), times `words` `[k, n]`
    below `modulus` of at most 2^60, exactly: words go in two halves."""
    half = (modulus.bit_length() + 1) // 2
    assert NORM_BITS + 1 + half + log2(len(words)) / 2 <= EXACT_BITS, len(words)  # by Cauchy and Schwarz
    result = np.empty((len(matrix), words.shape[1]), np.uint64)
    for first in range(0, words.shape[1], COLUMNS):
        part = words[:, first : first + COLUMNS]
        low = matrix @ (part & np.uint64((1 << half) - 1)).astype(np.float64)
        high = matrix @ (part >> np.uint64(half)).astype(np.float64)
        result[:, first : first + COLUMNS] = shifted(high, half, low, modulus)
    return result


def shifted(high: NDArray[Any], bits: int, low: NDArray[Any], modulus: int) -> Words:
    """high · 2^`bits` + low mod `modulus`, of integers of magnitudes below 2^63 as int64 or float64.

    The quotient is estimated in floating point, off by one at most while it is below 2^50; so what it leaves, which is
    computed mod 2^64, lies between -modulus and 2 · modulus, and that is below 2^61.
    """
    quotient = np.floor(high * (2.0**bits / modulus) + low * (1 / modulus)).astype(np.int64)
    left = (high.astype(np.int64) << bits) + low.astype(np.int64) - quotient * modulus
    left += (left >> 63) & modulus
    positive = left.view(np.uint64)
    return np.asarray(np.minimum(positive, positive - np.uint64(modulus)))  # the latter is huge where it is below 0


def from_signed(numbers: Floats, modulus: int) -> Words:
    """Integers of magnitudes below `modulus`, mod it."""
    words = numbers.astype(np.int64).view(np.uint64)
    return np.asarray(np.minimum(words, words + np.uint64(modulus)))  # below 0 is huge, and the latter right


def plus(one: Words, other: Words, modulus: int) -> Words:
    """Sums mod `modulus` of numbers below it."""
    total = one + other
    return np.asarray(np.minimum(total, total - np.uint64(modulus)))


def minus(one: Words, other: Words, modulus: int) -> Words:
    """Differences mod `modulus` of numbers below it."""
    left = one - other
    return np.asarray(np.minimum(left, left + np.uint64(modulus)))


def mod(values: NDArray[Integer], modulus: int) -> NDArray[Integer]:
    """Division by a constant is vectorised in numpy, the remainder is not."""
    divisor = values.dtype.type(modulus)
    return values - values // divisor * divisor


def _longest(rows: Floats) -> float:
    """Euclidean length of the longest."""
    return float(np.sqrt(np.square(rows).sum(axis=1).max()))
