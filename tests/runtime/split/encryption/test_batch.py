"""The product of a batch of encrypted rows."""

from __future__ import annotations

import numpy as np
from secfwt.runtime.split.encryption.batch import TOKENS, BatchProduct
from secfwt.runtime.split.encryption.bfv import Answering, Keys, Scheme
from secfwt.runtime.split.encryption.fixed import Adapter
from secfwt.runtime.split.masks import Masks

INPUTS, RANK = 3, 2


def test_the_data_owner_gets_the_product_plus_the_blind() -> None:
    """Features come in parts."""
    rng, scheme = np.random.default_rng(0), Scheme()
    keys, masks = Keys(scheme), Masks(scheme.modulus)
    given = rng.normal(size=(RANK, INPUTS)), rng.normal(size=(5, RANK))
    adapter = Adapter.of(["layers.0.q"], [given], 8.0, scheme.modulus)
    rows, blinds = masks.columns(0, 0, INPUTS), masks.columns(1, 0, RANK)
    batch = BatchProduct(scheme, Answering(scheme, keys.public), adapter)
    encrypted = [keys.encrypt(scheme.slots(row)) for row in rows]
    batch.take(encrypted[:2])
    batch.take(encrypted[2:])
    wanted = (adapter.apply(rows, scheme.modulus) + blinds) % np.uint64(scheme.modulus)
    for number, blind in enumerate(blinds):
        got = keys.slots(batch.answer(number, blind))
        assert got.shape == (TOKENS,)
        np.testing.assert_array_equal(got, wanted[number])
