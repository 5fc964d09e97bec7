"""Programs as lists of values in dependency order (SSA), with the stage of each; and the first of them, the model plan.

The second, the ring program, is in `ring/program.py` (docs/program.md describes both).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from operator import or_
from typing import Any, Generic, TypeVar


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


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value of a program and the operation that makes it.

    `shape` is that of one instance; `bound` is the largest magnitude it may take, in real units.
    """

    id: int
    kind: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    stage: Stage
    bound: float = float("inf")
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Elements of one instance."""
        return prod(self.shape)


LAYERS = ("encoder_layer", "decoder_layer")
"""Kinds of layers of a model plan."""
LOSS_HEALTH = "loss_health"
"""The output that stands for `loss` with `--health`: the loss, and behind it the number of wrong rows."""
CLASS_MEANS = "class_means"
"""The output that is kept, and what it is kept as: each label's mean embedding of the shots."""

UNION_WEIGHT, UNION_TOTAL = 1 / 16, 256.0
"""Of a sum over several data owners' examples: the weight of each, since none of them knows how many there are in all;
and the most that these add up to, which is 4096 examples."""


@dataclass(frozen=True)
class Output:
    """A value that is opened to the data owner, or kept. With `min_owners` it is a sum over the examples of so many
    data owners at least, besides whoever it is opened to.

    `max_candidates` limits how many candidates one step may ask for, `max_opened` how many instances of the value are
    opened in all: one per candidate, or per candidate and example. None: any number. `noise` is the standard deviation,
    in the value's units, of what each party adds before.
    """

    name: str
    value: int
    max_candidates: int | None = None
    max_opened: int | None = None
    noise: float = 0.0
    keep: int | None = None
    """A `kept` value: nothing is opened, and that is what it holds from then on."""
    min_owners: int | None = None


N = TypeVar("N", bound=Node)


@dataclass
class Graph(Generic[N]):
    """A program: values in dependency order, each under its index, and which of them are opened."""

    values: list[N] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    def __getitem__(self, value_id: int) -> N:
        return self.values[value_id]

    def __iter__(self) -> Iterator[N]:
        return iter(self.values)

    def inputs(self, kind: str) -> list[N]:
        """All values of an input kind (`weight`, `example`, `candidate`, `public`), in program order."""
        return [v for v in self.values if v.kind == kind]

    def opened(self, output: str) -> int:
        """The value of an output, by its name."""
        return next(o.value for o in self.outputs if o.name == output)

    def needed(self, outputs: Iterable[Output]) -> set[int]:
        """Ids of these outputs' values and of all that these follow from."""
        found = {output.value for output in outputs}
        for v in reversed(self.values):
            if v.id in found:
                found.update(v.inputs)
        return found

    def joined_stage(self, inputs: Iterable[int]) -> Stage:
        """The stage of what is computed from `inputs`: setup where there are none."""
        return reduce(or_, (self[i].stage for i in inputs), Stage.SETUP)


@dataclass(frozen=True, kw_only=True)
class Value(Node):
    """A value of the model plan; `weights` are canonical names of what enters its operation, by their role there."""

    visibility: Visibility
    weights: dict[str, str] = field(default_factory=dict)
    built: int | None = None
    """Its id in the plan as built, or that of the value it was made of; None: this is that plan."""

    @property
    def number(self) -> int:
        """Its id in the plan as built, which generated programs name it by."""
        return self.id if self.built is None else self.built


@dataclass
class Plan(Graph[Value]):
    """The model plan: a model and its prompt as layer-level operations on real numbers."""

    secret: Collection[str] | None = None
    """Canonical names of the tensors that are the model owner's alone; None: all are."""
    meta: dict[str, Any] = field(default_factory=dict)

    def is_public(self, name: str) -> bool:
        """Whether everybody may know a tensor that values name."""
        return self.secret is not None and name not in self.secret

    def add(
        self,
        kind: str,
        inputs: tuple[int, ...] = (),
        *,
        shape: tuple[int, ...],
        stage: Stage | None = None,
        visibility: Visibility | None = None,
        bound: float = float("inf"),
        weights: dict[str, str] | None = None,
        **attrs: Any,
    ) -> int:
        """Append a value; stage and visibility default to the join over the inputs (and the weights that enter)."""
        if stage is None:
            stage = self.joined_stage(inputs)
        if visibility is None:
            secret = not all(map(self.is_public, (weights or {}).values()))
            visibility = Visibility.MODEL if secret else Visibility.PUBLIC
            visibility = reduce(or_, (self[i].visibility for i in inputs), visibility)
        value = Value(
            id=len(self.values), kind=kind, inputs=inputs, shape=shape, stage=stage, visibility=visibility,
            bound=bound, attrs=attrs, weights=weights or {},
        )  # fmt: skip
        self.values.append(value)
        return value.id
