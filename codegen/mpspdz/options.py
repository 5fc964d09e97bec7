"""The choices of the MP-SPDZ target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..commandline.options import ENGINE, Option, check
from .protocols import ProtocolName

RoundNearest = Annotated[
    bool, Option("MP-SPDZ rounds exactly: slower, and without what probabilistic truncation leaks.", ENGINE)
]


@dataclass(frozen=True)
class MpSpdzOptions:
    """Choices of this target; all of them are public."""

    protocol: Annotated[ProtocolName, Option("Protocol of MP-SPDZ.", ENGINE)] = "ring"
    round_nearest: RoundNearest = False
    examples: Annotated[
        int,
        Option(
            "Examples per generation: for the estimate; under MP-SPDZ, the most of all sets together.",
            ENGINE,
            at_least=1,
        ),
    ] = 32
    """Room for examples, all sets together, each in whole tiles; missing ones have weight 0."""
    tile: int = 8
    """Examples of a tile: they meet the same candidate at once."""
    rows: int = 1024
    """Token rows that are evaluated at once: whole tiles, each under one candidate, or one tile that has more. More of
    them take fewer rounds and more memory."""
    fraction_bits: int = 16
    value_bits: int = 31
    """Numbers are below 2^(value_bits - fraction_bits - 1)."""
    budget: int = 500_000
    """How long a vector MP-SPDZ's comparisons and truncations treat at once; it decides rounds, not results."""

    def __post_init__(self) -> None:
        report = check(self)
        for name in ("tile", "rows", "budget"):
            if getattr(self, name) < 1:
                report.error(f"{name} is {getattr(self, name)}", "It must be at least 1.")
        if not 8 <= self.fraction_bits <= 16 or not self.fraction_bits + 8 <= self.value_bits <= 31:
            report.error(
                f"fixed point with {self.value_bits} bits, {self.fraction_bits} of them behind the point",
                "Accepted: 8 to 16 bits behind the point, at least 8 before it, 31 in all at most.",
            )
        report.check()

    @property
    def tiles(self) -> int:
        """Tiles that hold all examples."""
        return -(-self.examples // self.tile)
