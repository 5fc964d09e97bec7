"""A LoRA as integers: y = B·A·x exactly, in units that both sides know.

A row x is rounded to multiples of 2^-`fraction`, A and B to integers of at most 2^10; y is then a multiple of
2^-`scale`, and the server's sums are exact: no error but those roundings, half a percent of y's deviation. They stay
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

ENTRY_BITS = 10
"""An entry of A or B is at most 2^10: four digits of the largest."""
LEAST_FRACTION = 8
"""Bits of a row's fraction below which its rounding, 0.002, would show."""
MOST_FRACTION = 20
COLUMNS = 2048
"""Of a product at a time: what is computed of them stays in the cache."""
HALF = 27
"""Bits of half a word of 54."""
EXACT_BITS = 53
"""Integers that float64 holds, so that a product of matrices of them is exact."""


@dataclass(frozen=True)
class Shape:
    """What both sides know of one call: the modules that share a row x, and the units."""

    modules: tuple[str, ...]
    """Canonical names, `layers.3.q`; their outputs stand one behind the other."""
    widths: tuple[int, ...]
    """Outputs of each."""
    inputs: int
    ranks: int
    """Rows of A, of all modules together."""
    reach: float
    """Largest Euclidean length of x; at least 1."""
    fraction: int
    """Bits behind x's point."""
    scale: int
    """Bits behind y's."""

    @property
    def outputs(self) -> int:
        """Values that a call tells."""
        return sum(self.widths)

    def check(self, rows: Floats) -> None:
        """Raises InputError for rows of another length, and for one `[n, inputs]` beyond `reach`."""
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            raise InputError(f"rows of {rows.shape[-1]} numbers: the adapter's server takes {self.inputs}")
        longest = float(np.sqrt(np.square(rows).sum(axis=1).max(initial=0)))
        if not longest <= self.reach:  # NaN too
            raise InputError(
                f"a row that {self.modules[0]} reads has the length {longest:.4g}; the adapter's server takes"
                f" at most {self.reach:.4g}"
            )

    def by_module(self, values: Floats) -> list[Floats]:
        """Of `[n, outputs]`, each module's `[n, width]`."""
        return np.split(values, np.cumsum(self.widths)[:-1], axis=1)

    def encode(self, rows: Floats, modulus: int) -> Words:
        """Rows `[n, inputs]` as integers mod `modulus`. Raises InputError for one beyond `reach`."""
        self.check(rows)
        return mod(np.rint(rows * 2.0**self.fraction).astype(np.int64), modulus).view(np.uint64)

    def decode(self, words: Words, modulus: int) -> Floats:
        """What is added, `[n, outputs]`, from `[n, outputs]` integers mod `modulus`."""
        signed = words.astype(np.int64)
        signed -= modulus * (signed > modulus // 2)
        return np.asarray(signed * 2.0**-self.scale)


@dataclass(frozen=True)
class Adapter:
    """The server's own: integer factors of one call, stacked by module."""

    shape: Shape
    down: Floats
    """A, `[ranks, inputs]`."""
    up: Floats
    """B with its scaling, `[outputs, ranks]`; zero outside a module's own block."""
    down_bits: NDArray[np.int64]
    up_bits: NDArray[np.int64]
    """Bits behind the points of A's rows and of B's columns."""

    @property
    def factors(self) -> tuple[Floats, Floats]:
        """A and B in real units."""
        return np.ldexp(self.down, -self.down_bits[:, None]), np.ldexp(self.up, -self.up_bits[None, :])

    @classmethod
    def of(
        cls, modules: Sequence[str], factors: Sequence[tuple[Floats, Floats]], reach: float, modulus: int
    ) -> Adapter:
        """Of each module's A `[r, inputs]` and B `[width, r]` (scaling in it); reach >= 1. Raises InputError where no
        fraction of a row is small enough."""
        down = np.concatenate([a for a, _ in factors])
        widths = tuple(len(b) for _, b in factors)
        up = np.zeros((sum(widths), len(down)))
        row = column = 0
        for _, b in factors:
            up[row : row + len(b), column : column + b.shape[1]] = b
            row, column = row + len(b), column + b.shape[1]
        left = _room(np.abs(down).max(axis=1))
        right = _room(np.abs(up).max(axis=0))
        bits = int((left + right).min())
        right = np.minimum(right, bits - left)
        left = bits - right
        down, up = np.rint(np.ldexp(down, left[:, None])), np.rint(np.ldexp(up, right[None, :]))
        longest = float(np.sqrt(np.square(up @ down).sum(axis=1).max()))
        # |M x| <= longest · (reach · 2^fraction + √inputs / 2) < modulus / 2
        room = (modulus / 2 / longest - np.sqrt(down.shape[1]) / 2) / reach if longest else np.inf
        fraction = floor(log2(min(max(room, 1.0), 2.0**MOST_FRACTION)))
        if fraction < LEAST_FRACTION:
            raise InputError(f"the adapter of {modules[0]} adds sums too large for {modulus.bit_length()} bits")
        shape = Shape(tuple(modules), widths, down.shape[1], len(down), reach, fraction, fraction + bits)
        return cls(shape, down, up, left, right)

    def apply(self, words: Words, modulus: int) -> Words:
        """M x for columns of x, `[inputs, n]` to `[outputs, n]`, mod `modulus`."""
        return product(self.up, product(self.down, words, modulus), modulus)


def product(matrix: Floats, words: Words, modulus: int) -> Words:
    """`matrix` `[m, k]`, integers of at most 2^10, times `words` `[k, n]` below `modulus` of at most 2^54, exactly."""
    assert ENTRY_BITS + HALF + len(words).bit_length() <= EXACT_BITS, len(words)
    result = np.empty((len(matrix), words.shape[1]), np.uint64)
    for first in range(0, words.shape[1], COLUMNS):
        part = words[:, first : first + COLUMNS]
        low = matrix @ (part & np.uint64((1 << HALF) - 1)).astype(np.float64)
        high = matrix @ (part >> np.uint64(HALF)).astype(np.float64)
        result[:, first : first + COLUMNS] = shifted(high, HALF, low, modulus)
    return result


def shifted(high: NDArray[Any], bits: int, low: NDArray[Any], modulus: int) -> Words:
    """high · 2^`bits` + low mod `modulus`, of integers of magnitudes below 2^63 as int64 or float64.

    The quotient is estimated in floating point, off by one at most while it is below 2^50; so what it leaves, which is
    computed mod 2^64, lies between -modulus and 2 · modulus, and that is below 2^56.
    """
    quotient = np.floor(high * (2.0**bits / modulus) + low * (1 / modulus)).astype(np.int64)
    left = (high.astype(np.int64) << bits) + low.astype(np.int64) - quotient * modulus
    left += (left >> 63) & modulus
    positive = left.view(np.uint64)
    return np.asarray(np.minimum(positive, positive - np.uint64(modulus)))  # the latter is huge where it is below 0


def mod(values: NDArray[Integer], modulus: int) -> NDArray[Integer]:
    """Division by a constant is vectorised in numpy, the remainder is not."""
    divisor = values.dtype.type(modulus)
    return values - values // divisor * divisor


def _room(largest: Floats) -> NDArray[np.int64]:
    """Bits by which entries may be shifted up."""
    exponents = np.floor(ENTRY_BITS - np.log2(np.maximum(largest, 2.0**-60)))
    return np.asarray(np.minimum(exponents, 40), np.int64)
