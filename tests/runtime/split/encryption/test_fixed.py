"""A LoRA as integers: exact sums, rows within reach, units that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption.fixed import Adapter, product

MODULUS = 2_199_023_190_017


def added(adapter: Adapter, rows: np.ndarray) -> list[np.ndarray]:
    """What the data owner gets, without anything being sent."""
    words = adapter.shape.encode(rows, MODULUS)
    told = adapter.apply(np.ascontiguousarray(words.T), MODULUS).T
    return adapter.shape.by_module(adapter.shape.decode(told, MODULUS))


def factors(rng: np.random.Generator, width: int, inputs: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(rank, inputs)) * 0.05, rng.normal(size=(width, rank)) * 0.03


@given(st.integers(0, 2**32), st.integers(30, 54), st.integers(1, 300), st.sampled_from([-1, 0, 1]))
def test_products_are_exact(seed: int, bits: int, inner: int, sign: int) -> None:
    """At the largest entries of both sides, too."""
    rng = np.random.default_rng(seed)
    modulus = int(rng.integers(2 ** (bits - 1), 2**bits))
    matrix = np.full((3, inner), sign * 2.0**10)
    words = np.full((inner, 2), modulus - 1, np.uint64)
    if not sign:
        matrix = rng.integers(-(2**10), 2**10 + 1, (3, inner)).astype(np.float64)
        words = rng.integers(0, modulus, (inner, 2), dtype=np.uint64)
    rows, columns = matrix.astype(np.int64).tolist(), words.T.tolist()
    wanted = [[sum(map(int.__mul__, row, column)) % modulus for column in columns] for row in rows]
    assert product(matrix, words, modulus).tolist() == wanted


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1e-3, 30.0), (1e3, 1e-4)])
def test_what_modules_add_is_right_to_half_a_percent(scales: tuple[float, float]) -> None:
    """Whatever part of the size is A's and whatever is B's; modules of one call have units of their own ranks."""
    rng = np.random.default_rng(1)
    given = [factors(rng, 24, 48, 4), factors(rng, 8, 48, 2)]
    given = [(a * scales[0], b * scales[1]) for a, b in given]
    adapter = Adapter.of(["layers.0.q", "layers.0.v"], given, 4 * 48**0.5, MODULUS)
    rows = rng.normal(size=(50, 48))
    for (a, b), got in zip(given, added(adapter, rows), strict=True):
        wanted = rows @ a.T @ b.T
        assert np.sqrt(np.square(got - wanted).mean()) < 5e-3 * wanted.std()


def test_the_longest_row_does_not_wrap() -> None:
    """Along the row of B·A that sums up to most, in both directions."""
    rng = np.random.default_rng(2)
    (a, b), reach = factors(rng, 16, 32, 4), 40.0
    adapter = Adapter.of(["layers.0.q"], [(a, b)], reach, MODULUS)
    sums = adapter.up @ adapter.down
    longest = sums[np.square(sums).sum(axis=1).argmax()]
    rows = np.outer([1, -1], longest / np.linalg.norm(longest) * reach * (1 - 1e-12))
    (got,) = added(adapter, rows)
    wanted = rows @ a.T @ b.T
    assert np.abs(got - wanted).max() < 5e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("value", [1e3, np.nan, np.inf])
def test_a_row_beyond_reach_is_refused(value: float) -> None:
    adapter = Adapter.of(["layers.0.q"], [factors(np.random.default_rng(3), 4, 6, 2)], 9.0, MODULUS)
    with pytest.raises(InputError, match=r"a row that layers\.0\.q reads has the length .*takes at most 9"):
        adapter.shape.encode(np.full((1, 6), value), MODULUS)


def test_an_adapter_of_zeros_adds_nothing() -> None:
    adapter = Adapter.of(["layers.0.q"], [(np.zeros((2, 6)), np.zeros((4, 2)))], 9.0, MODULUS)
    assert not added(adapter, np.ones((1, 6)))[0].any()


def test_sums_that_do_not_fit_are_refused() -> None:
    a = np.ones((512, 64))
    with pytest.raises(InputError, match=r"layers\.0\.q adds sums too large for 41 bits"):
        Adapter.of(["layers.0.q"], [(a, np.ones((4, 512)))], 1e4, MODULUS)
