"""What can be compared: every protocol's promise, and the numbers that decide what it computes."""

from __future__ import annotations

from dataclasses import dataclass

from ...codegen.mpspdz.options import MpSpdzOptions
from ...codegen.mpspdz.protocols import PROTOCOLS
from ...codegen.native.binaries import VM
from ..mpspdz.installation import own_party

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Promise:
    """Against whom a protocol keeps inputs secret (and, malicious, results right)."""

    engine: str
    parties: int
    security: str
    """semi-honest or malicious."""
    majority: str
    """honest or dishonest, of the parties."""
    corruptions: int
    """How many parties an attacker may control."""
    remark: str = ""


PROMISES = {EMBEDDED: Promise("embedded", 3, "semi-honest", "honest", 1, "replicated, docs/protocols.md")} | {
    name: Promise("mp-spdz", row.parties, row.adversary, row.majority, row.corruptions, row.remark)
    for name, row in PROTOCOLS.items()
}
"""By the name that --protocols takes."""


@dataclass(frozen=True)
class Numbers:
    """What makes one plan a different numerical program under every protocol."""

    domain: str
    fraction_bits: str
    value_bits: str
    truncation: str
    rounding: str
    batch: str
    program: str
    """What a party runs."""

    def __str__(self) -> str:
        return (
            f"{self.domain}, (f, k) = ({self.fraction_bits}, {self.value_bits}), truncation: {self.truncation}, "
            f"rounding: {self.rounding}, batch: {self.batch}, program: {self.program}"
        )


def embedded_numbers() -> Numbers:
    """Of the embedded VM: scales are the program's, chosen for every product."""
    return Numbers(
        domain="ring 2^64", fraction_bits="16 in rows, up to 64", value_bits="62",
        truncation="exact, one masked bit", rounding="to nearest, 1 unit off at most",
        batch="none: nothing is made ahead", program=VM,
    )  # fmt: skip


def mpspdz_numbers(options: MpSpdzOptions) -> Numbers:
    """Of a program for MP-SPDZ and the party program that runs it."""
    protocol = PROTOCOLS[options.protocol]
    own = own_party(options.protocol)
    way = "one instruction of the protocol" if protocol.trunc_pr else "masked opening"
    return Numbers(
        domain=protocol.domain,
        fraction_bits=str(options.fraction_bits), value_bits=str(options.value_bits),
        truncation="exact" if options.round_nearest else f"probabilistic, {way}",
        rounding="to nearest" if options.round_nearest else "up or down at random",
        batch=f"what the program takes, {protocol.batch} at most (-b), vectors of {options.budget} (budget)",
        program=own.name if own else protocol.program,
    )  # fmt: skip
