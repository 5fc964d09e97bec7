"""What the protocols send for one value: docs/protocols.md step by step, in bits over all three parties, and rounds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

WORD = 64
BIT = 1
CHECKED = Fraction(1, 64)
"""Tuples that are opened as a sample and thrown away, for each that is used."""
DIGEST = 32 * 8
"""Bits of what a party tells another before a result leaves: hashes of all that both hold."""


@dataclass(frozen=True)
class Traffic:
    """Messages for one element of an operation's input, one after the other; a sum is the messages of both."""

    rounds: int = 0
    data: int = 0
    """Bits that depend on inputs: shares under pads."""
    corrections: int = 0
    """Bits that depend on no input: shares of randomness that another party knows."""
    checks: Fraction = Fraction(0)
    """Bits of the sample of that randomness which is dealt, opened and thrown away."""

    @property
    def bits(self) -> int:
        """All bits of the operation itself, without checks."""
        return self.data + self.corrections

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.rounds + other.rounds, self.data + other.data, self.corrections + other.corrections,
            self.checks + other.checks,
        )  # fmt: skip


SILENT = Traffic()


def reshare() -> Traffic:
    """An additive value, replicated: every party sends its part, under a zero share, to the party before it."""
    return Traffic(rounds=1, data=3 * WORD)


def between_two(results: int = 1) -> Traffic:
    """Values that two parties hold the parts of, replicated: each sends a word to the other; keys give the third's."""
    return Traffic(rounds=1, data=results * 2 * WORD)


def wrap(bits: int) -> Traffic:
    """Whether two parts wrap around the ring, added up mod 2^bits."""
    return Traffic(
        rounds=1,
        data=2 * BIT,  # d = u⊕r and e = v⊕q, exchanged by the two
        corrections=bits * BIT,  # a share of r·q from the party that knows both one-time bits
    )


def truncation(shift: int) -> Traffic:
    """Truncation by `shift` bits."""
    joined = Traffic(rounds=1, data=WORD)  # P2 sends its part under a zero share to P1: two hold the value now
    return joined + wrap(shift) + between_two()


def comparison() -> Traffic:
    """Of a whole step: what every party tells both others before the result leaves."""
    return Traffic(rounds=1, data=6 * DIGEST)


def opening(*, k: int, harmonics: int, ring: int, results: int = 1) -> Traffic:
    """Series of `harmonics` of one phase, opened to two parties with `k` bits; amplitudes and sums in Z_2^ring."""
    opened = Traffic(
        rounds=1,
        data=4 * k * BIT,  # masked parts of the phase: LEFT ↔ RIGHT, and HELPER → both
        corrections=harmonics * 2 * ring * BIT,  # LEFT's share of every amplitude, which is complex, from HELPER
        checks=CHECKED
        * (harmonics * 2 * ring + k),  # the same of a checked tuple, and LEFT's pad of its phase for RIGHT
    )
    lifted = wrap(ring) if ring < WORD else SILENT
    return opened + lifted + between_two(results)
