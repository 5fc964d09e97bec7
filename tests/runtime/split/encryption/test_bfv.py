"""Encryption: fresh both ways, silent about what was computed, and picky about what it is given."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.encryption import MODULUS, keys, scheme
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption import randomness
from secfwt.runtime.split.encryption.bfv import DEGREE, FLOOD_BITS, HEADER_BYTES, PRIMES, Answering, Zeros, _flood
from secfwt.runtime.split.encryption.fixed import NORM_BITS, Words

ZEROS = np.zeros(DEGREE, np.uint64)


def encrypted(numbers: Words = ZEROS) -> bytes:
    return keys().encrypt(scheme().slots(numbers))


def words_of(ciphertext: bytes) -> Words:
    return scheme().coefficients(scheme().load_fresh(ciphertext)).copy()


def answered(ciphertext: bytes) -> bytes:
    return Answering(scheme(), keys().public).answer(words_of(ciphertext), slice(None))


def numbers(seed: int) -> Words:
    return np.random.default_rng(seed).integers(0, scheme().modulus, DEGREE, dtype=np.uint64)


def test_the_modulus_of_tests_without_encryption_is_the_schemes() -> None:
    assert scheme().modulus == MODULUS


def test_what_goes_in_comes_out() -> None:
    """By slots, and by coefficients with a blind."""
    answer = answered(encrypted(numbers(0)))
    assert (len(encrypted()), len(answer)) == (scheme().fresh_bytes, scheme().answer_bytes)
    np.testing.assert_array_equal(keys().slots(answer), numbers(0))
    words = words_of(keys().encrypt(scheme().polynomial(numbers(0))))
    answer = Answering(scheme(), keys().public).answer(words, slice(None), scheme().polynomial(numbers(1)))
    got = keys().polynomial(np.frombuffer(answer, np.uint64, offset=HEADER_BYTES).reshape(2, DEGREE))
    np.testing.assert_array_equal(got, (numbers(0) + numbers(1)) % np.uint64(scheme().modulus))


def test_high_coefficients_of_zero_are_there() -> None:
    """SEAL leaves them out."""
    few = ZEROS.copy()
    few[:3] = 7
    answer = answered(keys().encrypt(scheme().polynomial(few)))
    got = keys().polynomial(np.frombuffer(answer, np.uint64, offset=HEADER_BYTES).reshape(2, DEGREE))
    np.testing.assert_array_equal(got, few)


def test_what_is_sent_looks_uniform_and_is_fresh() -> None:
    """To the server: both polynomials of an encryption of zeros. To the data owner: the second polynomial of an answer,
    which without an encryption of zero would be a combination of its own with M's entries."""
    first, second = encrypted(), encrypted()
    for a, b in ((first, second), (answered(first), answered(first))):
        one, other = (np.frombuffer(each, np.uint64, offset=HEADER_BYTES) for each in (a, b))
        half = len(one) // 2  # the second polynomial
        prime = scheme().primes[0]
        for words in (one[half : half + DEGREE], one[half : half + DEGREE] - other[half : half + DEGREE]):
            share = (words.astype(np.int64) % prime).astype(np.float64) / prime
            counts = np.bincount((share * 16).astype(np.int64), minlength=16)
            assert np.abs(counts - DEGREE / 16).max() < 6.5 * (DEGREE / 16) ** 0.5  # 1e-9 false alarms


def test_the_flood_is_what_its_random_words_say() -> None:
    """A number of FLOOD_BITS bits mod each prime, the same one mod all."""
    random = np.random.default_rng(1).integers(0, 2**64, (2, 4), dtype=np.uint64)
    random[:, 3] = 2**64 - 1
    for i in range(4):
        number = int(random[0, i]) << FLOOD_BITS - 64 | int(random[1, i]) >> 128 - FLOOD_BITS
        assert number < 2**FLOOD_BITS
        for prime in scheme().primes:
            assert int(_flood(random, prime)[i]) == number % prime


def test_the_largest_flood_leaves_the_answer_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """And room for the noise of M's rows, which it hides: in the mean over all that a batch of rank 192 tells."""
    unit = scheme().primes[0] * scheme().primes[1] // scheme().modulus
    assert unit // 2 > 2**FLOOD_BITS + 2 ** (NORM_BITS + 14)
    assert 192 * DEGREE * 0.8 * 3.24 * 2**NORM_BITS < 2.0 ** (FLOOD_BITS - 38)
    monkeypatch.setattr(randomness, "fresh", lambda count: np.full(count, 2**64 - 1, np.uint64))
    np.testing.assert_array_equal(keys().slots(answered(encrypted(numbers(2)))), numbers(2))


def test_only_what_is_told_is_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first polynomial, mod both primes."""
    monkeypatch.setattr(randomness, "fresh", lambda count: np.full(count, 2**64 - 1, np.uint64))
    words = np.zeros((2, PRIMES, DEGREE), np.uint64)
    Answering(scheme(), keys().public).answer(words, np.array([2, 5]))
    assert np.argwhere(words).tolist() == [[0, prime, at] for prime in range(PRIMES) for at in (2, 5)]


def test_an_encryption_of_zero_is_used_once() -> None:
    made = iter(range(10))
    zeros = Zeros(lambda: next(made))
    zeros.make_ahead(3)
    zeros.make_ahead(2)  # there are more
    assert sorted(zeros.take() for _ in range(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("wrong", ["short", "header", "large", "answer"])
def test_what_is_no_ciphertext_is_refused(wrong: str) -> None:
    good = encrypted()
    large = bytearray(good)
    large[HEADER_BYTES : HEADER_BYTES + 8] = b"\xff" * 8
    bad = {"short": good[:-8], "header": b"x" + good[1:], "large": bytes(large), "answer": answered(good)}[wrong]
    with pytest.raises(InputError, match="what was sent is"):
        scheme().load_fresh(bad)


def test_a_fresh_ciphertext_is_no_answer() -> None:
    with pytest.raises(InputError, match="another form or level"):
        keys().slots(encrypted())
    with pytest.raises(InputError, match="not a ciphertext"):
        keys().polynomial(np.full((2, DEGREE), 2**63, np.uint64))


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(InputError, match="not a public key"):
        Answering(scheme(), b"key")
