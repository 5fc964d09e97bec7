"""The ring program: values with their sharing, scale and ring, and the fits that they name (docs/program.md)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ldexp
from typing import Any

from ..plan.graph import Graph, Node, Output
from ..series.fits import Fit

Shape = tuple[int, ...]
WORD = 64
"""Bits of the widest ring, and of the words that all values are held in."""
PHASE = 64
"""Scale of a phase, a value that counts turns: it wraps as the ring does, and has no bound."""


class Sharing(enum.Enum):
    """How the three parties hold a value x of Z_2^R: all of it, or parts x₀ + x₁ + x₂ = x mod 2^R."""

    PUB = "pub"
    """Everyone knows x."""
    REP = "rep"
    """Replicated: party i holds xᵢ and xᵢ₊₁."""
    ADD = "add"
    """Additive: party i holds xᵢ."""


@dataclass(frozen=True, kw_only=True)
class RingValue(Node):
    """A value of the ring program: the ring element round(value · 2^scale) mod 2^ring."""

    sharing: Sharing
    scale: int
    ring: int = WORD
    """R: shares add up to the ring element mod 2^R only. Local operations take no notice; it is what messages hold."""
    site: str = ""
    """Which part of the model it belongs to, for tables."""


@dataclass
class RingProgram(Graph[RingValue]):
    """A ring program; `fourier` values name their fit by its index in `fits`."""

    fits: list[Fit] = field(default_factory=list)

    def use(self, v: RingValue) -> Use:
        """A value's operation, as rules see it."""
        return Use(tuple(self[i] for i in v.inputs), v.attrs, self.fits, v.shape, v.scale)

    def number(self, fit: Fit) -> int:
        """The index of a fit, which is added where it is not there: equal ones are one."""
        if fit not in self.fits:
            self.fits.append(fit)
        return self.fits.index(fit)


NOISE_REACH = 21
"""What the sum of three parties' noise stays below, in standard deviations of one, but for a probability of 2^-102:
12·√3 < 21, and the sum is subgaussian like a Gaussian of three times the variance."""


def noise_units(program: RingProgram, output: Output) -> int:
    """Standard deviation of one party's noise in units of the ring."""
    return round(ldexp(output.noise, program[output.value].scale))


@dataclass(frozen=True)
class Use:
    """One use of an operation, as rules see it; `use["shift"]` is a key's value."""

    inputs: Sequence[RingValue] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    fits: Sequence[Fit] = ()
    shape: Shape = ()
    """Asked for where inputs do not determine it: of inputs of the program, and of `reshape`."""
    scale: int = 0
    """Asked for where the same ring element may be read at any scale: of inputs, `scale` and `trunc`."""

    def __getitem__(self, key: str) -> Any:
        return self.keys[key]

    @property
    def fit(self) -> Fit:
        """The fit that the key `fit` names."""
        index: int = self["fit"]
        return self.fits[index]
