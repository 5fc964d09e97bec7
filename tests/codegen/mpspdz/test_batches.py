"""The size of preprocessing batches follows from what a program's compiler counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from secfwt.codegen.mpspdz.batches import LEAST, batch_size
from secfwt.codegen.mpspdz.protocols import PROTOCOLS

SAID = """Writing to Programs/Bytecode/program-0.bc
Hash: 65280f
Program requires at most:
     1910508 integer randoms
     {triples} integer triples
        1500 strict edabits of length 16
        {bits} integer bits
      606852 integer opens
           2 matrix multiplications (64x384 * 384x50)
           1 matrix multiplications (1x{side} * {side}x4)
       99999 bit triples
         372 virtual machine rounds
"""
OF_PRODUCTS = 2 * 64 * 384 * 50


@pytest.mark.parametrize(
    ("triples", "bits", "side", "batch"),
    [
        (0, 7000, 16, 7000),  # of the kind that a step takes most of
        (OF_PRODUCTS + 4 * 16 + 9000, 7000, 16, 9000),  # triples beyond those of products
        (OF_PRODUCTS, 30_000, 16, 20_000),  # as much as the protocol allows
        (OF_PRODUCTS, 10, 16, 1500),
        (OF_PRODUCTS, 10, 2500, 2500),  # products are not cut
        (10**12, 10, 25_000, 25_000),
    ],
)
def test_batch_is_the_largest_count(triples: int, bits: int, side: int, batch: int) -> None:
    protocol = replace(PROTOCOLS["dealer-ring"], batch=20_000)
    assert batch_size(SAID.format(triples=triples, bits=bits, side=side), protocol) == batch


@pytest.mark.parametrize("said", ["", "Hash: 65280f\n", "Program requires at most:\n 5 integer bits\n"])
def test_little_takes_a_small_batch(said: str) -> None:
    assert batch_size(said, PROTOCOLS["ring"]) == LEAST
