"""The one intermediate form: SSA over tensors with stage, sharing, scale and bound (see docs/program.md)."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any


class Visibility(enum.Enum):
    """Who may know a value in the clear."""

    PUBLIC = "public"
    MODEL = "model"
    DATA = "data"
    SECRET = "secret"

    def __or__(self, other: Visibility) -> Visibility:
        """Visibility of a value computed from both."""
        if self is Visibility.PUBLIC:
            return other
        if other is Visibility.PUBLIC or other is self:
            return self
        return Visibility.SECRET


class Stage(enum.IntFlag):
    """How often a value is computed: the lattice of binding times."""

    SETUP = 0
    EXAMPLE = 1
    CANDIDATE = 2
    PAIR = 3

    @property
    def label(self) -> str:
        """As programs spell it."""
        return ("setup", "example", "candidate", "pair")[self]


class Sharing(enum.Enum):
    """How the parties hold a ring value; CLEAR before lowering."""

    CLEAR = "clear"
    PUB = "pub"
    REP = "rep"
    ADD = "add"


@dataclass(frozen=True)
class Value:
    """One SSA value and the operation that makes it.

    `shape` is that of one instance, `bound` the largest magnitude it may take (real units, not ring units),
    `scale` its fraction bits (0 before lowering).
    """

    id: int
    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    stage: Stage
    visibility: Visibility
    sharing: Sharing = Sharing.CLEAR
    scale: int = 0
    bound: float = float("inf")
    attrs: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    site: str = ""
    """Which part of the model it belongs to, for tables."""

    @property
    def size(self) -> int:
        """Elements of one instance."""
        return prod(self.shape)


@dataclass(frozen=True)
class Output:
    """A value that is opened to the data owner; `max_candidates` limits how many candidates one step may ask for."""

    name: str
    value: int
    max_candidates: int | None = None


@dataclass
class Plan:
    """A program as a list of values in dependency order."""

    values: list[Value] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    weights: Visibility = Visibility.MODEL
    """Who may know the weights that values name."""
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, value_id: int) -> Value:
        return self.values[value_id]

    def __iter__(self) -> Iterator[Value]:
        return iter(self.values)

    def add(
        self,
        kind: str,
        inputs: tuple[int, ...] = (),
        *,
        shape: tuple[int, ...],
        stage: Stage | None = None,
        visibility: Visibility | None = None,
        sharing: Sharing = Sharing.CLEAR,
        scale: int = 0,
        bound: float = float("inf"),
        weights: dict[str, str] | None = None,
        site: str = "",
        **attrs: Any,
    ) -> int:
        """Append a value; stage and visibility default to the join over the inputs (and the weights that enter)."""
        if stage is None:
            stage = Stage.SETUP
            for i in inputs:
                stage |= self[i].stage
        if visibility is None:
            visibility = self.weights if weights else Visibility.PUBLIC
            for i in inputs:
                visibility |= self[i].visibility
        value = Value(
            id=len(self.values), kind=kind, inputs=inputs, shape=shape, stage=stage, visibility=visibility,
            sharing=sharing, scale=scale, bound=bound, attrs=attrs, weights=weights or {}, site=site,
        )  # fmt: skip
        self.values.append(value)
        return value.id

    def inputs(self, kind: str) -> list[Value]:
        """All values of an input kind (`weight`, `example`, `candidate`, `public`), in program order."""
        return [v for v in self.values if v.kind == kind]
