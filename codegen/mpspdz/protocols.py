"""MP-SPDZ's protocols that programs are generated for: one row each, from which all that is said of them follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Against whom a protocol holds, what its programs say, and how its party program is run."""

    parties: int
    dealer: bool = False
    """The last party computes nothing: it deals randomness to the others."""
    corruptions: int
    """How many parties an attacker may control."""
    adversary: Literal["semi-honest", "malicious"]
    """What the attacked do: follow the protocol and look, or whatever they like."""
    majority: Literal["honest", "dishonest"]
    """Of the parties."""
    remark: str
    """How values are shared and multiplied, and who says so."""

    domain: Literal["ring 2^64", "prime field"]
    """What programs compute in. Rings wrap as angles do; in a field they must not (`lib/bit_phasors.py`)."""
    share_bits: int = 64
    """Bits of a share: more than the domain's where a MAC needs room."""

    trunc_pr: bool
    """Truncation is one instruction."""
    split: int
    """Shares that comparisons split into bits locally; 0: none."""
    edabit: bool
    """Comparisons take edaBits: random numbers of which the bits are shared as well."""
    masked_openings: bool
    """Periodic functions by masked openings: in rings, as the wrap is the period, and between semi-honest parties, as
    two of them input what they compute."""

    program: str
    """Party program, as MP-SPDZ builds it."""
    batch: int
    """The largest preprocessing batch (`-b`) that a party has the memory for; a program that takes less makes less."""
    options: tuple[str, ...] = ()
    """What else its command line needs: honest-majority programs use TLS by themselves, the others are told to (`-e`),
    and how many they are (`-N`); `-d` where parties send each other what they open."""

    @property
    def active(self) -> bool:
        """Secure against malicious parties: clients check triples."""
        return self.adversary == "malicious"

    @property
    def dealer_number(self) -> int | None:
        """Of the party that deals."""
        return self.parties - 1 if self.dealer else None

    @property
    def settings(self) -> dict[str, bool | int | None]:
        """The keywords of `settings.configure` that it decides: what `compile.py -E` would set, said in the program
        itself so that it is the same program everywhere."""
        return {
            "trunc_pr": self.trunc_pr, "split": self.split, "edabit": self.edabit, "active": self.active,
            "masked_openings": self.masked_openings, "dealer": self.dealer_number,
        }  # fmt: skip


DIRECT = ("-d",)
"""Two parties open by one message from each. Otherwise one sends, and waits for the sum."""
TWO = ("-e", "-N", "2")

PROTOCOLS = {
    "ring": Protocol(
        parties=3, corruptions=1, adversary="semi-honest", majority="honest",
        remark="replicated, Araki et al. 2016",
        domain="ring 2^64", trunc_pr=True, split=3, edabit=False, masked_openings=True,
        program="replicated-ring-party.x", batch=1_000_000,
    ),
    "rep4-ring": Protocol(
        parties=4, corruptions=1, adversary="malicious", majority="honest",
        remark="replicated among four, Dalskov et al. 2021",
        domain="ring 2^64", trunc_pr=True, split=4, edabit=False, masked_openings=False,
        program="rep4-ring-party.x", batch=100_000,
    ),
    "ps-rep-ring": Protocol(
        parties=3, corruptions=1, adversary="malicious", majority="honest",
        remark="replicated, products checked after the fact, Eerikson et al. 2020",
        domain="ring 2^64", trunc_pr=False, split=3, edabit=False, masked_openings=False,
        program="ps-rep-ring-party.x", batch=100_000,
    ),
    "sy-rep-ring": Protocol(
        parties=3, corruptions=1, adversary="malicious", majority="honest",
        remark="replicated with a MAC, SPDZ-wise, Abspoel et al. 2021",
        domain="ring 2^64", share_bits=104, trunc_pr=False, split=3, edabit=False, masked_openings=False,
        program="sy-rep-ring-party.x", batch=100_000,
    ),
    "semi2k": Protocol(
        parties=2, corruptions=1, adversary="semi-honest", majority="dishonest",
        remark="additive, triples by oblivious transfer",
        domain="ring 2^64", trunc_pr=False, split=2, edabit=False, masked_openings=True,
        program="semi2k-party.x", batch=50_000, options=TWO,
    ),
    "dealer-ring": Protocol(
        parties=3, dealer=True, corruptions=1, adversary="semi-honest", majority="honest",
        remark="two that compute; the third deals randomness and must collude with neither",
        domain="ring 2^64", trunc_pr=False, split=0, edabit=True, masked_openings=True,
        program="dealer-ring-party.x", batch=1_000_000, options=DIRECT,
    ),
    "spdz2k": Protocol(
        parties=2, corruptions=1, adversary="malicious", majority="dishonest",
        remark="additive with a MAC, triples by oblivious transfer, Cramer et al. 2018",
        domain="ring 2^64", share_bits=128, trunc_pr=False, split=0, edabit=False, masked_openings=False,
        program="spdz2k-party.x", batch=1_000, options=TWO,
    ),
    "hemi": Protocol(
        parties=2, corruptions=1, adversary="semi-honest", majority="dishonest",
        remark="additive, triples by semi-homomorphic encryption, Keller et al. 2018 without its checks",
        domain="prime field", share_bits=128, trunc_pr=False, split=0, edabit=False, masked_openings=False,
        program="hemi-party.x", batch=10_000, options=TWO,
    ),
    "temi": Protocol(
        parties=2, corruptions=1, adversary="semi-honest", majority="dishonest",
        remark="additive, triples by threshold semi-homomorphic encryption, Cramer et al. 2001",
        domain="prime field", share_bits=128, trunc_pr=False, split=0, edabit=False, masked_openings=False,
        program="temi-party.x", batch=10_000, options=TWO,
    ),
    "mascot": Protocol(
        parties=2, corruptions=1, adversary="malicious", majority="dishonest",
        remark="additive with a MAC, triples by oblivious transfer, Keller et al. 2016",
        domain="prime field", share_bits=128, trunc_pr=False, split=0, edabit=False, masked_openings=False,
        program="mascot-party.x", batch=1_000, options=TWO,
    ),
}  # fmt: skip
"""By the name that `--protocol` takes: the compiler's (`compile.py -E`)."""

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]
"""One of the rows' names, for command lines and files that are checked by type."""
