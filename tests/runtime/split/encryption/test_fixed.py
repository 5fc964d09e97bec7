"""A LoRA in exact numbers: a basis of what it can add, exact sums, rows within reach, units that fit."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.encryption import MODULUS
from hypothesis import given
from hypothesis import strategies as st
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption.fixed import NORM_BITS, Adapter, basis, minus, plus, product


def added(adapter: Adapter, rows: np.ndarray) -> list[np.ndarray]:
    """What the data owner gets, without anything being sent."""
    words = adapter.shape.encode(rows, MODULUS)
    told = adapter.apply(np.ascontiguousarray(words.T), MODULUS).T
    numbers = adapter.shape.decode(told, MODULUS)
    return [numbers[:, adapter.shape.part(module)] @ columns.T for module, columns in enumerate(adapter.bases)]


def factors(rng: np.random.Generator, width: int, inputs: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(rank, inputs)) * 0.05, rng.normal(size=(width, rank)) * 0.03


@given(st.integers(0, 2**32), st.integers(30, 60), st.integers(1, 32), st.sampled_from([-1, 0, 1]))
def test_products_are_exact(seed: int, bits: int, inner: int, sign: int) -> None:
    """At the longest rows and the largest numbers, too."""
    rng = np.random.default_rng(seed)
    modulus = int(rng.integers(2 ** (bits - 1), 2**bits))
    most = int(2**NORM_BITS / inner**0.5)
    matrix = np.full((3, inner), sign * float(most))
    words = np.full((inner, 2), modulus - 1, np.uint64)
    if not sign:
        matrix = rng.integers(-most, most + 1, (3, inner)).astype(np.float64)
        words = rng.integers(0, modulus, (inner, 2), dtype=np.uint64)
    rows, columns = matrix.astype(np.int64).tolist(), words.T.tolist()
    wanted = [[sum(map(int.__mul__, row, column)) % modulus for column in columns] for row in rows]
    assert product(matrix, words, modulus).tolist() == wanted


def test_long_products_are_exact() -> None:
    """Of a row's length, mod the plaintext's modulus."""
    matrix, words = np.full((1, 16384), 2.0 ** (NORM_BITS - 7)), np.full((16384, 1), MODULUS - 1, np.uint64)
    assert product(matrix, words, MODULUS).item() == (MODULUS - 1) * 16384 * 2 ** (NORM_BITS - 7) % MODULUS


def test_sums_and_differences_stay_below_the_modulus() -> None:
    one, other = (values.ravel() for values in np.meshgrid([0, 1, 5, MODULUS - 1], [0, 1, 6, MODULUS - 1]))
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    words = one.astype(np.uint64), other.astype(np.uint64)
    assert plus(*words, MODULUS).tolist() == [(a + b) % MODULUS for a, b in pairs]
    assert minus(*words, MODULUS).tolist() == [(a - b) % MODULUS for a, b in pairs]


def test_a_basis_is_of_the_space_alone() -> None:
    """The same for factors B·G and any A, whatever G turns and stretches; and B's columns are its combinations."""
    rng = np.random.default_rng(5)
    up, down = rng.normal(size=(40, 6)), rng.normal(size=(6, 50))
    columns = basis(down, up)
    np.testing.assert_allclose(columns.T @ columns, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(columns @ (columns.T @ up), up, atol=1e-12)
    for stretched in (1.0, 10.0):
        turned = up @ (rng.normal(size=(6, 6)) * stretched ** rng.normal(size=6))
        np.testing.assert_allclose(basis(rng.normal(size=(6, 20)), turned), columns, atol=1e-9)


def test_ties_are_decided_by_the_first_row() -> None:
    """Where the columns span everything, all rows are as long."""
    rng = np.random.default_rng(8)
    for _ in range(20):
        np.testing.assert_allclose(basis(rng.normal(size=(5, 9)), rng.normal(size=(5, 5))), np.eye(5), atol=1e-9)


def test_directions_that_the_product_has_not_are_not_told() -> None:
    """A column of B whose row of A is zero."""
    rng = np.random.default_rng(9)
    up, down = rng.normal(size=(40, 6)), rng.normal(size=(6, 50))
    down[3] = 0
    columns = basis(down, up)
    np.testing.assert_allclose(columns[:, :5], basis(np.delete(down, 3, axis=0), np.delete(up, 3, axis=1)), atol=1e-9)
    assert not columns[:, 5].any()


def test_factors_that_balance_each_other_are_all_there() -> None:
    """What counts is the size of the product's parts."""
    rng = np.random.default_rng(10)
    (a, b), by = factors(rng, 24, 48, 4), 2.0 ** np.array([0, 30, -30, 0])
    given = a * by[:, None], b / by
    adapter, rows = Adapter.of(["layers.0.q"], [given], 4 * 48**0.5, MODULUS), rng.normal(size=(50, 48))
    wanted = rows @ a.T @ b.T
    assert np.sqrt(np.square(added(adapter, rows)[0] - wanted).mean()) < 1e-3 * wanted.std()


def test_directions_that_are_missing_are_columns_of_zeros() -> None:
    rng = np.random.default_rng(6)
    up, down = rng.normal(size=(20, 3)), rng.normal(size=(4, 9))
    columns = basis(down, np.concatenate([up, up[:, :1] + up[:, 1:2]], axis=1))
    assert columns.shape == (20, 4)
    np.testing.assert_allclose(columns[:, :3], basis(down[:3], up), atol=1e-9)
    assert not columns[:, 3].any()
    assert basis(down, rng.normal(size=(2, 4))).shape == (2, 2)
    assert basis(down[:, :1], rng.normal(size=(5, 4))).shape == (5, 1)
    assert not basis(down, np.zeros((3, 4))).any()


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1e-3, 30.0), (1e3, 1e-4)])
def test_what_modules_add_is_right_to_a_thousandth(scales: tuple[float, float]) -> None:
    """Whatever part of the size is A's and whatever is B's; and of a small module beside a large one."""
    rng = np.random.default_rng(1)
    (first, second), (of_a, of_b) = (factors(rng, 24, 48, 4), factors(rng, 8, 48, 2)), scales
    given = [(first[0] * of_a, first[1] * of_b), (second[0] * of_a, second[1] * of_b / 1000)]
    adapter = Adapter.of(["layers.0.q", "layers.0.v"], given, 4 * 48**0.5, MODULUS)
    assert np.square(adapter.matrix).sum(axis=1).max() ** 0.5 <= 2**NORM_BITS + 48**0.5
    rows = rng.normal(size=(50, 48))
    for (a, b), got in zip(given, added(adapter, rows), strict=True):
        wanted = rows @ a.T @ b.T
        assert np.sqrt(np.square(got - wanted).mean()) < 1e-3 * wanted.std()


