"""An MP-SPDZ program as the template prints it: containers, calls, and what the runtime must know of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Axis(enum.Enum):
    """What there is one of per tile of examples, or per candidate."""

    TILE = "tile"
    CANDIDATE = "candidate"


@dataclass(frozen=True)
class Ref:
    """What a call reads: a variable, or the element of a container that belongs to the tile or candidate at hand."""

    name: str
    axis: Axis | None = None


@dataclass(frozen=True)
class Container:
    """A variable of the program that a client fills, and how the client encodes it: round(value * factor * 2^scale)."""

    name: str
    """Of the variable, or its role in a stack."""
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    """Canonical weight names, one a layer where layers are stacked; or the input's name."""
    scale: int
    integer: bool = False
    """Raw ring elements (phases) in place of sfix."""
    transposed: bool = False
    """Sent as `[in, out]`; checkpoints hold `[out, in]`."""
    factor: float = 1.0
    norms: tuple[str, ...] = ()
    """Of each source, the norm whose affine part the model owner folds into it; empty: none."""

    @property
    def weights(self) -> set[str]:
        """Canonical names of all that it is made of."""
        norms = {f"{norm}.{part}" for norm in self.norms for part in ("gamma", "beta")}
        folded = {name.removesuffix("bias") + "weight" for name in self.sources if self.norms and name.endswith("bias")}
        return {*self.sources, *norms, *folded}


@dataclass(frozen=True)
class Call:
    """One line of the program: `result, … = kernel(arguments, keywords)`."""

    result: str
    kernel: str
    arguments: tuple[Ref, ...]
    keywords: tuple[tuple[str, Any], ...] = ()
    more: tuple[str, ...] = ()
    """Further results."""

    @property
    def results(self) -> tuple[str, ...]:
        """All of them."""
        return self.result, *self.more


@dataclass
class MpcProgram:
    """What the template prints."""

    weights: list[Container] = field(default_factory=list)
    stacks: dict[str, dict[str, Container]] = field(default_factory=dict)
    examples: list[Container] = field(default_factory=list)
    candidates: list[Container] = field(default_factory=list)
    kept: list[Container] = field(default_factory=list)
    """Results of `load` that `evaluate` reads."""
    by_layer: set[str] = field(default_factory=set)
    """Those whose kernels read all tiles, layer by layer: of each example they take too much memory for a copy."""
    load: list[Call] = field(default_factory=list)
    evaluate: list[Call] = field(default_factory=list)
    loss: str = ""
    logits: str = ""
    num_labels: int = 0
    popsize: int = 1
    pair_tiles: int = 1
    """Tiles, each under one candidate, that `evaluate` takes at once."""

    @property
    def modules(self) -> list[str]:
        """Those of the library that calls name."""
        return sorted({call.kernel.partition(".")[0] for call in self.load + self.evaluate} - {"picked"})

    @property
    def inputs(self) -> list[Container]:
        """Containers that the data owner fills."""
        return self.examples + self.candidates

    @property
    def wire(self) -> list[Container]:
        """Weight containers in the order in which the model owner sends them."""
        return self.weights + [c for stack in self.stacks.values() for c in stack.values()]
