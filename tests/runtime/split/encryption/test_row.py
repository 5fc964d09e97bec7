"""The product of one encrypted row, for all ways that it is packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.encryption import keys, scheme
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption.bfv import DEGREE, HEADER_BYTES, Answering
from secfwt.runtime.split.encryption.fixed import Adapter
from secfwt.runtime.split.encryption.row import Packing, RowProduct, RowReading


def adapter(inputs: int, ranks: int, up: float = 1.0) -> Adapter:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(ranks, inputs)), up * rng.normal(size=(2 * ranks, ranks))
    return Adapter.of(["layers.0.q"], [given], 4.0 * inputs**0.5, scheme().modulus)


def sides(adapter: Adapter) -> tuple[RowProduct, RowReading]:
    product = RowProduct(scheme(), Answering(scheme(), keys().public), adapter)
    return product, RowReading(scheme(), keys(), product.packing)


@pytest.mark.parametrize(
    ("inputs", "ranks", "chunks", "answers"),
    [(1, 1, 1, 1), (3, 2, 1, 1), (8192, 1, 1, 1), (8193, 1, 2, 1), (4096, 8, 2, 2), (576, 24, 1, 2), (20000, 3, 3, 3)],
)
def test_a_product_is_exact(inputs: int, ranks: int, chunks: int, answers: int) -> None:
    """Rows longer than a ciphertext, chunks that do not come out even, numbers of one answer and of several."""
    given = adapter(inputs, ranks)
    product, reading = sides(given)
    assert (product.packing.chunks, product.packing.answers) == (chunks, answers)
    words = given.shape.encode(np.random.default_rng(1).normal(size=(1, inputs)), scheme().modulus)
    for _ in range(2):
        sent = reading.encrypt(words[0])
        assert {len(each) for each in sent} == {scheme().fresh_bytes}
        told = product.answers(sent)
        assert [len(each) for each in told] == [product.packing.answer_bytes] * answers
        got = reading.decrypt(memoryview(b"".join(told)))[:ranks]
        np.testing.assert_array_equal(got, given.apply(words.T, scheme().modulus)[:, 0])
        product.make_ahead()
        reading.make_ahead()


def test_an_adapter_of_zeros_adds_nothing() -> None:
    product, reading = sides(adapter(3, 2, up=0.0))
    sent = reading.encrypt(np.array([1, 2, 3], np.uint64))
    assert not reading.decrypt(memoryview(b"".join(product.answers(sent)))).any()


def test_nothing_is_sent_but_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coefficients between those are sums of other numbers: of the first polynomial they do not leave the server."""
    product, reading = sides(adapter(4, 2))
    assert product.packing.kept.tolist() == [3, 7]
    whole: list[bytes] = []
    answer = product._answering.answer

    def watched(*given: Any) -> bytes:
        whole.append(answer(*given))
        return whole[-1]

    monkeypatch.setattr(product._answering, "answer", watched)
    (sent,) = product.answers(reading.encrypt(np.ones(4, np.uint64)))
    first, second = np.frombuffer(whole[0], np.uint64, offset=HEADER_BYTES).reshape(2, DEGREE)
    np.testing.assert_array_equal(np.frombuffer(sent, np.uint64), [first[3], first[7], *second])


def test_packings_fill_no_more_than_a_polynomial() -> None:
    for inputs in (1, 5, 64, 576, 1000, 4096, 8192, 8193, 11008):
        for told in (1, 3, 8, 24, 192):
            packing = Packing(inputs, told)
            assert packing.chunks * packing.length >= inputs
            assert packing.answers * packing.rows >= told
            assert packing.rows * packing.length <= DEGREE
            fewest = min(c + -(-told // (DEGREE // -(-inputs // c))) for c in range(-(-inputs // DEGREE), inputs + 1))
            assert packing.chunks + packing.answers == fewest


def test_what_is_no_row_is_refused() -> None:
    product, _ = sides(adapter(3, 2))
    with pytest.raises(InputError, match="0 ciphertexts were sent, 1 expected"):
        product.answers([])
    with pytest.raises(InputError, match="not a ciphertext"):
        product.answers([bytes(scheme().fresh_bytes)])
