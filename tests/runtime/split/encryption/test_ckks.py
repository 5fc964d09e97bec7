"""The product of one encrypted row, for all ways that it is packed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from secfwt.runtime.errors import InputError
from secfwt.runtime.split.encryption.ckks import SLOTS, OnlineKeys, OnlineProduct, OnlineScheme, load_turning
from secfwt.runtime.split.encryption.fixed import Shape


@cache
def scheme() -> OnlineScheme:
    return OnlineScheme()


@pytest.mark.parametrize(
    ("inputs", "ranks", "outputs"), [(1, 1, 1), (3, 2, 5), (8, 8, 8), (100, 5, 30), (5000, 3, 40), (60, 6, 4100)]
)
def test_a_product_is_right(inputs: int, ranks: int, outputs: int) -> None:
    """Rows longer than a ciphertext, outputs of more than one, ranks that are no power of two."""
    rng = np.random.default_rng(0)
    down, up, row = rng.normal(size=(ranks, inputs)), rng.normal(size=(outputs, ranks)), rng.normal(size=inputs)
    shape = Shape(("q",), (outputs,), inputs, ranks, 1e3, 8, 30)
    product = OnlineProduct(scheme(), shape, down, up)
    keys = OnlineKeys(scheme(), [product.packing])
    sent = [keys.encrypt(slots) for slots in product.packing.pack(row)]
    assert {len(each) for each in sent} == {scheme().row_bytes}
    answers = product.answer(load_turning(scheme(), keys.turning), sent)
    assert {len(each) for each in answers} == {scheme().sum_bytes}
    assert len(answers) == product.packing.answers(outputs) == -(-outputs // SLOTS)
    got = np.concatenate([keys.decrypt(each) for each in answers])[:outputs]
    np.testing.assert_allclose(got, up @ (down @ row), atol=1e-5 * inputs**0.5 * ranks**0.5)


def test_an_adapter_of_zeros_adds_nothing() -> None:
    product = OnlineProduct(scheme(), Shape(("q",), (4,), 3, 2, 1e3, 8, 30), np.zeros((2, 3)), np.zeros((4, 2)))
    keys = OnlineKeys(scheme(), [product.packing])
    sent = [keys.encrypt(slots) for slots in product.packing.pack(np.ones(3))]
    (answer,) = product.answer(load_turning(scheme(), keys.turning), sent)
    assert np.abs(keys.decrypt(answer)).max() < 1e-5


def test_what_is_no_row_is_refused() -> None:
    product = OnlineProduct(scheme(), Shape(("q",), (4,), 3, 2, 1e3, 8, 30), np.ones((2, 3)), np.ones((4, 2)))
    keys = OnlineKeys(scheme(), [product.packing])
    turning = load_turning(scheme(), keys.turning)
    with pytest.raises(InputError, match="0 ciphertexts were sent, 1 expected"):
        product.answer(turning, [])
    with pytest.raises(InputError, match="not a ciphertext"):
        product.answer(turning, [bytes(scheme().row_bytes)])
    with pytest.raises(InputError, match="not a set of keys"):
        load_turning(scheme(), b"keys")
