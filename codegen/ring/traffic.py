"""What the protocols send for one value: docs/protocols.md step by step, in bits over all three parties, and rounds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..series.fits import Format

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


def reshare(ring: int) -> Traffic:
    """An additive value, replicated in Z_2^ring: every party sends its part, under a zero share, to the party before
    it. With the low bits cut off beforehand it is a truncation into a smaller ring."""
    return Traffic(rounds=1, data=3 * ring * BIT)


def between_two(ring: int, results: int = 1) -> Traffic:
    """Values that two parties hold the parts of, replicated: each sends its part to the other; keys give the
    third's."""
    return Traffic(rounds=1, data=results * 2 * ring * BIT)


def shifted(source: int, shift: int, ring: int, results: int = 1) -> Traffic:
    """Values that two parties hold the parts of in Z_2^source, divided by 2^shift and replicated in Z_2^ring.

    What is left of the source's bits may hold the ring; else the parts' wrap around 2^source has to be taken away.
    """
    return lifted(source, shift, ring, results) + between_two(ring, results)


def lifted(source: int, shift: int, ring: int, results: int = 1) -> Traffic:
    """The same, not replicated: the two hold the parts of it in Z_2^ring."""
    wide = ring - (source - shift)
    if wide <= 0:
        return SILENT
    return Traffic(
        rounds=1,
        data=results * 2 * BIT,  # d = u⊕r and e = v⊕q, exchanged by the two
        corrections=results * wide * BIT,  # a share of r·q from the party that knows both one-time bits
    )


def truncation(source: int, shift: int, ring: int, *, held: bool = False, opened: bool = False) -> Traffic:
    """Truncation of a value of Z_2^source by `shift` bits, into Z_2^ring. `held`: it is replicated, so that two parties
    hold the parts of it already. `opened`: two parties open it under a mask of the third."""
    if held:
        return shifted(source, shift, ring)
    if ring <= source - shift:
        return reshare(ring)
    if opened:
        kept, wide = source - shift, ring - (source - shift)
        exchanged = 2 * kept + 2 * wide  # by the two: what the shift leaves, masked; then a part of the table's entry
        return Traffic(rounds=2, data=(exchanged + ring + wide) * BIT)  # a component and the entry from the third
    # P2 sends its part under a zero share to P1: two hold the value now
    return Traffic(rounds=1, data=source * BIT) + shifted(source, shift, ring)


def comparison() -> Traffic:
    """Of a whole step: what every party tells both others before the result leaves."""
    return Traffic(rounds=1, data=6 * DIGEST)


def opening(form: Format, *, harmonics: int, shift: int, ring: int, results: int = 1) -> Traffic:
    """Series of `harmonics` of one phase, opened to two parties with so many bits as its format says; results divided
    by 2^shift in Z_2^ring."""
    source, tail = form.ring_bits, form.tail
    amplitudes = 2 * harmonics * source
    lift = SILENT
    if tail:
        amplitudes -= 2 * tail.harmonics * (source - tail.ring_bits)
        lift = lifted(tail.ring_bits, 0, source - (form.phasor_bits - tail.phasor_bits), results)
    k = form.phase_bits
    opened = Traffic(
        rounds=1,
        data=4 * k * BIT,  # masked parts of the phase: LEFT ↔ RIGHT, and HELPER → both
        corrections=amplitudes * BIT,  # LEFT's share of every amplitude, which is complex, from HELPER
        # the same of a checked tuple, and LEFT's pad of its phase for RIGHT
        checks=CHECKED * (amplitudes + k),
    )
    return opened + lift + shifted(source, shift, ring, results)
