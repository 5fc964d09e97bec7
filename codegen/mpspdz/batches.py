"""How much randomness MP-SPDZ's parties make ahead at once (`-b`): what one evaluation of a program takes of a kind.

The virtual machine never makes more at once than the program's own counts, or than `-b`. Each batch is a round or more,
so it should be one per evaluation; but what a count holds that is not used is made in vain.
"""

from __future__ import annotations

import re

from .protocols import Protocol

LEAST = 1000
"""MP-SPDZ's own batch; checks of triples want some hundred at once."""
NEEDS = "Program requires at most:"
OTHERS = re.compile(r"^ *(\d+) (?:integer (?:bits|dabits)|(?:strict|loose) edabits .*)$", re.MULTILINE)
TRIPLES = re.compile(r"^ *(\d+) integer triples$", re.MULTILINE)
PRODUCTS = re.compile(r"^ *(\d+) matrix multiplications \((\d+)x(\d+) \* \d+x(\d+)\)$", re.MULTILINE)


def batch_size(needs: str, protocol: Protocol) -> int:
    """The batch for a program whose compiler has said `needs`: the largest count of one kind, as far as the protocol
    has the memory.

    Scalar triples of matrix products do not count: most protocols make none, and where they are made they are too many
    for one batch. No side of a matrix is longer than the batch, because the virtual machine cuts products there.
    """
    counts = needs.partition(NEEDS)[2]
    products = [[int(number) for number in line] for line in PRODUCTS.findall(counts)]
    of_products = sum(times * rows * inner * columns for times, rows, inner, columns in products)
    kinds = [int(count) for count in OTHERS.findall(counts)]
    kinds += [int(count) - of_products for count in TRIPLES.findall(counts)]
    sides = [side for _, *sizes in products for side in sizes]
    return max(min(max(kinds, default=0), protocol.batch), LEAST, *sides)
