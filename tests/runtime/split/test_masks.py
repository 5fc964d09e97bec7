"""Masks: uniform, the same whenever they are made, another one everywhere else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers.encryption import MODULUS
from secfwt.runtime.split.encryption import randomness
from secfwt.runtime.split.encryption.fixed import Words
from secfwt.runtime.split.masks import BITS, WORDS, Masks


def test_masks_are_uniform_and_the_same_by_row_and_column() -> None:
    masks = Masks(MODULUS)
    columns = masks.columns(2, 1, 3)
    np.testing.assert_array_equal(masks.rows(2, 1, 101, 7, 3), columns[:, 101:108].T)
    turns = (columns.reshape(-1).astype(np.float64) * (2.0**64 / MODULUS)).astype(np.uint64)
    counts = np.bincount((turns >> np.uint64(60)).astype(np.int64), minlength=16)
    assert np.abs(counts - counts.mean()).max() < 6 * counts.mean() ** 0.5  # 1e-8 false alarms
    for other in (masks.columns(2, 2, 3), masks.columns(1, 1, 3), Masks(MODULUS).columns(2, 1, 3)):
        assert (other != columns).mean() > 0.99


def test_a_word_that_is_not_below_the_modulus_is_taken_from_the_next_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same place of it: byte 8 of a counter says which."""
    most = (1 << BITS) - 1
    streams = [
        [5, most, MODULUS - 1, MODULUS, 6 | 3 << BITS, 9],
        [0, MODULUS, 0, 8, 0, 0],
        [0, 7 | 1 << 63, 0, 0, 0, 0],
    ]

    def stream(key: bytes, counter: bytes, count: int) -> Words:
        first = WORDS * int.from_bytes(counter[9:], "big")
        return np.array(streams[counter[8]][first : first + count], np.uint64)

    monkeypatch.setattr(randomness, "stream", stream)
    wanted = [5, 7, MODULUS - 1, 8, 6, 9]
    for first in range(6):
        assert Masks(MODULUS).rows(0, 0, first, 1, 1).item() == wanted[first]
    assert Masks(MODULUS).rows(0, 0, 0, 2, 3).reshape(-1).tolist() == wanted


def test_no_two_masks_are_made_of_the_same_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call's, batch's and row's numbers have blocks of their own."""
    blocks: Counter[int] = Counter()
    made = randomness.stream

    def stream(key: bytes, counter: bytes, count: int) -> Words:
        blocks.update(int.from_bytes(counter, "big") + i // WORDS for i in range(count))
        return made(key, counter, count)

    monkeypatch.setattr(randomness, "stream", stream)
    masks = Masks(MODULUS)
    for call in range(2):
        for batch in (0, 1, 2**32):
            for first in range(0, 6, 2):
                masks.rows(call, batch, first, 2, 3)  # blocks are shared by nobody, or by the end and the beginning
    assert blocks.total() == 2 * 3 * (6 + 6 + 6)
    assert max(blocks.values()) == WORDS


def test_masks_made_ahead_are_those_that_are_needed() -> None:
    masks = Masks(MODULUS)
    wanted = masks.rows(1, 0, 5, 2, 3)
    masks.make_ahead(1, 0, 5, 2, 3)
    assert np.array_equal(masks.rows(1, 0, 5, 2, 3), wanted)
    assert not masks._next
    for batch, first, count in ((1, 5, 2), (0, 6, 2), (0, 5, 1), (0, 5, 3)):  # of another place: made anew
        masks.make_ahead(1, 0, 5, 2, 3)
        fresh = Masks(MODULUS)
        fresh._uniform = masks._uniform
        assert np.array_equal(masks.rows(1, batch, first, count, 3), fresh.rows(1, batch, first, count, 3))
        assert not masks._next