def test_the_longest_row_does_not_wrap() -> None:
    """Along the row of M that sums up to most, in both directions."""
    rng = np.random.default_rng(2)
    (a, b), reach = factors(rng, 16, 32, 4), 40.0
    adapter = Adapter.of(["layers.0.q"], [(a, b)], reach, MODULUS)
    longest = adapter.matrix[np.square(adapter.matrix).sum(axis=1).argmax()]
    rows = np.outer([1, -1], longest / np.linalg.norm(longest) * reach * (1 - 1e-12))
    (got,) = added(adapter, rows)
    wanted = rows @ a.T @ b.T
    assert np.abs(got - wanted).max() < 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("value", [1e3, np.nan, np.inf])
def test_a_row_beyond_reach_is_refused(value: float) -> None:
    adapter = Adapter.of(["layers.0.q"], [factors(np.random.default_rng(3), 4, 6, 2)], 9.0, MODULUS)
    with pytest.raises(InputError, match=r"a row that layers\.0\.q reads has the length .*takes at most 9"):
        adapter.shape.encode(np.full((1, 6), value), MODULUS)


def test_an_adapter_of_zeros_adds_nothing() -> None:
    adapter = Adapter.of(["layers.0.q"], [(np.zeros((2, 6)), np.zeros((4, 2)))], 9.0, MODULUS)
    assert not added(adapter, np.ones((1, 6)))[0].any()


def test_sums_that_do_not_fit_are_refused() -> None:
    given = factors(np.random.default_rng(4), 4, 64, 2)
    with pytest.raises(InputError, match=r"layers\.0\.q adds sums too large for 41 bits"):
        Adapter.of(["layers.0.q"], [given], 1e5, MODULUS)
