"""The ring program: values on Z_2^64 with their sharing and scale, and the fits that they name (docs/program.md)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..plan.graph import Graph, Node
from ..series.fits import Fit

Shape = tuple[int, ...]
PHASE = 64
"""Scale of a phase, a value that counts turns: it wraps as the ring does, and has no bound."""


class Sharing(enum.Enum):
    """How the three parties hold a value x: all of it, or parts x₀ + x₁ + x₂ = x mod 2^64."""

    PUB = "pub"
    """Everyone knows x."""
    REP = "rep"
    """Replicated: party i holds xᵢ and xᵢ₊₁."""
    ADD = "add"
    """Additive: party i holds xᵢ."""


@dataclass(frozen=True, kw_only=True)
class RingValue(Node):
    """A value of the ring program: the ring element round(value · 2^scale)."""

    sharing: Sharing
    scale: int
    site: str = ""
    """Which part of the model it belongs to, for tables."""


@dataclass
class RingProgram(Graph[RingValue]):
    """A ring program; `fourier` values name their fit by its index in `fits`."""

    fits: list[Fit] = field(default_factory=list)

    def use(self, v: RingValue) -> Use:
        """A value's operation, as rules see it."""
        return Use(tuple(self[i] for i in v.inputs), v.attrs, self.fits, v.shape, v.scale)


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
