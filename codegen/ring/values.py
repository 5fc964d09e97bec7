"""Values of a ring program under construction: its inputs, and the range of every value, checked for overflow.

All values are real numbers with a declared bound; the ring element is round(value · 2^scale). A value at scale 64 is a
*phase*: it wraps by design and has no bound. Everything else must stay below 2^62 in the ring (truncation needs it;
docs/program.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from ..plan.graph import Plan, Sharing, Stage, Value, Visibility
from ..series.fits import Fit

Floats = NDArray[np.float64]
Weights = Mapping[str, Floats]
PHASE = 64
"""Scale of a value in turns: it wraps as the ring does."""
HEADROOM = 62
"""Bits below which every other ring element stays."""


@dataclass(frozen=True)
class Fold:
    """How a weight of the ring program follows from the model's own weights; evaluated by the model owner alone."""

    name: str
    shape: tuple[int, ...]
    scale: int
    make: Callable[[Weights], Floats]


@dataclass
class RingValues:
    """A ring program under construction; `Ring` adds the operations."""

    weights: Weights | None = None
    plan: Plan = field(default_factory=Plan)
    folds: dict[str, Fold] = field(default_factory=dict)
    fits: list[Fit] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    site: str = ""
    """Part of the model that values added now belong to."""
    _norms: dict[int, float] = field(default_factory=dict)
    _columns: dict[int, float] = field(default_factory=dict)
    _weight_ids: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, i: int) -> Value:
        return self.plan[i]

    def _add(
        self,
        kind: str,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        sharing: Sharing,
        scale: int,
        bound: float,
        **attrs: object,
    ) -> int:
        if scale != PHASE and bound > 0 and scale + log2(bound) > HEADROOM:
            what = attrs.get("name", "")
            self.problems.append(
                f"{self.site}: {kind} {what}(value {len(self.plan.values)}) would overflow: "
                f"|x| <= {bound:.3g} at scale {scale} needs {scale + log2(bound):.1f} bits, {HEADROOM} are there"
            )
        return self.plan.add(
            kind,
            inputs,
            shape=shape,
            sharing=sharing,
            scale=scale,
            bound=inf if scale == PHASE else bound,
            site=self.site,
            **attrs,  # type: ignore[arg-type]
        )

    # inputs

    def _input(
        self, kind: str, name: str, shape: tuple[int, ...], scale: int, bound: float, stage: Stage, owner: Visibility
    ) -> int:
        """A replicated value that its owner shares."""
        return self.plan.add(
            kind,
            shape=shape,
            stage=stage,
            visibility=owner,
            sharing=Sharing.REP,
            scale=scale,
            bound=bound,
            site=self.site,
            name=name,
        )

    def weight(
        self, name: str, shape: tuple[int, ...], scale: int, make: Callable[[Weights], Floats], nominal: float = 4.0
    ) -> int:
        """A weight of the model owner, made once a name; `nominal`: assumed column norm (matrices) or magnitude
        without weights."""
        if name in self.folds:
            return self._weight_ids[name]
        bound, column = nominal, nominal
        if self.weights is not None:
            array = np.asarray(make(self.weights), dtype=np.float64)
            if array.shape != shape:
                raise ValueError(f"weight {name}: folded to {array.shape}, the program wants {shape}")
            bound = float(np.max(np.abs(array), initial=0.0))
            column = float(np.max(np.sqrt(np.sum(array**2, axis=0)), initial=0.0)) if array.ndim == 2 else bound
        self.folds[name] = Fold(name, shape, scale, make)
        i = self._input("weight", name, shape, scale, bound, Stage.SETUP, Visibility.MODEL)
        self._columns[i] = column
        self._weight_ids[name] = i
        return i

    def example(self, name: str, shape: tuple[int, ...], scale: int, bound: float) -> int:
        """An input the data owner shares once per example."""
        return self._input("example", name, shape, scale, bound, Stage.EXAMPLE, Visibility.DATA)

    def candidate(self, name: str, shape: tuple[int, ...], scale: int, bound: float) -> int:
        """An input the data owner shares for every candidate of a step."""
        return self._input("candidate", name, shape, scale, bound, Stage.CANDIDATE, Visibility.DATA)

    def public(self, name: str, shape: tuple[int, ...], scale: int, seed: str, bits: int) -> int:
        """A public matrix expanded from a seed."""
        i = self.plan.add(
            "public",
            shape=shape,
            stage=Stage.SETUP,
            visibility=Visibility.PUBLIC,
            sharing=Sharing.PUB,
            scale=scale,
            bound=2.0 ** (bits - 1 - scale),
            site=self.site,
            name=name,
            seed=seed,
            bits=bits,
        )
        self._columns[i] = 2.0 ** (bits - 1 - scale) * sqrt(shape[0])
        return i

    # what is known of ranges

    def norm(self, i: int) -> float:
        """Bound on the Euclidean norm of a row (last axis)."""
        v = self[i]
        return min(self._norms.get(i, inf), v.bound * sqrt(v.shape[-1]))

    def declare(self, i: int, *, bound: float | None = None, norm: float | None = None) -> int:
        """Narrow a value's range where the program's structure or calibration knows more than the products tell."""
        v = self[i]
        if bound is not None and bound < v.bound:
            self.plan.values[i] = Value(**{**v.__dict__, "bound": bound})
        if norm is not None:
            self._norms[i] = min(norm, self.norm(i))
        return i
