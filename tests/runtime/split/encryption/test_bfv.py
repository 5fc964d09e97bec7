"""The encrypted product: right, fresh, and silent about the adapter."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption.bfv import FLOOD_BITS, HEADER_BYTES, TOKENS, Evaluation, Keys, Scheme, _flood
from secfwt.runtime.split.encryption.fixed import Adapter
from secfwt.runtime.split.masks import Masks, below

INPUTS, OUTPUTS = 3, 2


@cache
def scheme() -> Scheme:
    return Scheme()


@cache
def keys() -> Keys:
    return Keys(scheme())


def adapter(factor: float = 1.0) -> Adapter:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2, INPUTS)), factor * rng.normal(size=(OUTPUTS, 2))
    return Adapter.of(["layers.0.q"], [given], 8.0, scheme().modulus)


def answers(adapter: Adapter, ciphertexts: list[bytes], blinds: np.ndarray) -> list[bytes]:
    evaluation = Evaluation(scheme(), keys().public, adapter)
    evaluation.take(ciphertexts)
    return evaluation.answer(0, blinds)


def test_the_data_owner_gets_the_product_plus_the_blind() -> None:
    masks, modulus = Masks(scheme().modulus), scheme().modulus
    rows, blinds = masks.columns(0, 0, INPUTS), masks.columns(1, 0, OUTPUTS)
    encrypted = [keys().encrypt(row) for row in rows]
    assert {len(each) for each in encrypted} == {scheme().fresh_bytes}
    got = answers(adapter(), encrypted, blinds)
    assert {len(each) for each in got} == {scheme().answer_bytes}
    wanted = (adapter().apply(rows, modulus) + blinds) % np.uint64(modulus)
    np.testing.assert_array_equal([keys().decrypt(each) for each in got], wanted)


def test_what_is_sent_looks_uniform_and_is_fresh() -> None:
    """To the server: both polynomials of an encryption of zeros. To the data owner: the second polynomial of an answer,
    which without an encryption of zero would be a combination of its own with B·A's entries."""
    zeros = np.zeros(TOKENS, np.uint64)
    first, second = keys().encrypt(zeros), keys().encrypt(zeros)
    told = [answers(adapter(), [first] * INPUTS, np.zeros((OUTPUTS, TOKENS), np.uint64))[0] for _ in range(2)]
    for a, b in ((first, second), tuple(told)):
        one, other = (np.frombuffer(each, np.uint64, offset=HEADER_BYTES) for each in (a, b))
        half = len(one) // 2  # the second polynomial
        prime = scheme().primes[0]
        for words in (one[half : half + TOKENS], one[half : half + TOKENS] - other[half : half + TOKENS]):
            share = (words.astype(np.int64) % prime).astype(np.float64) / prime
            counts = np.bincount((share * 16).astype(np.int64), minlength=16)
            assert np.abs(counts - TOKENS / 16).max() < 6.5 * (TOKENS / 16) ** 0.5  # 1e-9 false alarms


def test_the_flood_is_what_its_random_words_say() -> None:
    """A number of FLOOD_BITS bits mod each prime, the same one mod all."""
    random = np.random.default_rng(1).integers(0, 2**64, (2, 4), dtype=np.uint64)
    for i in range(4):
        number = int(random[0, i]) << FLOOD_BITS - 64 | int(random[1, i]) >> 128 - FLOOD_BITS
        assert number < 2**FLOOD_BITS
        for prime in scheme().primes:
            assert int(_flood(random, prime)[i]) == number % prime


@pytest.mark.parametrize("wrong", ["short", "header", "large", "answer"])
def test_what_is_no_ciphertext_is_refused(wrong: str) -> None:
    good = keys().encrypt(np.zeros(TOKENS, np.uint64))
    large = bytearray(good)
    large[HEADER_BYTES : HEADER_BYTES + 8] = b"\xff" * 8
    answer = answers(adapter(), [good] * INPUTS, np.zeros((OUTPUTS, TOKENS), np.uint64))[0]
    bad = {"short": good[:-8], "header": b"x" + good[1:], "large": bytes(large), "answer": answer}[wrong]
    evaluation = Evaluation(scheme(), keys().public, adapter())
    with pytest.raises(InputError, match="what was sent is"):
        evaluation.take([bad])


def test_a_fresh_ciphertext_is_no_answer() -> None:
    with pytest.raises(InputError, match="another form or level"):
        keys().decrypt(keys().encrypt(np.zeros(TOKENS, np.uint64)))


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(InputError, match="not a public key"):
        Evaluation(scheme(), b"key", adapter())


def test_masks_are_uniform_and_the_same_by_row_and_column() -> None:
    masks = Masks(scheme().modulus)
    columns = masks.columns(2, 1, 3)
    np.testing.assert_array_equal(masks.rows(2, 1, 100, 7, 3), columns[:, 100:107].T)
    turns = (columns.reshape(-1).astype(np.float64) * (2.0**64 / scheme().modulus)).astype(np.uint64)
    counts = np.bincount((turns >> np.uint64(60)).astype(np.int64), minlength=16)
    assert np.abs(counts - counts.mean()).max() < 6 * counts.mean() ** 0.5  # 1e-8 false alarms
    for other in (masks.columns(2, 2, 3), masks.columns(1, 1, 3), Masks(scheme().modulus).columns(2, 1, 3)):
        assert (other != columns).mean() > 0.99


def test_masks_are_the_first_of_three_numbers_that_is_below_the_modulus() -> None:
    """Of 41 bits each: the low ones of either word, and those that both leave."""
    t = scheme().modulus
    most = (1 << 41) - 1
    third = 0b101 << 38 | 7
    low, high = third & (1 << 23) - 1, third >> 23
    words = [
        (t - 1 | 9 << 41, most), (5, 6), (t, t - 1), (most | 1 << 63, 8 | 1 << 50), (t | low << 41, most | high << 41),
        (most | ((1 << 23) - 1) << 41, t | ((1 << 18) - 1) << 41),
    ]  # fmt: skip
    found = below(np.array(words, np.uint64), np.uint64(t))
    assert found.tolist() == [t - 1, 5, t - 1, 8, third, most - t]


def test_masks_made_ahead_are_those_that_are_needed() -> None:
    masks = Masks(scheme().modulus)
    wanted = masks.rows(1, 0, 5, 2, 3)
    masks.make_ahead(1, 0, 5, 2, 3)
    assert np.array_equal(masks.rows(1, 0, 5, 2, 3), wanted)
    assert not masks._next
    for batch, first, count in ((1, 5, 2), (0, 6, 2), (0, 5, 1), (0, 5, 3)):  # of another place: made anew
        masks.make_ahead(1, 0, 5, 2, 3)
        fresh = Masks(scheme().modulus)
        fresh._uniform = masks._uniform
        assert np.array_equal(masks.rows(1, batch, first, count, 3), fresh.rows(1, batch, first, count, 3))
        assert not masks._next
